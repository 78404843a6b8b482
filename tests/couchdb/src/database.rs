//! One database: documents with revisions and tombstones, `_local` documents, `_security`.
//!
//! Conflicting revisions, as from a replication, are kept in addition to the winner; old revisions are not
//! kept. All methods run under the node's lock and are fast. Authorization is in `access` and `users`.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::personality::Version;
use crate::revision::Revision;

/// A document or a tombstone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) revision: Revision,
    pub(crate) deleted: bool,
    /// The members without the special ones (`_id`, `_rev`, …).
    pub(crate) body: Map<String, Value>,
}

impl Document {
    /// The document as a client reads it.
    pub(crate) fn to_json(&self, id: &str) -> Value {
        let mut whole = Map::new();
        whole.insert("_id".into(), id.into());
        whole.insert("_rev".into(), self.revision.to_string().into());
        if self.deleted {
            whole.insert("_deleted".into(), true.into());
        }
        whole.extend(self.body.clone());
        Value::Object(whole)
    }
}

/// An edit of a revision that is not the current one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Conflict;

/// The layout of a database, from the query of its PUT.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub(crate) shards: u32,
    pub(crate) copies: u32,
    pub(crate) partitioned: bool,
}

/// A database and its contents.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Database {
    /// Documents and tombstones by id, in the byte order in which `_all_docs` lists them.
    docs: BTreeMap<String, Document>,
    /// Conflicting revisions that lost against the document of the same id and are not deleted.
    #[serde(default)]
    losers: BTreeMap<String, Vec<Document>>,
    /// `_local` documents: edit count and body.
    local: BTreeMap<String, (u64, Value)>,
    /// The value that was set last; `None` means the version's default.
    pub(crate) security: Option<Value>,
    /// The value on a minority of the nodes, including this one.
    #[serde(skip)]
    pub(crate) minority_security: Option<Value>,
    layout: Layout,
    updates: u64,
    deleted: usize,
    born: u64,
}

impl Database {
    /// An empty database.
    pub(crate) fn new(layout: Layout) -> Self {
        let born = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (docs, local) = (BTreeMap::new(), BTreeMap::new());
        Self {
            docs,
            losers: BTreeMap::new(),
            local,
            security: None,
            minority_security: None,
            layout,
            updates: 0,
            deleted: 0,
            born,
        }
    }

    /// The layout.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// The document or tombstone with this id.
    pub(crate) fn get(&self, id: &str) -> Option<&Document> {
        self.docs.get(id)
    }

    /// The document in this revision, if that revision is kept.
    pub(crate) fn get_revision(&self, id: &str, revision: &Revision) -> Option<&Document> {
        let all = self.docs.get(id).into_iter().chain(self.losers.get(id).into_iter().flatten());
        all.into_iter().find(|document| document.revision == *revision)
    }

    /// Whether the document has conflicting revisions.
    pub(crate) fn has_conflicts(&self, id: &str) -> bool {
        self.losers.contains_key(id)
    }

    /// The document as a client reads it with `conflicts=true`.
    pub(crate) fn with_conflicts(&self, id: &str, document: &Document) -> Value {
        let mut whole = document.to_json(id);
        if let (Some(losers), Some(members)) = (self.losers.get(id), whole.as_object_mut()) {
            let losers: Vec<Value> = losers.iter().map(|loser| loser.revision.to_string().into()).collect();
            members.insert("_conflicts".into(), losers.into());
        }
        whole
    }

    /// Stores a replicated revision; a different revision of an existing document conflicts with it.
    pub(crate) fn replicate(&mut self, id: &str, document: Document) {
        match self.docs.get(id) {
            Some(current) if current.revision == document.revision => {}
            Some(current) if !current.deleted && !document.deleted => {
                let wins = document.revision > current.revision;
                let (winner, loser) =
                    if wins { (document, current.clone()) } else { (current.clone(), document) };
                self.losers.entry(id.to_owned()).or_default().push(loser);
                self.store(id, winner);
            }
            _ => self.store(id, document),
        }
    }

