//! CouchDB: whether it is reachable, has a supported version, requires a login, and accepts `os_admin`.

mod login;
mod os_admin;

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::sync::watch;
use trove_couchdb_client::{
    AdminLogin, Client, Couch, CouchError, Disk, Hasher, Iterations, Login, Method, PendingEdits, Policy,
    Resource, ServerVersion, Session,
};
use trove_couchdb_config::{CouchSettings, Settings};
use trove_couchdb_guest::RefusedLogins;

use super::{Check, Finding, credentials::CredentialsFile, process::Process};
use crate::couch;

use login::{Attempt, LOCKOUT, LOGIN};
use os_admin::OS_ADMIN;

static REACHABLE: Check = Check::new("couchdb.reachable", "CouchDB answers at couchdb.url");
static VERSION: Check = Check::new("couchdb.version", "It is CouchDB 1.6 or later");
static PARTY: Check = Check::new("couchdb.admin_party", "CouchDB is not in admin party mode");

pub(super) const CHECKS: &[&Check] = &[&REACHABLE, &VERSION, &PARTY, &OS_ADMIN, &LOCKOUT, &LOGIN];

/// A CouchDB on the same machine that takes longer is unusable.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A CouchDB that accepts `os_admin`'s password, for further checks. Uses the agent's
/// own library; the doctor writes nothing.
fn administered(client: Client, login: Login, settings: &CouchSettings) -> Couch {
    // The value stays readable after the sender is dropped.
    let (_, admin) = watch::channel(AdminLogin::Ready(Arc::new(login)));
    let rounds = Iterations { sha256: settings.sha256_iterations, sha1: settings.sha1_iterations };
    let policy = Policy::new(&settings.ignore_users, &settings.ignore_dbs);
    let disk = Disk::new(&settings.data_dir, settings.min_free_mib, settings.is_local());
    Couch::new(client, admin, Hasher::new(rounds), policy, PendingEdits::default(), disk)
}

/// A CouchDB that answers.
pub(super) struct Reached {
    client: Client,
    welcome: Result<Value, CouchError>,
}

pub(super) async fn reach(settings: &Settings, findings: &mut Vec<Finding>) -> Option<Reached> {
    let url = &settings.couchdb.url;
    let limit = settings.couchdb.request_timeout.min(TIMEOUT);
    let client = couch::client(url, limit, settings.couchdb.tls.clone());
    let welcome = client.send(None, Method::GET, &Resource::Welcome, None).await;
    if let Err(error) = &welcome
        && *error != CouchError::Unauthorized
    {
        findings.push(unreachable(url.as_str(), error));
        let rest = CHECKS.iter().filter(|check| **check != &REACHABLE);
        findings.extend(rest.map(|check| check.skipped("CouchDB does not answer")));
        return None;
    }
    findings.push(REACHABLE.ok(url.origin().ascii_serialization()));
    Some(Reached { client, welcome })
}

impl Reached {
    /// Returns the CouchDB as `os_admin`, if it logs in.
    pub(super) async fn look(
        self,
        settings: &Settings,
        file: &CredentialsFile,
        status: Option<&Value>,
        process: Option<&Process>,
        findings: &mut Vec<Finding>,
    ) -> Option<Couch> {
        let Self { client, welcome } = self;
        let party = admin_party(&client).await;
        let is_party = party.verdict == super::Verdict::Failed;
        findings.push(party);
        let refusals = RefusedLogins::look(&settings.couchdb, &settings.guest.state_dir);
        let attempt = login::attempt(&client, file, status, &refusals).await;
        if is_party {
            findings.push(OS_ADMIN.skipped("CouchDB has no server administrator at all"));
            findings.extend(attempt.findings(None).map(in_a_party));
        } else {
            let account = if attempt.may_be_about_the_account() {
                Some(os_admin::find(&client, settings, &refusals, process, file).await)
            } else {
                None
            };
            findings.push(
                account
                    .as_ref()
                    .map_or_else(|| attempt.of_the_account(), |account| os_admin::judged(account, file)),
            );
            findings.extend(attempt.findings(account.as_ref()));
        }
        let login = if let Attempt::Accepted(login) = attempt { Some(login) } else { None };
        let welcome = match (welcome, &login) {
            // With require_valid_user even the welcome request needs a login.
            (Err(_), Some(login)) => client.send(Some(login), Method::GET, &Resource::Welcome, None).await,
            (welcome, _) => welcome,
        };
        findings.push(version(welcome));
        login.map(|login| administered(client, login, &settings.couchdb))
    }
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
        CouchError::NotCouchDb { .. } => {
            "`curl -i` with couchdb.url shows the same; correct the proxy in between, or couchdb.url"
        }
        CouchError::TooManyRequests { .. } => {
            "raise the limit for the agent's address, or look for who uses it up"
        }
        CouchError::Unexpected { .. } => {
            "something other than CouchDB may listen there: `ss -ltnp` shows what"
        }
        _ => "look at CouchDB's log",
    };
    REACHABLE.failed(format!("{url}: {error}"), advice)
}

fn version(welcome: Result<Value, CouchError>) -> Finding {
    match welcome {
        Err(CouchError::Unauthorized) => {
            VERSION.skipped("CouchDB reports it only after a login (require_valid_user)")
        }
        Err(error) => VERSION.not_run(error),
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
    match session(client, None).await {
        Ok(session) if session.is_admin() => PARTY.failed(
            "everybody who reaches CouchDB is an administrator: it has no server administrator",
            "start the agent, which makes os_admin; if its credentials file is there, restore os_admin in CouchDB's \
             [admins] section",
        ),
        Ok(_) | Err(CouchError::Unauthorized) => PARTY.ok("closed"),
        Err(error) => PARTY.not_run(error),
    }
}

async fn session(client: &Client, login: Option<&Login>) -> Result<Session, CouchError> {
    Session::from_answer(client.send(login, Method::GET, &Resource::Session, None).await?)
}

/// In admin party mode CouchDB accepts every password.
fn in_a_party(finding: Finding) -> Finding {
    if finding.check == &LOGIN && finding.verdict == super::Verdict::Ok {
        return LOGIN.skipped("everybody is an administrator, so this proves nothing");
    }
    finding
}
