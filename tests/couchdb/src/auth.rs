//! Authentication: cookie, then Basic, then the admin party (upstream: `chttpd_auth.erl`,
//! `couch_httpd_auth.erl`).
//!
//! Passwords are really derived and compared, on a blocking thread. A password that proved right is cached,
//! so Basic over keep-alive is cheap, as on a real server. Callers: the router for every request, and the
//! session route for a login. Authorization is in `access`.

use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::access::Caller;
use crate::cookie;
use crate::lockout::Policy;
use crate::node::{Node, State};
use crate::passwords::{Stored, hash_into_user};
use crate::personality::Version;
use crate::reply::{Refusal, Reply};
use crate::request::Request;

/// The account of a name: an `[admins]` entry, a user document, or both.
#[derive(Debug)]
struct Account {
    roles: Vec<String>,
    /// `None` if neither has a usable hash.
    stored: Option<Stored>,
    from_document: bool,
}

impl Account {
    fn salt(&self) -> &str {
        self.stored.as_ref().map_or("", Stored::salt)
    }
}

/// A successful login.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) roles: Vec<String>,
    pub(crate) salt: String,
}

/// Authenticates the request; refuses wrong credentials, locked accounts, and anonymous requests if
/// `require_valid_user` is set.
pub(crate) async fn identify(node: &Arc<Node>, request: &Request) -> Result<Caller, Refusal> {
    let handlers = handlers(node);
    if handlers.iter().any(|handler| handler == "proxy")
        && let Some(caller) = by_proxy(node, request)
    {
        return Ok(caller);
    }
    if let Some(caller) = by_cookie(node, request)? {
        return Ok(caller);
    }
    let basic = handlers.contains(&"default".to_owned());
    if let Some((name, password)) = basic_credentials(request)?.filter(|_| basic) {
        let login = log_in(node, &name, &password, &peer_of(request), false).await?;
        return Ok(Caller { name: Some(name), roles: login.roles, authenticated: Some("default") });
    }
    let state = node.state();
    let path = request.path();
    let except_up = state.config.is_on("chttpd", "require_valid_user_except_for_up");
    let strict = state.config.is_on("chttpd", "require_valid_user");
    let logging_in = request.method == "POST" && path == ["_session"];
    let probing = path == ["_up"] && except_up;
    if (strict || except_up) && !logging_in && !probing {
        return Err(Reply::unauthorized("Authentication required."));
    }
    if state.config.section("admins").next().is_none() {
        return Ok(Caller { name: None, roles: vec!["_admin".into()], authenticated: Some("default") });
    }
    Ok(Caller::default())
}

/// The names of the authentication handlers, as `GET /_session` lists them: those of
/// `[chttpd] authentication_handlers` at the start of the node, or the version's default.
pub(crate) fn handlers(node: &Node) -> Vec<String> {
    let known = [("cookie_", "cookie"), ("proxy_", "proxy"), ("jwt_", "jwt"), ("default_", "default")];
    let own: &[&str] =
        if node.version == Version::V1 { &["oauth", "cookie", "default"] } else { &["cookie", "default"] };
    let state = node.state();
    let Some(set) = state.handlers.as_deref() else {
        return own.iter().map(|name| (*name).to_owned()).collect();
    };
    let named = set.split('{').filter_map(|part| part.split_once(',')?.1.trim().split('}').next());
    let listed = named.filter_map(|handler| known.iter().find(|(begin, _)| handler.starts_with(begin)));
    listed.map(|(_, name)| (*name).to_owned()).collect()
}

/// The address that the lockout counts; behind a proxy it is the client's.
pub(crate) fn peer_of(request: &Request) -> String {
    request.header("x-forwarded-for").unwrap_or(&request.peer).to_owned()
}

