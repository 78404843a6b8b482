//! The one attempt to log in as `os_admin`.
//!
//! `os_admin`'s password is sent at most once, and not at all if CouchDB has already refused it to the agent:
//! five wrong passwords lock the account for every client on this machine.

use std::time::Duration;

use serde_json::Value;
use trove_couchdb_client::{Client, CouchError, Login, LoginProblem, Method, Resource, Session};
use trove_couchdb_guest::RefusedLogins;

use super::super::{Check, Finding, credentials::CredentialsFile};
use super::os_admin::{Account, OS_ADMIN as ACCOUNT, RECOVER};

pub(super) static LOCKOUT: Check =
    Check::new("couchdb.lockout", "os_admin is not locked out after wrong passwords");
pub(super) static LOGIN: Check =
    Check::new("couchdb.login", "os_admin logs in with the password of the credentials file");

const OS_ADMIN: &str = "os_admin";

const DO_NOT_TRY: &str = "Don't try passwords: CouchDB 3.4 and later lock an account after five wrong ones";

/// The outcome.
pub(super) enum Attempt {
    /// Nothing was sent, because no password is known.
    NoPassword,
    /// The same, and the agent has a login.
    AgentLogsIn,
    /// Nothing was sent, because the agent has no login and knows why.
    AgentKnows(String),
    /// Nothing was sent, because CouchDB refused the password a short while ago.
    Barred(Duration),
    Accepted(Login),
    /// CouchDB refused the password. The error says why the agent could not be notified.
    Refused(Option<std::io::Error>),
    /// The same while the password is being changed.
    RefusedOld,
    /// CouchDB has locked the account.
    Locked,
    /// The login is no administrator's, or CouchDB refuses it for a reason other than its password.
    Unusable(LoginProblem),
    Forbidden(String),
    /// Whether CouchDB accepts the password is unknown.
    NotAnswered(CouchError),
}

impl Attempt {
    /// Whether a missing account may be the reason why there is no login.
    pub(super) fn may_be_about_the_account(&self) -> bool {
        match self {
            Self::NoPassword | Self::AgentKnows(_) | Self::Barred(_) | Self::Refused(_) | Self::Locked => {
                true
            }
            Self::Unusable(_)
            | Self::AgentLogsIn
            | Self::Accepted(_)
            | Self::RefusedOld
            | Self::Forbidden(_)
            | Self::NotAnswered(_) => false,
        }
    }

    /// The finding on the account, if it was not looked for.
    pub(super) fn of_the_account(&self) -> Finding {
        match self {
            Self::Accepted(_) => ACCOUNT.ok("it logs in"),
            Self::AgentLogsIn => ACCOUNT.ok("the agent logs in"),
            _ => ACCOUNT.skipped("couchdb.login says what is wrong"),
        }
    }

