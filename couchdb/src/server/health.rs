//! Checks CouchDB's health with a real request as `os_admin`.
//!
//! Slow is not down: a probe that times out means failure only if no other request was answered either.

use std::time::Duration;

use serde_json::Value;
use tokio::time;

use crate::{Couch, CouchError, Method, Resource, ServerAdmin, Session};

/// The time limit for a probe, whatever the limit for other requests.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// A CouchDB without any answer for this long does not count as slow but as failing.
const SILENCE: Duration = Duration::from_secs(30);

/// The state of CouchDB, as far as requests can show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Not checked yet.
    Unknown,
    /// CouchDB answered `os_admin` as a server administrator.
    Healthy,
    /// CouchDB answered recently but not this time, or it asks for fewer requests.
    Slow(String),
    /// CouchDB answers, but the agent has no login or the login is refused.
    NoLogin(String),
    /// No process listens.
    Down(String),
    /// CouchDB answers `os_admin` but can't do all of its work.
    Degraded(Degraded),
    /// CouchDB answers but serves no database: `[couchdb] maintenance_mode` is on.
    Maintenance(String),
    /// CouchDB has not answered for a long time, or answers with errors.
    Failing(String),
}

/// Why CouchDB can't do all of its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degraded {
    /// The kind of problem, which may be shown to everyone.
    pub by: Impairment,
    /// The problem and its remedy.
    pub reason: String,
}

/// A problem of a CouchDB that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Impairment {
    /// The file system of the databases has too little free space.
    DiskFull,
    /// The databases belong to a different node name.
    NodeRenamed,
    /// CouchDB can't open a further file.
    NoFiles,
    /// CouchDB can't write, for a reason that the agent can't find out.
    NoWrites,
}

/// The result of a probe.
enum Probed {
    Now(Health),
    /// `os_admin`'s password is being changed, and CouchDB answers: the previous state is still valid.
    AsBefore,
}

impl Couch {
    /// Requests the session from CouchDB, checks its disk and, if that is due, that it can write. Takes at
    /// most 20 s. `before` is the previous state.
    pub async fn health(&self, before: &Health) -> Health {
        let limit = PROBE_LIMIT.min(self.client.limits().request);
        match time::timeout(limit, self.probe()).await {
            Ok(Probed::AsBefore) => before.clone(),
            Ok(Probed::Now(Health::Healthy)) => self.health_of_work(limit).await,
            Ok(Probed::Now(health)) => health,
            Err(_late) => self.late(limit),
        }
    }

    /// If the file system does not respond, the next check tries again.
    async fn health_of_work(&self, limit: Duration) -> Health {
        if let Ok(Some(low)) = time::timeout(limit, self.low_disk()).await {
            return Health::Degraded(Degraded { by: Impairment::DiskFull, reason: low.to_string() });
        }
        match time::timeout(limit, self.check_writing()).await {
            Ok(Ok(())) => Health::Healthy,
            Ok(Err(health)) => health,
            Err(_late) => self.late(limit),
        }
    }

    /// Checks with a request that `os_admin` is a server administrator.
    pub async fn prove_login(&self) -> Result<(), CouchError> {
        must_be_os_admin(&Session::from_answer(self.get(&Resource::Session).await?)?)
    }

    /// Returns an error if the node is in maintenance mode.
    pub(crate) async fn refuse_maintenance(&self) -> Result<(), CouchError> {
        maintenance(self.get(&Resource::Up).await)
    }

    async fn probe(&self) -> Probed {
        let asked = match self.login() {
            Ok(login) => {
                // Running requests delay a password change, which delays new requests with the login. CouchDB
                // is not the cause, so it is asked without a login.
                let Some(_lease) = login.client_use_now() else {
                    return match self.client.send(None, Method::GET, &Resource::Session, None).await {
                        Ok(_) | Err(CouchError::Unauthorized) => Probed::AsBefore,
                        Err(error) => Probed::Now(self.health_after(&error)),
                    };
                };
                let asked = self.client.send(Some(&login), Method::GET, &Resource::Session, None).await;
                match asked.and_then(|body| must_be_os_admin(&Session::from_answer(body)?)) {
                    // A node that serves nothing else still answers `_session` as usual.
                    Ok(()) => {
                        maintenance(self.client.send(Some(&login), Method::GET, &Resource::Up, None).await)
                    }
                    Err(error) => Err(error),
                }
            }
            // Without a login, a request can still show whether a server answers.
            Err(no_login) => match self.client.send(None, Method::GET, &Resource::Session, None).await {
                Ok(_) | Err(CouchError::Unauthorized) => match self.impaired() {
                    Some(degraded) => return Probed::Now(Health::Degraded(degraded)),
                    None => Err(no_login),
                },
                Err(error @ CouchError::Unreachable { .. }) => return Probed::Now(down(&error, &no_login)),
                Err(error) => Err(error),
            },
        };
        Probed::Now(asked.map_or_else(|error| self.health_after(&error), |()| Health::Healthy))
    }

