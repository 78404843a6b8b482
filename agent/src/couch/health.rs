//! Whether CouchDB serves: found out with a real request as `os_admin`.

use std::time::Duration;

use serde_json::Value;
use tokio::time;

use super::{Couch, CouchError, Method, Resource};

/// Who doesn't say in this time who we are does not serve, however long a request may take otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// How CouchDB does, as far as a request can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nobody has asked yet.
    Unknown,
    /// It answered `os_admin`, as a server administrator.
    Healthy,
    /// It answers, but there is no login for the agent, or the login is refused.
    NoLogin(String),
    /// Nothing listens.
    Down(String),
    /// It doesn't answer in time, or answers with errors.
    Failing(String),
}

impl Couch {
    /// Asks CouchDB who we are; takes at most 5 s.
    pub async fn health(&self) -> Health {
        let patience = PATIENCE.min(self.client.limits().request);
        let Ok(session) = time::timeout(patience, self.session()).await else {
            return Health::Failing(format!("CouchDB did not answer within {} s", patience.as_secs_f32()));
        };
        match session {
            Ok(session) => {
                if is_admin(&session) {
                    Health::Healthy
                } else {
                    Health::NoLogin("os_admin is not a server administrator".to_owned())
                }
            }
            Err(error) => Health::from_error(&error),
        }
    }

    /// Asks CouchDB, now and for real, whether `os_admin` is a server administrator.
    pub async fn prove_login(&self) -> Result<(), CouchError> {
        let session = self.get(&Resource::Session).await?;
        if is_admin(&session) {
            return Ok(());
        }
        Err(CouchError::NoLogin("os_admin is not a server administrator".to_owned()))
    }

    async fn session(&self) -> Result<Value, CouchError> {
        match self.login() {
            Ok(_) => self.get(&Resource::Session).await,
            // Without a login there is still the question whether anything answers.
            Err(no_login) => match self.client.send(None, Method::GET, &Resource::Session, None).await {
                Ok(_) | Err(CouchError::Unauthorized) => Err(no_login),
                Err(error) => Err(error),
            },
        }
    }
}

fn is_admin(session: &Value) -> bool {
    let roles = session["userCtx"]["roles"].as_array();
    roles.is_some_and(|roles| roles.iter().any(|role| role == "_admin"))
}

impl Health {
    /// What an error tells about the server.
    pub fn from_error(error: &CouchError) -> Self {
        let text = error.to_string();
        match error {
            CouchError::Unreachable { .. } => Self::Down(text),
            CouchError::NotBootstrapped(_)
            | CouchError::NoLogin(_)
            | CouchError::Unauthorized
            | CouchError::LoginRefused
            | CouchError::LockedOut => Self::NoLogin(text),
            _ => Self::Failing(text),
        }
    }
}