    /// Removes a losing revision; returns whether it existed.
    fn remove_loser(&mut self, id: &str, revision: &Revision) -> bool {
        let Some(losers) = self.losers.get_mut(id) else { return false };
        let before = losers.len();
        losers.retain(|loser| loser.revision != *revision);
        let found = losers.len() < before;
        if losers.is_empty() {
            self.losers.remove(id);
        }
        found
    }

    /// The documents that are not deleted, in order.
    pub(crate) fn live(&self) -> impl DoubleEndedIterator<Item = (&str, &Document)> {
        self.docs.iter().filter(|(_, doc)| !doc.deleted).map(|(id, doc)| (id.as_str(), doc))
    }

    /// The number of documents that are not deleted.
    pub(crate) fn live_count(&self) -> usize {
        self.docs.len() - self.deleted
    }

    /// The parent revision of an edit of `base`: none for a new document; the tombstone's for a deleted
    /// document that is created again without a revision.
    pub(crate) fn parent(&self, id: &str, base: Option<&Revision>) -> Result<Option<Revision>, Conflict> {
        match (self.docs.get(id), base) {
            (None, None) => Ok(None),
            (Some(_), Some(base)) if self.get_revision(id, base).is_some() => Ok(Some(base.clone())),
            (Some(current), None) if current.deleted => Ok(Some(current.revision.clone())),
            _ => Err(Conflict),
        }
    }

    /// Stores the result of an edit of `base`.
    pub(crate) fn put(
        &mut self,
        id: &str,
        base: Option<&Revision>,
        deleted: bool,
        body: Map<String, Value>,
    ) -> Result<Revision, Conflict> {
        let parent = self.parent(id, base)?;
        let revision = Revision::after(parent.as_ref(), deleted, &body);
        let document = Document { revision: revision.clone(), deleted, body };
        if parent.is_some_and(|parent| self.remove_loser(id, &parent)) {
            if !deleted {
                self.replicate(id, document);
            }
            return Ok(revision);
        }
        self.store(id, document);
        if deleted && let Some(mut losers) = self.losers.remove(id) {
            losers.sort_by(|left, right| left.revision.cmp(&right.revision));
            // The best of the losing revisions becomes the winner and hides the tombstone.
            if let Some(winner) = losers.pop() {
                self.store(id, winner);
            }
            if !losers.is_empty() {
                self.losers.insert(id.to_owned(), losers);
            }
        }
        Ok(revision)
    }

    /// Stores a document with its revision, as a replication does.
    pub(crate) fn store(&mut self, id: &str, document: Document) {
        let now_deleted = document.deleted;
        let before = self.docs.insert(id.to_owned(), document);
        let was_deleted = before.is_some_and(|document| document.deleted);
        self.deleted = self.deleted + usize::from(now_deleted) - usize::from(was_deleted);
        self.updates += 1;
    }

    /// A `_local` document: its edit count and body.
    pub(crate) fn local(&self, id: &str) -> Option<&(u64, Value)> {
        self.local.get(id)
    }

    /// Stores a `_local` document that replaces edit count `base` and returns the new edit count.
    pub(crate) fn put_local(&mut self, id: &str, base: u64, body: Value) -> u64 {
        self.local.insert(id.to_owned(), (base + 1, body));
        base + 1
    }

    /// Removes a `_local` document; returns whether it existed.
    pub(crate) fn remove_local(&mut self, id: &str) -> bool {
        self.local.remove(id).is_some()
    }

    /// Replaces `_security`, which counts as an update on every shard.
    pub(crate) fn set_security(&mut self, security: Value) {
        self.security = Some(security);
        self.updates += u64::from(self.layout.shards);
    }

