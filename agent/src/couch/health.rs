//! Whether CouchDB serves: found out with a real request as `os_admin`.

use super::{Couch, CouchError, Method, Resource};

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
    /// Asks CouchDB who we are.
    pub async fn health(&self) -> Health {
        let session = match self.login() {
            Ok(_) => self.get(&Resource::Session).await,
            // Without a login there is still the question whether anything answers.
            Err(no_login) => match self.client.send(None, Method::GET, &Resource::Session, None).await {
                Ok(_) | Err(CouchError::LoginRefused) => Err(no_login),
                Err(error) => Err(error),
            },
        };
        match session {
            Ok(session) => {
                let roles = session["userCtx"]["roles"].as_array();
                if roles.is_some_and(|roles| roles.iter().any(|role| role == "_admin")) {
                    Health::Healthy
                } else {
                    Health::NoLogin("os_admin is not a server administrator".to_owned())
                }
            }
            Err(error) => Health::from_error(&error),
        }
    }
}

impl Health {
    /// What an error tells about the server.
    pub fn from_error(error: &CouchError) -> Self {
        let text = error.to_string();
        match error {
            CouchError::Unreachable { .. } => Self::Down(text),
            CouchError::NotBootstrapped(_)
            | CouchError::NoLogin(_)
            | CouchError::LoginRefused
            | CouchError::LockedOut => Self::NoLogin(text),
            _ => Self::Failing(text),
        }
    }
}
