//! CouchDB itself: reachable, of a version that the agent can drive, closed to strangers, and open to `os_admin`.
//!
//! `os_admin`'s password is sent at most once, and not at all if the agent has been refused already: five wrong ones lock
//! the account for everybody on this machine.

use std::time::Duration;

use serde_json::Value;
use trove_couchdb_agent::{
    config::Settings,
    couch::{Client, CouchError, Login, Method, Resource, ServerVersion},
};

use super::{Check, Finding};
use crate::couch::{self, Credentials};

static REACHABLE: Check = Check::new("couchdb.reachable", "CouchDB answers at couchdb.url");
static VERSION: Check = Check::new("couchdb.version", "It is CouchDB 1.6 or later");
static PARTY: Check = Check::new("couchdb.admin_party", "Nobody is an administrator without a password");
static LOCKOUT: Check = Check::new("couchdb.lockout", "os_admin is not locked out after wrong passwords");
static LOGIN: Check =
    Check::new("couchdb.login", "os_admin logs in with the password of the credentials file");

pub(super) const CHECKS: &[&Check] = &[&REACHABLE, &VERSION, &PARTY, &LOCKOUT, &LOGIN];

/// A CouchDB of the same machine that needs longer is no help to anybody.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a later check needs of a CouchDB that takes `os_admin`'s password.
pub(super) struct Access {
    pub(super) client: Client,
    pub(super) login: Login,
}

pub(super) async fn look(
    settings: &Settings,
    credentials: Option<&Credentials>,
    status: Option<&Value>,
    findings: &mut Vec<Finding>,
) -> Option<Access> {
    let url = &settings.couchdb.url;
    let limit = settings.couchdb.request_timeout.min(PATIENCE);
    let client = couch::client(url, limit, settings.couchdb.tls.clone());
    let welcome = client.send(None, Method::GET, &Resource::Welcome, None).await;
    if let Err(error) = &welcome
        && *error != CouchError::Unauthorized
    {
        findings.push(unreachable(url.as_str(), error));
        findings.extend(
            [&VERSION, &PARTY, &LOCKOUT, &LOGIN].map(|check| check.skipped("CouchDB does not answer")),
        );
        return None;
    }
    findings.push(REACHABLE.ok(url.origin().ascii_serialization()));
    let party = admin_party(&client).await;
    let is_party = party.verdict == super::Verdict::Failed;
    let (session, login) = log_in(&client, credentials, status).await;
    let welcome = match (welcome, &login) {
        // With require_valid_user even the welcome wants a password.
        (Err(_), Some(login)) => client.send(Some(login), Method::GET, &Resource::Welcome, None).await,
        (welcome, _) => welcome,
    };
    findings.push(version(welcome));
    findings.push(party);
    findings.extend(session.map(|finding| if is_party { in_a_party(finding) } else { finding }));
    login.map(|login| Access { client, login })
}

fn unreachable(url: &str, error: &CouchError) -> Finding {
    let advice = match error {
        CouchError::Unreachable { .. } => {
            "`systemctl status couchdb`; if CouchDB listens elsewhere, correct couchdb.url"
        }
        CouchError::Insecure { .. } => {
            "the agent reads the files again with each try, so no restart is needed once they are right"
        }
        CouchError::Timeout { .. } => {
            "CouchDB hangs or is overloaded: look at its log, and at the machine's load"
        }
        CouchError::Unexpected { .. } => {
            "something else than CouchDB may listen there: `ss -ltnp` tells what"
        }
        _ => "look at CouchDB's log",
    };
    REACHABLE.failed(format!("{url}: {error}"), advice)
}

fn version(welcome: Result<Value, CouchError>) -> Finding {
    match welcome {
        Err(CouchError::Unauthorized) => {
            VERSION.skipped("CouchDB tells it only after a login (require_valid_user)")
        }
        Err(error) => VERSION.skipped(error.to_string()),
        Ok(welcome) => {
            let text = welcome["version"].as_str().unwrap_or("unknown").to_owned();
            match ServerVersion::from_welcome(welcome) {
                Ok(_) => VERSION.ok(text),
                Err(error) => VERSION.failed(error.to_string(), "upgrade CouchDB, or correct couchdb.url"),
            }
        }
    }
}

