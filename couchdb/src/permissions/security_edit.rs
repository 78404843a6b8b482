//! Reads, edits, writes and reads back one `_security`.
//!
//! The object has no revision, and a PUT replaces all of it. The lock serialises this agent's own edits;
//! reading back detects writes of other clients in between. In a cluster a GET reads one copy, and only a
//! successful PUT means that a majority of the nodes has the object. So a write without a success answer is
//! repeated, also by a later command and after a restart.

use std::{io, time::Duration};

use reqwest::Method;
use serde_json::Value;
use tokio::time;
use tracing::{debug, info, warn};

use crate::{
    Client, CommandError, Couch, CouchError, ListedDatabase, Resource,
    permissions::{pending::Edit, security::Malformed, security_object::SecurityObject},
};

/// How often an edit is repeated when the object that is read back lacks it.
const WRITES: usize = 5;

/// The interval between attempts to do pending edits.
const FINISH_EVERY: Duration = Duration::from_secs(5);

/// The interval for databases that stay closed doubles up to 80 s, because CouchDB logs each attempt.
const MOST_DOUBLINGS: u32 = 4;

impl Couch {
    /// Edits one `_security`, after its pending edits.
    pub(crate) async fn edit_security(
        &self,
        database: &ListedDatabase,
        edit: impl Fn(&mut Value) -> Result<bool, Malformed>,
    ) -> Result<(), CommandError> {
        let _alone = self.security_locks.lock(database).await;
        self.edit_locked(database, edit).await
    }

    /// The same for callers that hold the database's lock.
    pub(crate) async fn edit_locked(
        &self,
        database: &ListedDatabase,
        edit: impl Fn(&mut Value) -> Result<bool, Malformed>,
    ) -> Result<(), CommandError> {
        let owed = self.pending.of(database);
        let resource = Resource::Security(database);
        let odd = |source| CommandError::Security { database: database.as_str().to_owned(), source };
        let mut unsure = owed.contains(&Edit::WriteAgain);
        for _ in 0..=WRITES {
            let object = SecurityObject::read(&self.send_text(Method::GET, &resource, None).await?)?;
            let mut edited = object.sketch().clone();
            let mut changed = false;
            for owed in &owed {
                changed |= owed.apply(&mut edited).map_err(odd)?;
            }
            changed |= edit(&mut edited).map_err(odd)?;
            if !changed && !unsure {
                if let Err(error) = self.pending.done(database, &owed).await {
                    // After a restart the edit is done again, which changes nothing.
                    warn!(%error, "The state directory can't be written.");
                }
                return Ok(());
            }
            self.write_security(&self.client, database, object.with(&edited)).await?;
            unsure = false;
        }
        Err(CommandError::Overwritten(format!("_security of database {:?}", database.as_str())))
    }

    /// Writes the object. Records it for another write if too few nodes may have it.
    pub(crate) async fn write_security(
        &self,
        client: &Client,
        database: &ListedDatabase,
        object: String,
    ) -> Result<(), CommandError> {
        let resource = Resource::Security(database);
        let Err(error) = self.send_text_by(client, Method::PUT, &resource, Some(object)).await else {
            return Ok(());
        };
        if error.may_have_taken_effect()
            && let Err(unsaved) = self.pending.add([database], &Edit::WriteAgain).await
        {
            let database = database.as_str();
            warn!(%unsaved, database, "The state directory can't be written: a restarted agent will not know that _security must \
                   be written again.");
        }
        if error.is_no_majority() {
            return Err(CommandError::NoMajority { database: database.as_str().to_owned(), cause: None });
        }
        Err(error.into())
    }

    /// Runs forever: does pending edits as soon as their databases open.
    pub async fn finish_pending_for_ever(&self) {
        let (mut tried, mut doublings) = (Vec::new(), 0);
        loop {
            let waiting = self.pending.to_finish();
            let answers = self.finish_pending().await;
            doublings = if waiting == tried && answers { MOST_DOUBLINGS.min(doublings + 1) } else { 0 };
            tried = self.pending.to_finish();
            for _ in 0..1 << doublings {
                time::sleep(FINISH_EVERY).await;
                if self.pending.to_finish() != tried {
                    break;
                }
            }
        }
    }

    /// Does the pending edits of databases that open now. False during an outage of CouchDB.
    async fn finish_pending(&self) -> bool {
        for database in self.pending.to_finish() {
            if self.login().is_err() {
                return false;
            }
            let name = database.as_str();
            match self.finish(&database).await {
                Ok(()) => {
                    info!(database = name, "What an earlier command left to do in this database is done.");
                }
                Err(error) if error.is_outage() => return false,
                Err(error) => {
                    debug!(database = name, %error, "What is left to do in this database can't be done yet.");
                }
            }
        }
        true
    }

    /// Does the pending edits of one database.
    async fn finish(&self, database: &ListedDatabase) -> Result<(), CommandError> {
        let _alone = self.security_locks.lock(database).await;
        match self.edit_locked(database, |_| Ok(false)).await {
            // A deleted database gives no access.
            Err(CommandError::Couch(CouchError::NotFound(_))) => {
                self.pending.gone(database).await.map_err(|error| unrecorded(&error))
            }
            other => other,
        }
    }

    /// Makes sure that a new user of this name does not inherit access from an earlier user.
    ///
    /// # Errors
    /// [`CommandError::LeftBehind`] if a database that may still contain the name can't be edited now.
    pub(crate) async fn nothing_is_left_of(&self, user: &str) -> Result<(), CommandError> {
        for database in self.pending.that_let_in(user) {
            self.finish(&database).await.map_err(|error| CommandError::LeftBehind {
                user: user.to_owned(),
                database: database.as_str().to_owned(),
                reason: error.to_string(),
            })?;
        }
        Ok(())
    }
}

/// The state directory can't be written, so the command must stop.
pub(crate) fn unrecorded(error: &io::Error) -> CommandError {
    CommandError::Unrecorded(error.to_string())
}