    /// The body of `GET /DB`.
    pub(crate) fn info(&self, version: Version, name: &str) -> Value {
        let (live, deleted, updates) = (self.live_count(), self.deleted, self.updates);
        let Layout { shards, copies, partitioned } = self.layout;
        if version == Version::V1 {
            return json!({
                "db_name": name, "doc_count": live, "doc_del_count": deleted, "update_seq": updates, "purge_seq": 0,
                "compact_running": false, "disk_size": 79, "data_size": 0,
                "instance_start_time": format!("{}000000", self.born), "disk_format_version": 6,
                "committed_update_seq": updates
            });
        }
        let props = if partitioned { json!({ "partitioned": true }) } else { json!({}) };
        // In real sequences the part after the dash has the shards' positions, which clients must not
        // interpret.
        let mut info = json!({
            "instance_start_time": if version == Version::V2 { "0".to_owned() } else { self.born.to_string() },
            "db_name": name,
            "purge_seq": "0-g1AAAABdeJzLYWBgYMpgTmEQSc4vTc4wNLW0MHEwNDLXMwBCwxyQbB4LkGRoAFL",
            "update_seq": format!("{updates}-g1AAAACneJzLYWBgYMpgTmEQSc4vTc4wNLW0MHEwNDLXMwBCwxyQbB4LkGRo"),
            "sizes": { "file": 16706 + 4096 * updates, "external": 0, "active": 0 },
            "props": props, "doc_del_count": deleted, "doc_count": live, "disk_format_version": 8,
            "compact_running": false, "cluster": { "q": shards, "n": copies, "w": 1, "r": 1 }
        });
        if version == Version::V2
            && let Some(members) = info.as_object_mut()
        {
            members.remove("props");
            members.insert("other".into(), json!({ "data_size": 0 }));
            members.insert("disk_size".into(), json!(16706));
            members.insert("data_size".into(), json!(0));
        }
        info
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn database() -> Database {
        Database::new(Layout { shards: 2, copies: 1, partitioned: false })
    }

    #[test]
    fn an_edit_needs_the_current_revision() {
        let mut db = database();
        let first = db.put("d", None, false, Map::new()).unwrap();
        assert_eq!(db.put("d", None, false, Map::new()), Err(Conflict));
        let second = db.put("d", Some(&first), false, Map::new()).unwrap();
        assert_eq!(db.put("d", Some(&first), false, Map::new()), Err(Conflict));
        assert_eq!(db.put("new", Some(&second), false, Map::new()), Err(Conflict));
    }

    #[test]
    fn revisions_that_conflict_are_kept_until_they_are_deleted() {
        let mut db = database();
        let ours = db.put("d", None, false, Map::new()).unwrap();
        let theirs = Revision::parse("1-ffffffffffffffffffffffffffffffff").unwrap();
        db.replicate("d", Document { revision: theirs.clone(), deleted: false, body: Map::new() });
        assert_eq!(db.get("d").unwrap().revision, theirs, "the higher hash wins");
        let shown = db.with_conflicts("d", db.get("d").unwrap());
        assert_eq!(shown["_conflicts"], json!([ours.to_string()]));
        db.put("d", Some(&theirs), true, Map::new()).unwrap();
        assert_eq!(db.get("d").unwrap().revision, ours, "the other one comes up");
        assert!(!db.has_conflicts("d") && db.live_count() == 1);
        db.replicate("d", Document { revision: theirs.clone(), deleted: false, body: Map::new() });
        db.put("d", Some(&ours), true, Map::new()).unwrap();
        assert_eq!((&db.get("d").unwrap().revision, db.has_conflicts("d")), (&theirs, false));
    }

    #[test]
    fn a_deleted_document_comes_back_with_the_next_revision() {
        let mut db = database();
        let first = db.put("d", None, false, Map::new()).unwrap();
        db.put("d", Some(&first), true, Map::new()).unwrap();
        assert_eq!((db.live_count(), db.live().count()), (0, 0));
        assert!(db.put("d", None, false, Map::new()).unwrap().to_string().starts_with("3-"));
        assert_eq!(db.live_count(), 1);
    }
}
