//! Reads, edits, writes and reads back one `_security`.
//!
//! The object has no revision and a PUT replaces all of it. The lock keeps this agent's own edits apart; reading back shows
//! whether somebody else's write came in between. In a cluster a GET reads one copy: only an answered PUT says that a
//! majority has it, so a write that was not answered well is written again, also by a later command and after a restart.

use std::{io, time::Duration};

use reqwest::Method;
use serde_json::Value;
use tokio::time;
use tracing::{debug, info, warn};

use crate::{
    Client, CommandError, Couch, CouchError, ListedDatabase, Resource,
    permissions::{pending::Edit, security::Malformed, security_object::SecurityObject},
};

/// How often an edit is written again when what is read back lacks it.
const WRITES: usize = 5;

/// How often it is seen whether something is to be finished.
const FINISH_EVERY: Duration = Duration::from_secs(5);

/// One that stays closed is asked less and less often, as CouchDB logs each time: at last every 80 s.
const MOST_DOUBLINGS: u32 = 4;

impl Couch {
    /// Edits one `_security`, after what is still to be done to it.
    pub(crate) async fn edit_security(
        &self,
        database: &ListedDatabase,
        edit: impl Fn(&mut Value) -> Result<bool, Malformed>,
    ) -> Result<(), CommandError> {
        let _alone = self.security_locks.lock(database).await;
        self.edit_locked(database, edit).await
    }

    /// The same for who holds the database's lock.
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
                    // Done once more after a restart, which changes nothing.
                    warn!(%error, "The state directory can't be written.");
                }
                return Ok(());
            }
            self.write_security(&self.client, database, object.with(&edited)).await?;
            unsure = false;
        }
        Err(CommandError::Overwritten(format!("_security of database {:?}", database.as_str())))
    }

    /// Writes it, and writes down if that may have reached too few nodes.
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
            warn!(%unsaved, database, "The state directory can't be written: after a restart nobody knows that _security must \
                   be written again.");
        }
        if error.is_no_majority() {
            return Err(CommandError::NoMajority { database: database.as_str().to_owned(), cause: None });
        }
        Err(error.into())
    }

    /// Does, for ever, what could not be done to databases, as soon as they open.
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

    /// Does what is still to be done to databases that open now; false if CouchDB is away.
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

    /// Does what is still to be done to one database.
    async fn finish(&self, database: &ListedDatabase) -> Result<(), CommandError> {
        let _alone = self.security_locks.lock(database).await;
        match self.edit_locked(database, |_| Ok(false)).await {
            // A database that is no more lets nobody in.
            Err(CommandError::Couch(CouchError::NotFound(_))) => {
                self.pending.gone(database).await.map_err(|error| unrecorded(&error))
            }
            other => other,
        }
    }

    /// Sees to it that a new user of this name gets in nowhere because an older one was left behind there.
    ///
    /// # Errors
    /// [`CommandError::LeftBehind`] if a database that may still name it can't be edited now.
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

/// The state directory can't be written, and without it the command must not go on.
pub(crate) fn unrecorded(error: &io::Error) -> CommandError {
    CommandError::Unrecorded(error.to_string())
}
