//! One look at every `_security`, and which databases CouchDB could not open for it.
//!
//! One damaged database must not stop every command: it is left out, and named. Many are a failing server, and what was
//! read of the others says nothing: that is an error.

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::Value;
use tracing::warn;

use crate::{
    Couch, CouchError, ListedDatabase, Resource, permissions::security_object::SecurityObject,
    reply::error::absent_is_none,
};

/// So many databases at most are left out; more are an error.
const MOST_UNKNOWN: usize = 5;

/// Which databases a pass visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every database there is.
    All,
    /// What callers may see.
    Tenants,
    /// Where a name that is left behind would give its next owner access: those of `ignore_dbs` and CouchDB's own, too.
    /// Only that of `_users` can't be written (403 since 3.0), and there it is closed to everybody.
    Inheritable,
}

/// What a pass over every `_security` found, in the order of the databases' names.
#[derive(Debug)]
pub(crate) struct SecurityScan<T> {
    /// What the caller kept of the databases that were read.
    pub(crate) found: Vec<(ListedDatabase, T)>,
    /// Databases that CouchDB lists and could not open, also when they were asked again.
    pub(crate) unknown: Vec<ListedDatabase>,
}

/// What a request for one `_security` came to.
enum Looked<T> {
    Kept(ListedDatabase, T),
    Unknown(ListedDatabase, String),
}

impl Couch {
    /// Reads every `_security` in scope once, and keeps what `pick` makes of it.
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

    /// Reads the `_security` of each, with bounded concurrency, and keeps what `pick` makes of it.
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
        // A limit of open files, or a moment of the server, passes.
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

    /// Adds to `found`, and returns the databases that could not be opened.
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
                        // A database may go while the pass is on its way.
                        answer => absent_is_none(answer)?,
                    };
                    let object = text.map(|text| SecurityObject::read(&text)).transpose()?;
                    let kept = object.and_then(|object| pick(object.sketch()));
                    Ok::<_, CouchError>(kept.map(|kept| Looked::Kept(database, kept)))
                }
                .boxed()
            })
            .buffer_unordered(self.client.limits().connections);
        let mut closed = Vec::new();
        while let Some(looked) = looks.try_next().await? {
            match looked {
                Some(Looked::Kept(database, kept)) => found.push((database, kept)),
                Some(Looked::Unknown(database, reason)) => closed.push((database, reason)),
                None => {}
            }
        }
        Ok(closed)
    }
}
