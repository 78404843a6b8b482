//! The sizes of all databases, read page by page, so that a caller decides how many requests it sends at once.
//!
//! CouchDB opens every database for this, up to a hundred per page. A database that it can't open is counted
//! and skipped.

use serde_json::{Value, json};

use crate::{
    Couch, CouchError, ListedDatabase, Method, Resource, databases::listed_names,
    server::compaction::DatabaseSize,
};

/// The maximum number of databases per request to `_dbs_info` (`max_db_number_for_dbs_info_req`).
const PAGE: usize = 100;

/// The sums over all databases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// The databases, CouchDB's own included.
    pub databases: u64,
    /// The databases that could not be opened.
    pub unknown: u64,
    /// The documents.
    pub documents: u64,
    /// The bytes of the files.
    pub file: u64,
    /// The bytes of the files that are in use. A compaction frees the others.
    pub active: u64,
}

/// A pass through all databases.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    next: Option<String>,
    totals: Totals,
}

/// The result of one step of a survey.
#[derive(Debug)]
pub struct Page {
    /// The databases of this page that could be opened.
    pub databases: Vec<(ListedDatabase, DatabaseSize)>,
    /// The sums, if this was the last page.
    pub totals: Option<Totals>,
}

impl Couch {
    /// Reads the next page with two requests. After the last page the survey begins again. Since 2.2.
    pub async fn survey(&self, survey: &mut Survey) -> Result<Page, CouchError> {
        let resource = Resource::AllDatabases { start: survey.next.as_deref(), limit: Some(PAGE + 1) };
        let mut names = listed_names(&self.get(&resource).await?)?;
        // A server that ignores the limit returns all names each time.
        let next = (names.len() == PAGE + 1).then(|| names.pop()).flatten();
        names.truncate(PAGE);
        let infos =
            self.send(Method::POST, &Resource::DatabaseInfos, Some(&json!({ "keys": names }))).await?;
        let infos = infos.as_array().map(Vec::as_slice).unwrap_or_default();
        let databases: Vec<_> = infos.iter().filter_map(of_row).collect();
        survey.add(names.len(), &databases);
        let is_last = next.is_none() || next <= survey.next;
        let totals = is_last.then_some(survey.totals);
        *survey = if is_last { Survey::default() } else { Survey { next, ..*survey } };
        Ok(Page { databases, totals })
    }
}

impl Survey {
    fn add(&mut self, listed: usize, databases: &[(ListedDatabase, DatabaseSize)]) {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.totals.databases += count(listed);
        self.totals.unknown += count(listed.saturating_sub(databases.len()));
        for (_, size) in databases {
            self.totals.documents = self.totals.documents.saturating_add(size.documents);
            self.totals.file = self.totals.file.saturating_add(size.file);
            self.totals.active = self.totals.active.saturating_add(size.active);
        }
    }
}

fn of_row(row: &Value) -> Option<(ListedDatabase, DatabaseSize)> {
    let name = ListedDatabase::new(row["key"].as_str()?.to_owned())?;
    Some((name, DatabaseSize::from_info(&row["info"])?))
}
