//! The lockout of 3.4+: too many wrong passwords for an account from one address (upstream:
//! `chttpd_auth_lockout.erl`).
//!
//! It also refuses the right password, server admins, and other clients at the same address. The key is
//! address, name *and salt*, so a new password unlocks the account. A success does not reset the count.
//! Caller: `auth`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::config::Config;

/// How the server treats an account with too many failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Enforce,
    /// Counts and logs, but does not refuse.
    Warn,
    Off,
}

/// Address, account and salt.
pub(crate) type Key = (String, String, String);

/// The settings of `[chttpd_auth_lockout]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    mode: Mode,
    threshold: u64,
    lifetime: Duration,
}

impl Policy {
    /// Reads the section; upstream's defaults are enforce, 5 failures, 300,000 ms.
    pub(crate) fn of(config: &Config) -> Self {
        let section = "chttpd_auth_lockout";
        let mode = match config.get(section, "mode") {
            Some("off") => Mode::Off,
            Some("warn") => Mode::Warn,
            _ => Mode::Enforce,
        };
        Self {
            mode,
            threshold: config.number(section, "threshold", 5),
            lifetime: Duration::from_millis(config.number(section, "max_lifetime", 300_000)),
        }
    }
}

/// The counted failures.
#[derive(Debug, Default)]
pub(crate) struct Lockout {
    failures: HashMap<Key, (u64, Instant)>,
}

impl Lockout {
    /// Whether requests of this account are refused now, even with the right password.
    pub(crate) fn is_locked(&self, policy: Policy, key: &Key, now: Instant) -> bool {
        policy.mode == Mode::Enforce
            && self.failures.get(key).is_some_and(|(count, last)| {
                *count >= policy.threshold && now.duration_since(*last) < policy.lifetime
            })
    }

    /// Counts one wrong password.
    pub(crate) fn count_failure(&mut self, policy: Policy, key: Key, now: Instant) {
        if policy.mode == Mode::Off {
            return;
        }
        let (count, last) = self.failures.entry(key).or_insert((0, now));
        if now.duration_since(*last) >= policy.lifetime {
            *count = 0;
        }
        *count += 1;
        *last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(salt: &str) -> Key {
        ("127.0.0.1".into(), "u".into(), salt.into())
    }

    #[test]
    fn five_failures_lock_until_the_lifetime_is_over() {
        let policy = Policy::of(&Config::default());
        let mut lockout = Lockout::default();
        let start = Instant::now();
        for _ in 0..5 {
            assert!(!lockout.is_locked(policy, &key("a"), start));
            lockout.count_failure(policy, key("a"), start);
        }
        assert!(lockout.is_locked(policy, &key("a"), start + Duration::from_secs(299)));
        assert!(!lockout.is_locked(policy, &key("a"), start + Duration::from_secs(300)));
        assert!(!lockout.is_locked(policy, &key("b"), start), "a new salt is a new account");
    }

    #[test]
    fn warn_and_off_never_lock() {
        for mode in ["warn", "off"] {
            let mut config = Config::default();
            config.set("chttpd_auth_lockout", "mode", mode, true);
            let policy = Policy::of(&config);
            let mut lockout = Lockout::default();
            for _ in 0..9 {
                lockout.count_failure(policy, key("a"), Instant::now());
            }
            assert!(!lockout.is_locked(policy, &key("a"), Instant::now()), "{mode}");
        }
    }
}