/// The headers of a proxy; without a token it is believed unless `proxy_use_secret` is set and there is a
/// secret.
fn by_proxy(node: &Node, request: &Request) -> Option<Caller> {
    let state = node.state();
    let header = |key: &str, usual: &str| request.header(state.auth_setting(key).unwrap_or(usual));
    let name = header("x_auth_username", "x-auth-couchdb-username")?;
    let roles = header("x_auth_roles", "x-auth-couchdb-roles").unwrap_or_default();
    if state.auth_setting("proxy_use_secret") == Some("true")
        && let Some(secret) = state.auth_setting("secret")
        && !proves(secret, name, header("x_auth_token", "x-auth-couchdb-token")?)
    {
        return None;
    }
    let roles = roles.split(',').filter(|role| !role.is_empty()).map(str::to_owned).collect();
    Some(Caller { name: Some(name.to_owned()), roles, authenticated: Some("proxy") })
}

/// Whether a token is the HMAC of the name, with one of the default `hash_algorithms` (SHA-1 only before 3.4).
fn proves(secret: &str, name: &str, token: &str) -> bool {
    [hmac::HMAC_SHA256, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY].into_iter().any(|algorithm| {
        let key = hmac::Key::new(algorithm, secret.as_bytes());
        hex::encode(hmac::sign(&key, name.as_bytes())) == token
    })
}

fn by_cookie(node: &Node, request: &Request) -> Result<Option<Caller>, Refusal> {
    let cookies = request.header("cookie").unwrap_or_default();
    let session = cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix("AuthSession="));
    let Some(value) = session.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let malformed = "Malformed AuthSession cookie. Please clear your cookies.";
    let session = cookie::read(value).ok_or_else(|| Reply::bad_request(malformed))?;
    let account = account(&mut node.state(), node.version, &session.name)?;
    let (secret, timeout) = (node.session_secret(), node.session_timeout());
    let good = account.filter(|account| session.is_good(&secret, account.salt(), timeout));
    Ok(good.map(|account| Caller {
        name: Some(session.name),
        roles: account.roles,
        authenticated: Some("cookie"),
    }))
}

/// Name and password of a Basic header; `None` without a header, or with one that a real server ignores.
fn basic_credentials(request: &Request) -> Result<Option<(String, String)>, Refusal> {
    let Some(encoded) = request.header("authorization").and_then(|value| value.strip_prefix("Basic ")) else {
        return Ok(None);
    };
    let bytes = STANDARD.decode(encoded).map_err(|_| Reply::crash("unknown_error", "badarg"))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // Browsers send `_:_` to forget their credentials.
    let pair = text.split_once(':').filter(|pair| *pair != ("_", "_"));
    Ok(pair.map(|(name, password)| (name.to_owned(), password.to_owned())))
}

/// Checks a password; with `count_unknown`, guesses at missing users count towards a lockout, as at
/// `POST /_session`.
pub(crate) async fn log_in(
    node: &Arc<Node>,
    name: &str,
    password: &str,
    peer: &str,
    count_unknown: bool,
) -> Result<Login, Refusal> {
    let (account, policy, cached) = {
        let mut state = node.state();
        let account = account(&mut state, node.version, name)?;
        (account, Policy::of(&state.config), state.verified.get(name).cloned())
    };
    if account.is_none() && !count_unknown {
        return Err(Reply::wrong_password());
    }
    let salt = account.as_ref().map_or("", Account::salt).to_owned();
    let key = (peer.to_owned(), name.to_owned(), salt.clone());
    if node.version.locks_out() && node.state().lockout.is_locked(policy, &key, Instant::now()) {
        let reason = "Account is temporarily locked due to multiple authentication failures";
        return Err(Reply::forbidden(reason));
    }
    let stored = account.as_ref().and_then(|account| account.stored.clone());
    let digest: [u8; 32] = Sha256::digest(password.as_bytes()).into();
    let right = match (&stored, cached) {
        (None, _) => false,
        // Once a password was proved for this hash, its digest replaces the derivation.
        (Some(stored), Some((proved, expected))) if *stored == proved => digest == expected,
        (Some(stored), _) => {
            // Only where a hash is derived; a cached password skips this check.
            if let Some(rounds) = stored.rounds() {
                verify_rounds(node, rounds)?;
            }
            derive_and_compare(stored.clone(), password.to_owned()).await?
        }
    };
    if let (true, Some(account), Some(stored)) = (right, account, stored) {
        if account.from_document && node.version.upgrades_hashes() && !stored.is_current(node.hashing()) {
            upgrade_later(node, name, password, stored.clone());
        }
        node.state().verified.insert(name.to_owned(), (stored, digest));
        return Ok(Login { roles: account.roles, salt });
    }
    if node.version.locks_out() {
        node.state().lockout.count_failure(policy, key, Instant::now());
    }
    Err(Reply::wrong_password())
}

