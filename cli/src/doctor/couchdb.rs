//! CouchDB: whether it is reachable, has a supported version, requires a login, and accepts `os_admin`.
//!
//! `os_admin`'s password is sent at most once, and not at all if CouchDB has already refused it to the agent:
//! five wrong passwords lock the account for every client on this machine.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::sync::watch;
use trove_couchdb_client::{
    AdminLogin, Client, Couch, CouchError, Disk, Hasher, Iterations, Login, LoginProblem, Method,
    PendingEdits, Policy, Resource, ServerVersion, Session,
};
use trove_couchdb_config::{CouchSettings, Settings};
use trove_couchdb_guest::RefusedLogins;

use super::{Check, Finding};
use crate::couch::{self, Credentials};

static REACHABLE: Check = Check::new("couchdb.reachable", "CouchDB answers at couchdb.url");
static VERSION: Check = Check::new("couchdb.version", "It is CouchDB 1.6 or later");
static PARTY: Check = Check::new("couchdb.admin_party", "CouchDB is not in admin party mode");
static LOCKOUT: Check = Check::new("couchdb.lockout", "os_admin is not locked out after wrong passwords");
static LOGIN: Check =
    Check::new("couchdb.login", "os_admin logs in with the password of the credentials file");

pub(super) const CHECKS: &[&Check] = &[&REACHABLE, &VERSION, &PARTY, &LOCKOUT, &LOGIN];

const OS_ADMIN: &str = "os_admin";

const REPAIR: &str = "os_admin's password was changed, or os_admin was removed. Restore the credentials file, or \
                      give CouchDB an os_admin with the file's password and `touch` the file; then the agent goes on by \
                      itself";

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

pub(super) async fn look(
    settings: &Settings,
    credentials: Option<&Credentials>,
    status: Option<&Value>,
    findings: &mut Vec<Finding>,
) -> Option<Couch> {
    let url = &settings.couchdb.url;
    let limit = settings.couchdb.request_timeout.min(TIMEOUT);
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
    let refusals = RefusedLogins::look(&settings.couchdb, &settings.guest.state_dir);
    let (session, login) = log_in(&client, credentials, status, &refusals).await;
    let welcome = match (welcome, &login) {
        // With require_valid_user even the welcome request needs a login.
        (Err(_), Some(login)) => client.send(Some(login), Method::GET, &Resource::Welcome, None).await,
        (welcome, _) => welcome,
    };
    findings.push(version(welcome));
    findings.push(party);
    findings.extend(session.map(|finding| if is_party { in_a_party(finding) } else { finding }));
    login.map(|login| administered(client, login, &settings.couchdb))
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

/// The findings on lockout and login.
async fn log_in(
    client: &Client,
    credentials: Option<&Credentials>,
    status: Option<&Value>,
    refusals: &RefusedLogins,
) -> ([Finding; 2], Option<Login>) {
    // If the agent knows the reason, do not log in again.
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
    if let Some(wait) = refusals.barred(OS_ADMIN, &credentials.password) {
        let detail = "CouchDB refused os_admin's password a short while ago, and it was not tried once more";
        let advice =
            format!("{REPAIR}. Unless a file changes, it is tried again in {} s", wait.as_secs().max(1));
        return ([LOCKOUT.not_run("nothing was sent"), LOGIN.failed(detail, advice)], None);
    }
    let login = Login::new(OS_ADMIN, &credentials.password);
    let asked = session(client, Some(&login)).await;
    match asked.and_then(|session| Ok(session.must_be_admin(login.name())?)) {
        Ok(()) => ([LOCKOUT.ok("not locked"), LOGIN.ok("os_admin is a server administrator")], Some(login)),
        Err(CouchError::LoginUnusable(problem)) => ([LOCKOUT.ok("not locked"), unusable(&problem)], None),
        Err(CouchError::Forbidden(reason)) => {
            let advice = "CouchDB's reason says what to change; the agent goes on by itself within seconds";
            ([LOCKOUT.ok("not locked"), LOGIN.failed(reason, advice)], None)
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
            let noted = refusals.note(OS_ADMIN, &credentials.password);
            let unnoted = noted
                .err()
                .map(|error| format!("; the agent could not be notified: {error}"))
                .unwrap_or_default();
            let detail = format!(
                "CouchDB refuses the name or the password of the credentials file (it was tried once, 401{unnoted})"
            );
            let advice = format!(
                "{REPAIR}. Don't try passwords: CouchDB 3.4 and later lock an account after five wrong ones"
            );
            ([LOCKOUT.ok("not locked"), LOGIN.failed(detail, advice)], None)
        }
        Err(error) => ([&LOCKOUT, &LOGIN].map(|check| check.not_run(&error)), None),
    }
}

fn unusable(problem: &LoginProblem) -> Finding {
    let advice = match problem {
        LoginProblem::BasicOff(_) => "set it in an ini file of CouchDB and restart CouchDB",
        LoginProblem::Stripped | LoginProblem::SomebodyElse(_) => "correct the proxy, or couchdb.url",
        LoginProblem::NotAdministrator(_) => {
            "add os_admin to CouchDB's [admins] section, or remove the user document of that name and the credentials \
             file and restart the agent"
        }
        LoginProblem::Unseen(_) => {
            "`curl -i` with -u and couchdb.url plus /_session, once past the proxy and once through it, shows which"
        }
    };
    LOGIN.failed(problem.to_string(), format!("{advice}; the agent goes on by itself within seconds"))
}

fn locked() -> Finding {
    LOCKOUT.failed(
        "CouchDB has locked os_admin after wrong passwords from this address",
        "wait 5 minutes without any try; find out who sends wrong passwords (CouchDB's log names the address)",
    )
}
