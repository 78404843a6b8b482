//! The shared state of a node: databases, configuration and caches, behind one lock that is never held over
//! an await.
//!
//! One lock is enough because every operation on the state is a few map look-ups; slow work (password
//! hashing, delays) happens outside of it. `server` owns the node and keeps it over restarts; all request
//! handlers use it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::config::Config;
use crate::cookie;
use crate::database::{Database, Layout};
use crate::faults::Faults;
use crate::ini;
use crate::lockout::Lockout;
use crate::log::RequestLog;
use crate::options::{Options, StartError};
use crate::passwords::{Hashing, Stored};
use crate::personality::Version;
use crate::reply::{Refusal, Reply};
use crate::trouble::Trouble;

/// Locks even after a panic elsewhere: the state is plain data, and a test that panicked has failed anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The data behind the lock.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) databases: BTreeMap<String, Database>,
    pub(crate) config: Config,
    /// `[chttpd] authentication_handlers` at the start; upstream reads it only then.
    pub(crate) handlers: Option<String>,
    pub(crate) lockout: Lockout,
    /// User documents as the authentication last saw them (upstream: `chttpd_auth_cache`).
    pub(crate) auth_cache: HashMap<String, Map<String, Value>>,
    /// Whether the cache follows changes of `_users` and `_design/_auth` exists; false in the first seconds.
    pub(crate) settled: bool,
    /// Passwords that proved right: by account, the hash and a digest of the password.
    pub(crate) verified: HashMap<String, (Stored, [u8; 32])>,
    pub(crate) trouble: Trouble,
}

impl State {
    /// A setting of the authentication, also from its section before 3.2.
    pub(crate) fn auth_setting(&self, key: &str) -> Option<&str> {
        self.config.get("chttpd_auth", key).or_else(|| self.config.get("couch_httpd_auth", key))
    }

    /// `[chttpd_auth] timeout`: how many seconds a session lasts.
    pub(crate) fn session_timeout(&self) -> u64 {
        self.auth_setting("timeout").and_then(|text| text.parse().ok()).unwrap_or(cookie::TIMEOUT)
    }

    /// The name of the users database.
    pub(crate) fn users_database(&self, version: Version) -> &str {
        let section = if version == Version::V1 { "couch_httpd_auth" } else { "chttpd_auth" };
        self.config.get(section, "authentication_db").unwrap_or("_users")
    }

    /// A database, or 404 if it does not exist.
    pub(crate) fn database(&self, name: &str) -> Result<&Database, Refusal> {
        self.databases.get(name).ok_or_else(Reply::no_database)
    }

    /// A database to be changed, or 404 if it does not exist.
    pub(crate) fn database_mut(&mut self, name: &str) -> Result<&mut Database, Refusal> {
        self.databases.get_mut(name).ok_or_else(Reply::no_database)
    }

    /// Updates the authentication cache for a changed user, if the cache already follows changes.
    pub(crate) fn user_changed(&mut self, id: &str) {
        if let Some(name) = id.strip_prefix("org.couchdb.user:")
            && self.settled
        {
            self.auth_cache.remove(name);
        }
    }

    /// Creates `_design/_auth` and starts to follow `_users`, if that exists.
    pub(crate) fn settle(&mut self) {
        let Some(users) = self.databases.get_mut("_users") else {
            return;
        };
        if users.get("_design/_auth").is_none() {
            let design = json!({
                "language": "javascript",
                "validate_doc_update": "function() { /* src/users.rs of the in-memory CouchDB */ }"
            });
            let body = design.as_object().cloned().unwrap_or_default();
            // Cannot conflict: the document was missing a moment ago, under the same lock.
            drop(users.put("_design/_auth", None, false, body));
        }
        self.settled = true;
        self.auth_cache.clear();
    }
}

/// A node, running or stopped.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) version: Version,
    pub(crate) options: Options,
    hashing: Hashing,
    pub(crate) uuid: String,
    /// The key of session cookies, unless `[chttpd_auth] secret` is set.
    secret: String,
    pub(crate) faults: Faults,
    pub(crate) log: RequestLog,
    /// The number of plain admin passwords that are not hashed yet.
    pub(crate) unhashed: watch::Sender<usize>,
    /// The task that hashes the newest of them.
    pub(crate) last_hash: Mutex<Option<tokio::task::JoinHandle<()>>>,
    port: Mutex<u16>,
    state: Mutex<State>,
}