async fn admin_party(client: &Client) -> Finding {
    match client.send(None, Method::GET, &Resource::Session, None).await {
        Ok(session) if is_admin(&session) => PARTY.failed(
            "everybody who reaches CouchDB is an administrator: it has no server administrator",
            "start the agent, which makes os_admin; if its credentials file is there, restore os_admin in CouchDB's \
             [admins] section",
        ),
        Ok(_) | Err(CouchError::Unauthorized) => PARTY.ok("closed"),
        Err(error) => PARTY.skipped(error.to_string()),
    }
}

fn is_admin(session: &Value) -> bool {
    session["userCtx"]["roles"].as_array().is_some_and(|roles| roles.iter().any(|role| role == "_admin"))
}

/// In an admin party every password "works".
fn in_a_party(finding: Finding) -> Finding {
    if finding.check == &LOGIN && finding.verdict == super::Verdict::Ok {
        return LOGIN.skipped("everybody is an administrator, so this proves nothing");
    }
    finding
}

/// The findings on lockout and login.
async fn log_in(
    client: &Client,
    credentials: Option<&Credentials>,
    status: Option<&Value>,
) -> ([Finding; 2], Option<Login>) {
    // What the agent was told already need not be asked again.
    let refused = status.filter(|status| status["couchdb"]["state"] == "no_login");
    if let Some(reason) = refused.and_then(|status| status["couchdb"]["reason"].as_str()) {
        if reason.contains("locked") {
            return ([locked(), LOGIN.skipped("a locked account's password is not looked at")], None);
        }
        let advice = "the agent's reason says what to do; the password was not tried once more, because CouchDB \
                      3.4 and later lock an account after five wrong ones";
        return ([LOCKOUT.ok("not locked, as far as the agent knows"), LOGIN.failed(reason, advice)], None);
    }
    let Some(credentials) = credentials else {
        return ([&LOCKOUT, &LOGIN].map(|check| check.skipped("without os_admin's password")), None);
    };
    let login = Login::new("os_admin", &credentials.password);
    match client.send(Some(&login), Method::GET, &Resource::Session, None).await {
        Ok(session) if is_admin(&session) => {
            ([LOCKOUT.ok("not locked"), LOGIN.ok("os_admin is a server administrator")], Some(login))
        }
        Ok(_) => {
            let advice = "add os_admin to CouchDB's [admins] section, or remove the user document of that name and \
                          the credentials file and restart the agent";
            ([LOCKOUT.ok("not locked"), LOGIN.failed("os_admin is no server administrator", advice)], None)
        }
        Err(CouchError::LockedOut) => {
            ([locked(), LOGIN.skipped("a locked account's password is not looked at")], None)
        }
        Err(CouchError::LoginRefused) if credentials.next.is_some() => {
            let detail =
                "the password is being changed: CouchDB refuses the old one, and the new one was not tried";
            let advice = "see that the agent runs: it ends the change";
            ([LOCKOUT.ok("not locked"), LOGIN.warning(detail, advice)], None)
        }
        Err(CouchError::LoginRefused) => {
            let advice = "restore the credentials file, or set os_admin's password in CouchDB to the file's; then \
                          the agent goes on by itself. Don't try passwords: CouchDB 3.4 and later lock an account \
                          after five wrong ones";
            let detail = "CouchDB refuses the password of the credentials file (it was tried once)";
            ([LOCKOUT.ok("not locked"), LOGIN.failed(detail, advice)], None)
        }
        Err(error) => ([&LOCKOUT, &LOGIN].map(|check| check.skipped(error.to_string())), None),
    }
}

fn locked() -> Finding {
    LOCKOUT.failed(
        "CouchDB has locked os_admin after wrong passwords from this address",
        "wait 5 minutes without any try; find out who sends wrong passwords (CouchDB's log names the address)",
    )
}
