//! Direct requests to CouchDB: `doctor` uses them for information that the agent cannot provide, and
//! `credentials` to try a password before it is shown.
//!
//! Uses the agent's own client, which never sends a refused password twice.

use std::time::Duration;

use trove_couchdb_client::{Client, CouchError, Limits, Login, Method, Resource, Session};
use trove_couchdb_config::TlsFiles;
use trove_couchdb_guest::credentials::Flaw;
use trove_couchdb_protocol::Secret;
use url::Url;

pub use trove_couchdb_guest::credentials::Content as Credentials;

use crate::exit::{CliError, Code};

/// A client for one server with a time limit for each request.
pub fn client(url: &Url, limit: Duration, files: TlsFiles) -> Client {
    Client::new(url, Limits { connect: limit, request: limit, connections: 4 }, files)
}

/// Tries a password once.
pub async fn must_log_in(
    server: &Url,
    name: &str,
    password: &Secret,
    limit: Duration,
    files: TlsFiles,
) -> Result<(), CliError> {
    let login = Login::new(name, password);
    let asked = client(server, limit, files).send(Some(&login), Method::GET, &Resource::Session, None).await;
    let seen = asked.and_then(Session::from_answer);
    let proven = seen.and_then(|session| Ok(session.must_be_seen(name)?));
    proven.map_err(|error| match error {
        CouchError::LoginRefused => {
            CliError::new(Code::Failed, format!("CouchDB refuses this password for {name:?}")).advise(
                "mind that CouchDB 3.4 and later lock an account after five wrong passwords, for 5 minutes",
            )
        }
        CouchError::LockedOut => CliError::new(Code::Failed, format!("the account {name:?} is locked"))
            .advise("it opens again within 5 minutes; find out who sends wrong passwords"),
        CouchError::Unreachable { .. } | CouchError::Insecure { .. } | CouchError::Timeout { .. } => {
            CliError::new(Code::Unreachable, format!("the password can't be tried: {error}"))
                .advise("leave --reveal out, or run it where CouchDB can be reached")
        }
        other => CliError::new(Code::Failed, other.to_string()),
    })
}

/// Parses the agent's credentials file; the error contains nothing of it.
pub fn parse_credentials(text: &str) -> Result<Credentials, &'static str> {
    Credentials::parse(text).map_err(|flaw| match flaw {
        Flaw::NoCredentials => "it is not {\"username\": \"os_admin\", \"password\": \"…\"}",
        Flaw::AnotherAccount => "it is of another account than os_admin",
        Flaw::EmptyPassword => "its password is empty",
    })
}