impl Node {
    /// A node that never started.
    pub(crate) fn new(options: Options) -> Self {
        let mut hashing = options.version.default_hashing();
        hashing.iterations = options.iterations.unwrap_or(hashing.iterations);
        Self {
            version: options.version,
            hashing,
            uuid: hex::encode(rand::random::<[u8; 16]>()),
            secret: hex::encode(rand::random::<[u8; 16]>()),
            faults: Faults::default(),
            log: RequestLog::default(),
            unhashed: watch::Sender::new(0),
            last_hash: Mutex::default(),
            port: Mutex::new(options.port),
            state: Mutex::default(),
            options,
        }
    }

    /// The state; drop the guard before the next await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// How the node hashes plain passwords now.
    pub(crate) fn hashing(&self) -> Hashing {
        let set = self.state().auth_setting("iterations").and_then(|text| text.parse().ok());
        Hashing { iterations: set.unwrap_or(self.hashing.iterations), ..self.hashing }
    }

    /// The key of session cookies.
    pub(crate) fn session_secret(&self) -> String {
        self.state().auth_setting("secret").unwrap_or(&self.secret).to_owned()
    }

    /// How many seconds a session lasts.
    pub(crate) fn session_timeout(&self) -> u64 {
        self.state().session_timeout()
    }

    /// The node's Erlang name, unique on this host.
    pub(crate) fn name(&self) -> String {
        format!("couch{}@127.0.0.1", lock(&self.port))
    }

    /// Stores the port once it is known.
    pub(crate) fn set_port(&self, port: u16) {
        *lock(&self.port) = port;
    }

    /// The values of the ini files and the options; the files of `local.d` come last.
    pub(crate) fn read_ini(&self) -> Result<Vec<(String, String, String)>, StartError> {
        let mut values = self.options.config.clone();
        if let Some((name, secret)) = &self.options.admin {
            values.push(("admins".into(), name.clone(), secret.clone()));
        }
        if let Some(dir) = &self.options.ini_dir {
            values.extend(ini::read_dir(dir)?);
        }
        Ok(values)
    }

    /// The steps of each start before the port opens.
    pub(crate) fn boot(&self) -> Result<(), StartError> {
        let ini = self.read_ini()?;
        let mut state = self.state();
        state.config.reload(&ini);
        state.handlers = state.config.get("chttpd", "authentication_handlers").map(str::to_owned);
        // Upstream keeps both in memory (`couch_passwords_cache`, `couch_auth_lockout`).
        state.verified.clear();
        state.lockout = Lockout::default();
        if !self.version.starts_as_admin_party() && state.config.section("admins").next().is_none() {
            return Err(StartError::NoAdmin);
        }
        if self.version.makes_system_databases() {
            for name in ["_users", "_replicator"] {
                let layout = Layout { shards: 1, copies: 1, partitioned: false };
                state.databases.entry(name.into()).or_insert_with(|| Database::new(layout));
            }
        }
        state.settle();
        Ok(())
    }

    /// The effective `_security` of a database.
    pub(crate) fn security(&self, state: &State, name: &str) -> Result<Value, Refusal> {
        let database = state.database(name)?;
        let everyone = state.config.get("couchdb", "default_security") == Some("everyone");
        let default = || self.version.default_security(everyone);
        Ok(database.minority_security.clone().or_else(|| database.security.clone()).unwrap_or_else(default))
    }

    /// Starts the delay after which a `_users` that was created on a running node gets its `_design/_auth`.
    pub(crate) fn settle_later(self: &Arc<Self>) {
        let node = Arc::clone(self);
        let after = if self.version == Version::V1 { Duration::ZERO } else { self.options.settle_after };
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let mut state = node.state();
            // A restart in between may have done it.
            if !state.settled {
                state.settle();
            }
        });
    }
}
