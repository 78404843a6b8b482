//! Scans every `_security`, and reports the databases that CouchDB could not open.
//!
//! A damaged database must not block every command, so a few are skipped and reported. Many indicate a
//! failing server, whose other answers are not reliable either: that is an error.

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::Value;
use tracing::warn;

use crate::{
    Couch, CouchError, ListedDatabase, Resource, permissions::security_object::SecurityObject,
    reply::error::absent_is_none,
};

/// The maximum number of skipped databases.
const MOST_UNKNOWN: usize = 5;

/// The databases that a scan reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All databases.
    All,
    /// The databases that callers may see.
    Tenants,
    /// The databases in which a leftover name would give access to a later user of that name. This includes
    /// `ignore_dbs` and CouchDB's own, except `_users`, whose `_security` can't be written (403 since 3.0)
    /// and is closed.
    Inheritable,
}

/// The results of a scan, sorted by database name.
#[derive(Debug)]
pub(crate) struct SecurityScan<T> {
    /// The values that `pick` returned for the databases that were read.
    pub(crate) found: Vec<(ListedDatabase, T)>,
    /// Databases that CouchDB lists but could not open in two attempts.
    pub(crate) unknown: Vec<ListedDatabase>,
}

/// The result of reading one `_security`.
enum Looked<T> {
    Found(ListedDatabase, T),
    Unknown(ListedDatabase, String),
}

impl Couch {
    /// Reads every `_security` in scope once, and keeps what `pick` returns for it.
    ///
    /// # Errors
    /// Those of [`Couch::read_security_of`].
    pub(crate) async fn scan_security<T>(
        &self,
        scope: Scope,
        pick: impl Fn(&Value) -> Option<T> + Sync,
    ) -> Result<SecurityScan<T>, CouchError> {
        let mut databases = self.all_databases().await?;
        databases.retain(|database| match scope {
            Scope::All => true,
            Scope::Tenants => !self.policy.hides_database(database.as_str()),
            Scope::Inheritable => !database.is_users(),
        });
        self.read_security_of(databases, pick).await
    }

    /// Reads the `_security` of each database with bounded concurrency, and keeps what `pick` returns for it.
    ///
    /// # Errors
    /// [`CouchError::Unopenable`] if CouchDB can't open more than a few databases, or none of several.
    pub(crate) async fn read_security_of<T>(
        &self,
        databases: Vec<ListedDatabase>,
        pick: impl Fn(&Value) -> Option<T> + Sync,
    ) -> Result<SecurityScan<T>, CouchError> {
        let count = databases.len();
        let mut scan = SecurityScan { found: Vec::new(), unknown: Vec::new() };
        let closed = self.look_at(databases, &pick, &mut scan.found).await?;
        // Try again: a shortage of file descriptors or a short failure of the server may be over.
        let again = closed.into_iter().map(|(database, _)| database).collect();
        let still_closed = self.look_at(again, &pick, &mut scan.found).await?;
        let reason = still_closed.first().map(|(_, reason)| reason.clone());
        scan.unknown = still_closed.into_iter().map(|(database, _)| database).collect();
        scan.found.sort_by(|left, right| left.0.cmp(&right.0));
        scan.unknown.sort();
        let unknown = scan.unknown.len();
        if let (Some(first), Some(reason)) = (scan.unknown.first(), reason) {
            if unknown > MOST_UNKNOWN || (unknown == count && count > 1) {
                let example = first.as_str().to_owned();
                return Err(CouchError::Unopenable { unknown, count, example, reason });
            }
            let databases: Vec<&str> = scan.unknown.iter().map(ListedDatabase::as_str).collect();
            warn!(
                ?databases,
                reason, "CouchDB can't open these databases; who has access to them is unknown."
            );
        }
        Ok(scan)
    }

    /// Adds to `found`. Returns the databases that could not be opened.
    async fn look_at<T>(
        &self,
        databases: Vec<ListedDatabase>,
        pick: &(impl Fn(&Value) -> Option<T> + Sync),
        found: &mut Vec<(ListedDatabase, T)>,
    ) -> Result<Vec<(ListedDatabase, String)>, CouchError> {
        let mut looks = stream::iter(databases)
            .map(|database| {
                async move {
                    let security = Resource::Security(&database);
                    let text = match self.send_text(Method::GET, &security, None).await {
                        Err(CouchError::Server { status, reason }) => {
                            return Ok(Some(Looked::Unknown(database, format!("{status}: {reason}"))));
                        }
                        // A database may be deleted during the scan.
                        answer => absent_is_none(answer)?,
                    };
                    let object = text.map(|text| SecurityObject::read(&text)).transpose()?;
                    let found_here = object.and_then(|object| pick(object.sketch()));
                    Ok::<_, CouchError>(found_here.map(|found_here| Looked::Found(database, found_here)))
                }
                .boxed()
            })
            .buffer_unordered(self.client.limits().connections);
        let mut closed = Vec::new();
        while let Some(looked) = looks.try_next().await? {
            match looked {
                Some(Looked::Found(database, found_here)) => found.push((database, found_here)),
                Some(Looked::Unknown(database, reason)) => closed.push((database, reason)),
                None => {}
            }
        }
        Ok(closed)
    }
}
