//! How this server handles passwords: who hashes them, with how many rounds, and whether it has password
//! rules.
//!
//! The agent hashes passwords itself unless the server has rules for them (`password_regexp`). Only the
//! server can apply these rules: they are Erlang regular expressions and need the plain password. In that
//! case the agent sends users' passwords in clear and the server hashes them. The agent reads the rules for
//! every command, so that it notices changes.
//!
//! CouchDB does not apply its rules to server administrators. So that `root` can't evade them, the agent
//! checks its password with a write to `_users` that can't succeed: CouchDB checks the password first.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::json;
use trove_couchdb_protocol::{Secret, UserName};

use crate::{
    CommandError, Couch, CouchError, Resource, ServerAdmin, SystemDatabase, TenantUser,
    accounts::{
        drafts::{NewPassword, without},
        hash::Rounds,
    },
    reply::error::absent_is_none,
};

/// `[chttpd_auth]`, and the section with its settings before 3.2. CouchDB reads the second where the first
/// has no value (`chttpd_util.erl`, `get_chttpd_auth_config`).
const SECTIONS: [&str; 2] = ["chttpd_auth", "couch_httpd_auth"];

/// Fewer rounds are not an operator's: `default.ini` of CouchDB 1.x and 2.x has 10.
const LEAST_ROUNDS: u32 = 1_000;

/// A revision that no document ever has.
const NO_REVISION: &str = "1-00000000000000000000000000000000";

/// The server's settings for users and their passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthSettings {
    /// Whether the server has rules for plain passwords.
    has_rules: bool,
    pub(crate) rounds: Rounds,
}

impl Couch {
    /// Reads the server's current settings.
    ///
    /// # Errors
    /// [`CommandError::UsersElsewhere`]: CouchDB looks for users in a database other than `_users`.
    pub(crate) async fn auth_settings(&self) -> Result<AuthSettings, CommandError> {
        // Not cached: after an upgrade or a new limit, CouchDB may refuse logins with the old kind of hash.
        let server = self.server_now().await?;
        let home = if server.version.has_nodes() { SECTIONS[0] } else { SECTIONS[1] };
        let wanted = [
            (home, "authentication_db"),
            (SECTIONS[0], "password_regexp"),
            (SECTIONS[1], "password_regexp"),
            (SECTIONS[0], "min_iterations"),
            (SECTIONS[1], "min_iterations"),
            (SECTIONS[0], "max_iterations"),
            (SECTIONS[1], "max_iterations"),
            (SECTIONS[0], "iterations"),
            (SECTIONS[1], "iterations"),
        ];
        let config = &server.config;
        let values = try_join_all(wanted.map(|(section, key)| async move {
            let setting = Resource::Setting(config, section, key);
            let value = absent_is_none(self.get(&setting).await)?;
            Ok::<_, CouchError>(value.and_then(|value| value.as_str().map(|text| text.trim().to_owned())))
        }));
        let values = values.await?;
        let [users, settings @ ..] = values.as_slice() else {
            return Ok(AuthSettings { has_rules: false, rounds: Rounds::default() });
        };
        if let Some(database) = users.as_deref().filter(|name| *name != SystemDatabase::Users.as_str()) {
            return Err(CommandError::UsersElsewhere { database: database.to_owned(), section: home });
        }
        // The first section that has a value.
        let setting = |index: usize| settings.iter().skip(2 * index).take(2).flatten().next();
        let number = |index| setting(index).and_then(|text| text.parse().ok());
        Ok(AuthSettings {
            has_rules: setting(0).is_some_and(|rules| !rules.is_empty() && rules != "[]"),
            rounds: Rounds {
                wanted: number(3).filter(|rounds| *rounds >= LEAST_ROUNDS),
                min: number(1),
                max: number(2),
            },
        })
    }

    /// Prepares passwords for writing, hashed or plain as the server requires, concurrently.
    pub(crate) async fn new_passwords<'a>(
        &self,
        passwords: Vec<(&'a TenantUser, &Secret)>,
        settings: &AuthSettings,
    ) -> Result<BTreeMap<&'a TenantUser, NewPassword>, CommandError> {
        if settings.has_rules {
            let plain =
                |(user, secret): (&'a TenantUser, &Secret)| (user, NewPassword::Plain(secret.clone()));
            return Ok(passwords.into_iter().map(plain).collect());
        }
        let server = self.server().await?.version;
        // The hasher limits itself to one hash per core.
        let hashes = try_join_all(passwords.into_iter().map(|(user, password)| async move {
            let hash =
                self.hasher.hash(password, server, settings.rounds).await.ok_or(CommandError::Stopping)?;
            Ok::<_, CommandError>((user, NewPassword::Hash(hash)))
        }));
        Ok(hashes.await?.into_iter().collect())
    }

    /// Checks a password of `root` against the rules for users' passwords, if there are any.
    pub(crate) async fn ask_rules_for_root(
        &self,
        password: &Secret,
        settings: &AuthSettings,
    ) -> Result<(), CommandError> {
        if !settings.has_rules {
            return Ok(());
        }
        let root = ServerAdmin::Root.as_str();
        // CouchDB checks the password before it rejects the revision and the missing type.
        let Ok(name) = UserName::try_from(root) else { return Ok(()) };
        let body = json!({"_rev": NO_REVISION, "name": root, "roles": [], "password": password.expose()});
        match self.send(Method::PUT, &Resource::User(&name), Some(&body)).await {
            Err(CouchError::Conflict) => Ok(()),
            Err(CouchError::BadRequest(reason) | CouchError::Forbidden(reason)) => {
                Err(CommandError::RootPasswordRejected(without(password, reason)))
            }
            Err(error) => Err(error.into()),
            Ok(_) => {
                let problem = "a write that names a revision that is not there succeeded".into();
                Err(CouchError::Unexpected { what: "PUT of a user", problem }.into())
            }
        }
    }
}