    /// The findings on lockout and login.
    pub(super) fn findings(&self, account: Option<&Account>) -> [Finding; 2] {
        let locked = "a locked account's password is not looked at";
        let refused =
            |detail: String, more: &str| LOGIN.failed(detail, format!("{}. {more}", repair(account)));
        match self {
            Self::NoPassword | Self::AgentLogsIn => [&LOCKOUT, &LOGIN].map(|check| check.skipped("without os_admin's password")),
            Self::AgentKnows(reason) => [
                LOCKOUT.ok("not locked, as far as the agent knows"),
                LOGIN.failed(
                    reason,
                    format!(
                        "do what the reason says, or {RECOVER}. The password was not tried once more. {DO_NOT_TRY}"
                    ),
                ),
            ],
            Self::Barred(wait) => [
                LOCKOUT.not_run("nothing was sent"),
                refused(
                    "CouchDB refused os_admin's password a short while ago, and it was not tried once more".to_owned(),
                    &format!("Unless a file changes, it is tried again in {} s", wait.as_secs().max(1)),
                ),
            ],
            Self::Accepted(_) => [LOCKOUT.ok("not locked"), LOGIN.ok("os_admin is a server administrator")],
            Self::Refused(unnoted) => {
                let unnoted = unnoted
                    .as_ref()
                    .map(|error| format!("; the agent could not be notified: {error}"))
                    .unwrap_or_default();
                let detail = format!(
                    "CouchDB refuses the name or the password of the credentials file (it was tried once, 401{unnoted})"
                );
                [LOCKOUT.ok("not locked"), refused(detail, DO_NOT_TRY)]
            }
            Self::RefusedOld => [
                LOCKOUT.ok("not locked"),
                LOGIN.warning(
                    "the password is being changed: CouchDB refuses the old one, and the new one was not tried",
                    "make sure that the agent runs: it completes the change",
                ),
            ],
            Self::Locked => [
                LOCKOUT.failed(
                    "CouchDB has locked os_admin after wrong passwords from this address",
                    "send no password for 5 minutes; find out who sends wrong passwords (CouchDB's log names the address)",
                ),
                LOGIN.skipped(locked),
            ],
            Self::Unusable(problem) => [LOCKOUT.ok("not locked"), unusable(problem)],
            Self::Forbidden(reason) => [
                LOCKOUT.ok("not locked"),
                LOGIN.failed(
                    reason,
                    "CouchDB's reason says what to change; the agent continues by itself within seconds",
                ),
            ],
            Self::NotAnswered(error) => [&LOCKOUT, &LOGIN].map(|check| check.not_run(error)),
        }
    }
}

/// What to do about a refused password. Both causes are named unless one was seen.
fn repair(account: Option<&Account>) -> String {
    let cause = match account {
        Some(Account::Present(_)) => "os_admin has a different password in CouchDB",
        Some(Account::Absent(_)) => "CouchDB has no os_admin (see couchdb.os_admin)",
        Some(Account::NotRead(_)) => "CouchDB does not know this password yet (see couchdb.os_admin)",
        Some(Account::Unknown(_)) | None => "os_admin's password was changed, or os_admin was removed",
    };
    format!("{cause}: {RECOVER}")
}

/// Tries the password of the credentials file, if it makes sense to.
pub(super) async fn attempt(
    client: &Client,
    file: &CredentialsFile,
    status: Option<&Value>,
    refusals: &RefusedLogins,
) -> Attempt {
    let couchdb = status.map_or(&Value::Null, |status| &status["couchdb"]);
    let reason = couchdb["reason"].as_str().filter(|_| couchdb["state"] == "no_login");
    let credentials = match (file, reason) {
        (_, Some(reason)) if reason.contains("locked") => return Attempt::Locked,
        (CredentialsFile::Absent | CredentialsFile::Unusable, None) if couchdb["state"] == "healthy" => {
            return Attempt::AgentLogsIn;
        }
        (CredentialsFile::Absent, _) | (CredentialsFile::Unusable, None) => return Attempt::NoPassword,
        (_, Some(reason)) => return Attempt::AgentKnows(reason.to_owned()),
        (CredentialsFile::Known(credentials), None) => credentials,
    };
    if let Some(wait) = refusals.barred(OS_ADMIN, &credentials.password) {
        return Attempt::Barred(wait);
    }
    let login = Login::new(OS_ADMIN, &credentials.password);
    let asked = client.send(Some(&login), Method::GET, &Resource::Session, None).await;
    let proven =
        asked.and_then(Session::from_answer).and_then(|session| Ok(session.must_be_admin(login.name())?));
    match proven {
        Ok(()) => Attempt::Accepted(login),
        Err(CouchError::LoginUnusable(problem)) => Attempt::Unusable(problem),
        Err(CouchError::Forbidden(reason)) => Attempt::Forbidden(reason),
        Err(CouchError::LockedOut) => Attempt::Locked,
        Err(CouchError::LoginRefused) if credentials.next.is_some() => Attempt::RefusedOld,
        Err(CouchError::LoginRefused) => {
            Attempt::Refused(refusals.note(OS_ADMIN, &credentials.password).err())
        }
        Err(error) => Attempt::NotAnswered(error),
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
    LOGIN.failed(problem.to_string(), format!("{advice}; the agent continues by itself within seconds"))
}
