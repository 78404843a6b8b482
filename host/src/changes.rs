//! One change at a time: a restart during a move of the data directory would start CouchDB on half of it.

use std::sync::{Mutex, PoisonError};

use trove_couchdb_protocol::host::{HostError, Verb};

/// Grants the right to change something on this machine.
#[derive(Debug, Default)]
pub struct Changes(Mutex<Option<&'static str>>);

/// The right to change something. Released on drop.
#[derive(Debug)]
pub struct Change<'a>(&'a Changes);

impl Drop for Change<'_> {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Changes {
    /// Takes the right for a verb.
    ///
    /// # Errors
    /// [`HostError::Busy`] with the verb that holds it.
    pub fn begin(&self, verb: &Verb) -> Result<Change<'_>, HostError> {
        let mut changing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verb) = *changing {
            return Err(HostError::Busy { verb: verb.to_owned() });
        }
        *changing = Some(verb.name());
        Ok(Change(self))
    }
}
