//! Judges a configuration before it is set: whether it would open CouchDB, or lock the agent or its users out.
//!
//! One option alone is harmless that is not with another, so the whole resulting configuration is judged.

use std::net::IpAddr;

use crate::configuration::{
    error::OptionError,
    terms::{BASIC, PROXY, has_handler},
};

/// The options on which a judgement depends.
pub const JUDGED: [&str; 6] = [HANDLERS, PROXY_SECRET, ADDRESS, ITERATIONS, MIN, MAX];

const HANDLERS: &str = "chttpd.authentication_handlers";
const PROXY_SECRET: &str = "chttpd_auth.proxy_use_secret";
const ADDRESS: &str = "chttpd.bind_address";
const ITERATIONS: &str = "chttpd_auth.iterations";
const MIN: &str = "chttpd_auth.min_iterations";
const MAX: &str = "chttpd_auth.max_iterations";

/// What a judgement needs to know besides the options.
#[derive(Debug, Clone, Default)]
pub struct Circumstances {
    /// Whether the handler for proxies runs, or may run. CouchDB reads its handlers only at its start.
    pub runs_proxy_handler: bool,
    /// Whether the server has a secret for sessions and proxies.
    pub has_secret: bool,
    /// The host in `couchdb.url`.
    pub host: String,
    /// The fewest and the most PBKDF2 rounds of the accounts on the server.
    pub rounds: Option<(u64, u64)>,
}

/// Judges a node's configuration; `value` gives the resulting value of each option of [`JUDGED`].
///
/// # Errors
/// Why the configuration must not be set.
pub fn judge<'a>(
    value: impl Fn(&str) -> Option<&'a str>,
    circumstances: &Circumstances,
) -> Result<(), OptionError> {
    if value(HANDLERS).is_some_and(|handlers| !has_handler(handlers, BASIC)) {
        let why = format!("{HANDLERS} must contain {BASIC}, by which the agent logs in");
        return Err(OptionError::LocksOut(why));
    }
    judge_proxies(&value, circumstances)?;
    if let Some(address) = value(ADDRESS)
        && !is_reached(address, &circumstances.host)
    {
        let host = &circumstances.host;
        return Err(OptionError::LocksOut(format!(
            "it reaches CouchDB at {host} (couchdb.url), so {ADDRESS} must be {host}, 0.0.0.0 or any"
        )));
    }
    judge_rounds(&value, circumstances)
}

fn judge_proxies<'a>(
    value: &impl Fn(&str) -> Option<&'a str>,
    circumstances: &Circumstances,
) -> Result<(), OptionError> {
    let is_wanted = value(HANDLERS).is_some_and(has_proxy_handler);
    let has_proof = value(PROXY_SECRET) == Some("true");
    match (is_wanted, circumstances.runs_proxy_handler) {
        (false, false) => Ok(()),
        (true, _) if !has_proof => Err(OptionError::Opens(
            "with the handler for proxies every client could name itself an administrator; set \
             chttpd_auth.proxy_use_secret to true as well",
        )),
        (true, _) if !circumstances.has_secret => Err(OptionError::Opens(
            "with the handler for proxies, and without a secret, every client could name itself an administrator; \
             run session-reset first, which makes a secret",
        )),
        (false, true) if !has_proof => Err(OptionError::Opens(
            "the handler for proxies runs until CouchDB restarts, and without chttpd_auth.proxy_use_secret every \
             client could name itself an administrator; take back chttpd.authentication_handlers first, restart \
             CouchDB, then take back chttpd_auth.proxy_use_secret",
        )),
        _ => Ok(()),
    }
}

/// Whether a list of handlers has the one for proxies.
pub fn has_proxy_handler(handlers: &str) -> bool {
    has_handler(handlers, PROXY)
}

