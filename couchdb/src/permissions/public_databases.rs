//! Finds databases that are open to everyone. The agent creates closed ones, so these were changed by others.

use reqwest::Method;
use tracing::{info, warn};

use crate::{
    Client, Couch, CouchError, ListedDatabase, Login, Resource,
    databases::listed_names,
    permissions::{security, security_object::SecurityObject, security_scan::Scope},
};

/// More than the number of CouchDB's own databases.
const OWN_DATABASES: usize = 100;

/// The result of a scan of all databases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicDatabases {
    /// How many `_security` objects were read, including those of CouchDB's own databases.
    pub checked: usize,
    /// Databases that everyone may read and write, sorted by name.
    pub public: Vec<String>,
    /// Databases whose `_security` has a form that CouchDB does not document. Their access is unclear.
    pub malformed: Vec<String>,
    /// Databases that CouchDB lists but can't open. Their access is unclear.
    pub unknown: Vec<String>,
}

/// The access in one `_security`.
enum Finding {
    Closed,
    Public,
    Malformed,
}

impl Couch {
    /// Reads every `_security` once, with bounded concurrency.
    pub async fn check_databases(&self) -> Result<PublicDatabases, CouchError> {
        let scan = self
            .scan_security(Scope::All, |object| {
                Some(match (security::is_well_formed(object), security::is_public(object)) {
                    (false, _) => Finding::Malformed,
                    (true, true) => Finding::Public,
                    (true, false) => Finding::Closed,
                })
            })
            .await?;
        let unknown = scan.unknown.iter().map(ListedDatabase::as_str).map(str::to_owned).collect();
        let mut public_databases =
            PublicDatabases { checked: scan.found.len(), unknown, ..PublicDatabases::default() };
        for (database, finding) in scan.found {
            let list = match finding {
                Finding::Closed => continue,
                Finding::Public => &mut public_databases.public,
                Finding::Malformed => &mut public_databases.malformed,
            };
            list.push(database.as_str().to_owned());
        }
        Ok(public_databases)
    }
}

/// Closes those of CouchDB's own databases that everyone may write to. CouchDB creates them open on 1.x, on
/// 2.x and with `default_security = everyone`. A document in `_replicator` makes the server copy databases to
/// and from anywhere.
///
/// `_users` can't be closed this way; its design document protects it. A database with members is left as it
/// is.
pub async fn close_system_databases(client: &Client, login: &Login) -> Result<(), CouchError> {
    let first = Resource::AllDatabases { start: Some("_"), limit: Some(OWN_DATABASES) };
    let listed = client.send(Some(login), Method::GET, &first, None).await?;
    let own = listed_names(&listed)?.into_iter().filter(|name| name.starts_with('_'));
    for database in own.filter_map(ListedDatabase::new).filter(|database| !database.is_users()) {
        match close(client, login, &database).await {
            Ok(false) => {}
            Ok(true) => info!(
                database = database.as_str(),
                "Closed one of CouchDB's own databases, into which everybody could write."
            ),
            Err(error) if error.is_outage() => return Err(error),
            Err(error) => warn!(
                database = database.as_str(),
                %error,
                "One of CouchDB's own databases is open to everybody and can't be closed."
            ),
        }
    }
    Ok(())
}

async fn close(client: &Client, login: &Login, database: &ListedDatabase) -> Result<bool, CouchError> {
    let resource = Resource::Security(database);
    let object = SecurityObject::read(&client.send_text(Some(login), Method::GET, &resource, None).await?)?;
    let mut edited = object.sketch().clone();
    let odd = |problem: security::Malformed| CouchError::Unexpected {
        what: "GET _security",
        problem: problem.to_string(),
    };
    if !security::close(&mut edited).map_err(odd)? {
        return Ok(false);
    }
    client.send_text(Some(login), Method::PUT, &resource, Some(object.with(&edited))).await?;
    Ok(true)
}
