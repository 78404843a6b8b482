//! Faults on demand: delays, errors, cut and hanging connections, before or after a request took effect.
//!
//! The agent's idempotence is about requests that took effect but whose reply was lost, and a real server
//! does not fail on demand. Tests ([`crate::InMemoryCouch::faults`]) or other processes (`POST /_fault`) add
//! rules. `server` looks up the first rule, in the order of addition, that matches a request.

use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::node::lock;
use crate::request::Request;

/// The effect of a rule on a matching request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Waits this many milliseconds, then answers normally.
    DelayMs(u64),
    /// Answers with this status and body.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The body, sent as `application/json`.
        body: String,
    },
    /// Closes the connection without sending a byte.
    Cut,
    /// Closes the connection without sending a byte, and carries the request out just before the next one of
    /// the same method and path: a write that was still in flight when the client timed out.
    CutLate,
    /// Sends the head and half of the body of the real answer, then closes the connection.
    CutMidBody,
    /// Answers normally, but only after the rules are cleared.
    Hang,
}

/// Which requests a fault hits, how often, and whether they take effect first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The HTTP method; `None` matches all.
    #[serde(default)]
    pub method: Option<String>,
    /// The raw request path, without query; `*` matches anything, including slashes.
    pub path: String,
    /// How many requests are hit; `None` means until cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// Whether the request is carried out although its answer is lost; always so for `CutMidBody`.
    #[serde(default)]
    pub takes_effect: bool,
    /// The fault.
    pub fault: Fault,
}

impl Rule {
    /// A rule for all requests of this method (`*` for any) and path, until cleared; the requests have no
    /// effect.
    #[must_use]
    pub fn new(method: &str, path: &str, fault: Fault) -> Self {
        Self {
            method: (method != "*").then(|| method.to_owned()),
            path: path.to_owned(),
            times: None,
            takes_effect: false,
            fault,
        }
    }

    /// Limits the rule to this many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Carries the request out before the fault, so that only the reply is lost.
    #[must_use]
    pub fn after_effect(mut self) -> Self {
        self.takes_effect = true;
        self
    }
}

/// The rules of a node, which survive its restarts.
#[derive(Debug)]
pub struct Faults {
    rules: Mutex<Vec<(Rule, usize)>>,
    late: Mutex<Vec<(String, String, Request)>>,
    cleared: watch::Sender<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { rules: Mutex::default(), late: Mutex::default(), cleared: watch::Sender::new(0) }
    }
}

impl Faults {
    /// Adds a rule after the existing ones.
    pub fn add(&self, rule: Rule) {
        lock(&self.rules).push((rule, 0));
    }

    /// Removes every rule and lets hanging requests continue.
    pub fn clear(&self) {
        lock(&self.rules).clear();
        self.cleared.send_modify(|times| *times += 1);
    }

    /// How many requests the current rules have hit.
    pub fn hits(&self) -> usize {
        lock(&self.rules).iter().map(|(_, hits)| hits).sum()
    }

    /// Keeps a request for later, see [`Fault::CutLate`].
    pub(crate) fn put_off(&self, method: &str, target: &str, request: Request) {
        lock(&self.late).push((method.to_owned(), target.to_owned(), request));
    }

    /// The requests that were kept until one like this arrives.
    pub(crate) fn take_late(&self, method: &str, target: &str) -> Vec<Request> {
        let mut late = lock(&self.late);
        let all = std::mem::take(&mut *late);
        let (due, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(m, t, _)| m == method && t == target);
        *late = rest;
        due.into_iter().map(|(_, _, request)| request).collect()
    }

    /// The first matching rule; counts it as used.
    pub(crate) fn take(&self, method: &str, target: &str) -> Option<Rule> {
        let path = path_of(target);
        let mut rules = lock(&self.rules);
        let (rule, hits) = rules.iter_mut().find(|(rule, _)| {
            rule.times != Some(0)
                && rule.method.as_deref().is_none_or(|wanted| wanted == method)
                && glob(&rule.path, path)
        })?;
        *hits += 1;
        if let Some(times) = &mut rule.times {
            *times -= 1;
        }
        Some(rule.clone())
    }

    /// Waits for the delay, or for a hang until the rules are cleared.
    pub(crate) async fn wait(&self, fault: &Fault) {
        match fault {
            Fault::DelayMs(millis) => tokio::time::sleep(Duration::from_millis(*millis)).await,
            Fault::Hang => {
                // The sender is in `self`, so the wait ends only when the rules are cleared.
                drop(self.cleared.subscribe().changed().await);
            }
            Fault::Answer { .. } | Fault::Cut | Fault::CutLate | Fault::CutMidBody => {}
        }
    }
}

/// The path of a request target.
pub(crate) fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or(target)
}

/// Whether `text` matches `pattern`, in which `*` matches any run of characters.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(rest) = text.strip_prefix(head) else {
        return false;
    };
    let starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    starts.into_iter().any(|at| rest.get(at..).is_some_and(|rest| glob(tail, rest)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn globs() {
        assert!(glob("/db", "/db") && !glob("/db", "/db2"));
        assert!(glob("/_users/*", "/_users/org.couchdb.user:u") && !glob("/_users/*", "/_users"));
        assert!(glob("*/_security", "/a%2Fb/_security") && glob("*", ""));
    }

    #[test]
    fn a_rule_is_used_up_after_its_times() {
        let faults = Faults::default();
        faults.add(Rule::new("PUT", "/db*", Fault::Cut).times(1));
        assert!(faults.take("GET", "/db").is_none());
        assert!(faults.take("PUT", "/db?q=1").is_some());
        assert!(faults.take("PUT", "/db").is_none());
        assert_eq!(faults.hits(), 1);
    }

    #[test]
    fn rules_read_from_json() {
        let rule: Rule =
            serde_json::from_str(r#"{"path":"/x","fault":{"answer":{"status":503,"body":"{}"}}}"#).unwrap();
        assert_eq!(rule.fault, Fault::Answer { status: 503, body: "{}".into() });
        assert_eq!(
            serde_json::from_str::<Rule>(r#"{"path":"/x","fault":"cut","times":2}"#).unwrap().times,
            Some(2)
        );
    }
}