fn judge_rounds<'a>(
    value: &impl Fn(&str) -> Option<&'a str>,
    circumstances: &Circumstances,
) -> Result<(), OptionError> {
    let number = |name: &str| value(name).and_then(|text| text.trim().parse::<u64>().ok());
    let (min, max) = (number(MIN).unwrap_or(0), number(MAX).unwrap_or(u64::MAX));
    let refusal = |what: &str| Err(OptionError::LocksOut(what.to_owned()));
    if min > max {
        return refusal(&format!("{MIN} is above {MAX}, so no account could log in"));
    }
    if let Some(iterations) = number(ITERATIONS)
        && !(min..=max).contains(&iterations)
    {
        return refusal(&format!(
            "{ITERATIONS} is not between {MIN} and {MAX}, so new users could not log in"
        ));
    }
    match circumstances.rounds {
        Some((fewest, _)) if fewest < min => refusal(&format!(
            "an account has a hash of {fewest} rounds, which {MIN} would exclude; give it a new password first"
        )),
        Some((_, most)) if most > max => refusal(&format!(
            "an account has a hash of {most} rounds, which {MAX} would exclude; give it a new password first"
        )),
        _ => Ok(()),
    }
}

/// Whether a server that listens at this address is reached at this host.
fn is_reached(address: &str, host: &str) -> bool {
    if address == "any" {
        return true;
    }
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(host) => address == host || (address.is_unspecified() && address.is_ipv4() == host.is_ipv4()),
        // A name: only what every machine agrees on.
        Err(_) => {
            address.is_ipv4() && (address.is_unspecified() || (bare == "localhost" && address.is_loopback()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(values: &[(&str, &str)], circumstances: &Circumstances) -> String {
        let value = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        judge(value, circumstances).err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn usual() -> Circumstances {
        Circumstances {
            runs_proxy_handler: false,
            has_secret: true,
            host: "127.0.0.1".to_owned(),
            rounds: Some((1_000, 600_000)),
        }
    }

    const ALL: &str =
        "{chttpd_auth, proxy_authentication_handler}, {chttpd_auth, default_authentication_handler}";

    #[test]
    fn the_agent_stays_able_to_log_in() {
        assert_eq!(judged(&[], &usual()), "");
        assert_eq!(judged(&[(HANDLERS, "{chttpd_auth, default_authentication_handler}")], &usual()), "");
        let error = judged(&[(HANDLERS, "{chttpd_auth, cookie_authentication_handler}")], &usual());
        assert!(
            error.starts_with("the agent would be locked out: chttpd.authentication_handlers"),
            "{error}"
        );
    }

    #[test]
    fn a_proxy_needs_a_secret() {
        let open = judged(&[(HANDLERS, ALL)], &usual());
        assert!(open.contains("proxy_use_secret to true"), "{open}");
        assert!(judged(&[(HANDLERS, ALL), (PROXY_SECRET, "false")], &usual()).contains("proxy_use_secret"));
        let sure = [(HANDLERS, ALL), (PROXY_SECRET, "true")];
        assert_eq!(judged(&sure, &usual()), "");
        let without = Circumstances { has_secret: false, ..usual() };
        assert!(judged(&sure, &without).contains("session-reset"));
        let running = Circumstances { runs_proxy_handler: true, ..usual() };
        assert!(judged(&[], &running).contains("restart CouchDB"));
        assert_eq!(judged(&[(PROXY_SECRET, "true")], &running), "");
    }

    #[test]
    fn limits_keep_every_account() {
        assert_eq!(judged(&[(MIN, "1000"), (MAX, "600000")], &usual()), "");
        assert!(judged(&[(MIN, "1001")], &usual()).contains("a hash of 1000 rounds"));
        assert!(judged(&[(MAX, "599999")], &usual()).contains("a hash of 600000 rounds"));
        assert!(judged(&[(MIN, "1000"), (MAX, "999")], &usual()).contains("is above"));
        let new = [(ITERATIONS, "5000"), (MIN, "10000")];
        assert!(judged(&new, &Circumstances { rounds: None, ..usual() }).contains("new users"));
    }

    #[test]
    fn the_agent_reaches_the_address() {
        for (address, host, is) in [
            ("any", "10.0.0.5", true),
            ("0.0.0.0", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "localhost", true),
            ("10.0.0.5", "127.0.0.1", false),
            ("127.0.0.1", "10.0.0.5", false),
            ("10.0.0.5", "localhost", false),
            ("::", "[::1]", true),
            ("::1", "[::1]", true),
            ("::", "127.0.0.1", false),
            ("0.0.0.0", "couch.example", true),
        ] {
            assert_eq!(is_reached(address, host), is, "{address} {host}");
        }
    }
}