    pub(crate) fn health_after(&self, error: &CouchError) -> Health {
        if error.is_outage() {
            self.forget_server();
        }
        match error {
            CouchError::Timeout { limit, .. } => self.late(*limit),
            error => Health::from_error(error),
        }
    }

    fn late(&self, limit: Duration) -> Health {
        Health::of_silence(limit, self.client.silent_for())
    }
}

/// If CouchDB is down, the reason may be a step that the agent can't take.
fn down(error: &CouchError, no_login: &CouchError) -> Health {
    match no_login {
        CouchError::NotBootstrapped(why) | CouchError::NoLogin(why) if *why != error.to_string() => {
            Health::Down(format!("{error}; {why}"))
        }
        _ => Health::Down(error.to_string()),
    }
}

/// A server without `_up` (1.x) has no maintenance mode either.
fn maintenance(up: Result<Value, CouchError>) -> Result<(), CouchError> {
    match up {
        Err(error @ (CouchError::Maintenance | CouchError::LoginRefused | CouchError::LockedOut)) => {
            Err(error)
        }
        Err(error) if error.is_outage() => Err(error),
        _ => Ok(()),
    }
}

fn must_be_os_admin(session: &Session) -> Result<(), CouchError> {
    Ok(session.must_be_admin(ServerAdmin::OsAdmin.as_str())?)
}

impl Health {
    /// The state after a timed-out probe, depending on how long no other request was answered.
    fn of_silence(limit: Duration, silent_for: Duration) -> Self {
        let late = format!("CouchDB did not answer within {} s", limit.as_secs_f32());
        if silent_for < SILENCE {
            return Self::Slow(format!("{late}, but it lives: it is slow"));
        }
        Self::Failing(format!("{late}, nor anything else for {} s", SILENCE.as_secs()))
    }

    /// The state of the server according to an error.
    fn from_error(error: &CouchError) -> Self {
        let text = error.to_string();
        match error {
            CouchError::Unreachable { .. } | CouchError::NotCouchDb { status: 502 | 503, .. } => {
                Self::Down(text)
            }
            CouchError::Maintenance => Self::Maintenance(text),
            CouchError::TooManyRequests { .. } | CouchError::NotCouchDb { status: 504, .. } => {
                Self::Slow(text)
            }
            CouchError::NotBootstrapped(_)
            | CouchError::NoLogin(_)
            | CouchError::Unauthorized
            | CouchError::LoginRefused
            | CouchError::LoginUnusable(_)
            | CouchError::LockedOut => Self::NoLogin(text),
            _ => Self::Failing(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutation: slow-is-crashed (docs/guarantees.md).
    #[test]
    fn a_server_that_answered_a_short_while_ago_is_slow_and_a_silent_one_fails() {
        let of = |silent_for: u64| Health::of_silence(PROBE_LIMIT, Duration::from_secs(silent_for));
        assert!(matches!(of(0), Health::Slow(_)) && matches!(of(29), Health::Slow(_)));
        assert!(matches!(of(30), Health::Failing(_)) && matches!(of(300), Health::Failing(_)));
    }

    #[test]
    fn what_answers_and_asks_for_a_pause_lives() {
        let origin = String::new();
        let pause = CouchError::TooManyRequests { origin: origin.clone(), retry_after: None };
        assert!(matches!(Health::from_error(&pause), Health::Slow(_)));
        let seen = "a web page".to_owned();
        assert!(matches!(Health::from_error(&CouchError::Maintenance), Health::Maintenance(_)));
        let gateway = |status| CouchError::NotCouchDb { origin: origin.clone(), status, seen: seen.clone() };
        assert!(matches!(Health::from_error(&gateway(502)), Health::Down(_)));
        assert!(matches!(Health::from_error(&gateway(504)), Health::Slow(_)));
        assert!(matches!(Health::from_error(&gateway(200)), Health::Failing(_)));
    }
}
