//! Which databases are open to everybody: drift that somebody else caused, as the agent closes what it makes.

use super::{Couch, CouchError, access::Scope, security};

/// What a look at every database found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exposure {
    /// How many `_security` objects were read, CouchDB's own databases among them.
    pub checked: usize,
    /// Databases that everybody may read and write, in the order of their names.
    pub public: Vec<String>,
    /// Databases whose `_security` has a shape that CouchDB doesn't document, so that nobody can tell.
    pub malformed: Vec<String>,
}

/// What one `_security` says.
enum Finding {
    Closed,
    Public,
    Malformed,
}

impl Couch {
    /// Reads every `_security` once, with bounded concurrency.
    pub async fn check_databases(&self) -> Result<Exposure, CouchError> {
        let found = self
            .visit_security(Scope::All, |object| {
                Some(match (security::is_well_formed(object), security::is_public(object)) {
                    (false, _) => Finding::Malformed,
                    (true, true) => Finding::Public,
                    (true, false) => Finding::Closed,
                })
            })
            .await?;
        let mut exposure = Exposure { checked: found.len(), ..Exposure::default() };
        for (database, finding) in found {
            let list = match finding {
                Finding::Closed => continue,
                Finding::Public => &mut exposure.public,
                Finding::Malformed => &mut exposure.malformed,
            };
            list.push(database.as_str().to_owned());
        }
        Ok(exposure)
    }
}