/// `verify_iterations` of `couch_httpd_auth.erl`; a refusal does not count as a wrong password.
fn verify_rounds(node: &Node, rounds: u32) -> Result<(), Refusal> {
    let state = node.state();
    let limit = |key: &str, default: u64| {
        state.auth_setting(key).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    if u64::from(rounds) < limit("min_iterations", 1) {
        return Err(Reply::forbidden("Iteration count is too low for this server"));
    }
    if u64::from(rounds) > limit("max_iterations", 1_000_000_000) {
        return Err(Reply::forbidden("Iteration count is too high for this server"));
    }
    Ok(())
}

async fn derive_and_compare(stored: Stored, password: String) -> Result<bool, Refusal> {
    let compared = tokio::task::spawn_blocking(move || stored.matches(&password)).await;
    compared.map_err(|_| Reply::crash("unknown_error", "the hashing thread is gone"))
}

/// Looks up a name as upstream does: the admin's hash has priority, the document adds its roles.
fn account(state: &mut State, version: Version, name: &str) -> Result<Option<Account>, Refusal> {
    let admin = state.config.get("admins", name).map(|value| Stored::of_admin(version, value)).transpose();
    let admin = admin.map_err(|malformed| Reply::crash("badmatch", &malformed.0))?.flatten();
    let id = format!("org.couchdb.user:{name}");
    let users = state.users_database(version).to_owned();
    if admin.is_none() && state.databases.get(&users).is_some_and(|users| users.has_conflicts(&id)) {
        let reason = "User document conflicts must be resolved before the document is used for authentication purposes.";
        return Err(Reply::unauthorized(reason));
    }
    let document = if let Some(cached) = state.auth_cache.get(name).filter(|_| users == "_users") {
        Some(cached.clone())
    } else {
        let document = state.databases.get(&users).and_then(|users| users.get(&id));
        let body = document.filter(|document| !document.deleted).map(|document| document.body.clone());
        if let Some(body) = &body
            && users == "_users"
        {
            state.auth_cache.insert(name.to_owned(), body.clone());
        }
        body
    };
    let listed = document.as_ref().and_then(|body| body.get("roles")).and_then(Value::as_array);
    let listed = listed.into_iter().flatten().filter_map(|role| role.as_str().map(str::to_owned));
    Ok(match (admin, &document) {
        (Some(stored), _) => {
            let roles = std::iter::once("_admin".to_owned()).chain(listed).collect();
            Some(Account { roles, stored: Some(stored), from_document: false })
        }
        (None, Some(body)) => {
            let stored = Stored::of_user(version, body);
            Some(Account { roles: listed.collect(), stored, from_document: true })
        }
        (None, None) => None,
    })
}

/// Rewrites the user's document with a current hash of the same salt, some time after the login.
fn upgrade_later(node: &Arc<Node>, name: &str, password: &str, proved: Stored) {
    let (node, name, password) = (Arc::clone(node), name.to_owned(), password.to_owned());
    tokio::task::spawn_blocking(move || {
        let id = format!("org.couchdb.user:{name}");
        let current = {
            let state = node.state();
            state.databases.get("_users").and_then(|users| users.get(&id)).cloned()
        };
        let Some(current) = current.filter(|document| !document.deleted) else {
            return;
        };
        if Stored::of_user(node.version, &current.body).as_ref() != Some(&proved) {
            return;
        }
        let body = hash_into_user(node.hashing(), &current.body, &password, proved.salt());
        let mut state = node.state();
        if let Ok(users) = state.database_mut("_users")
            && users.put(&id, Some(&current.revision), false, body).is_ok()
        {
            state.user_changed(&id);
        }
    });
}
