//! Replays a transcript against the in-memory node and reports what agreed, what differed and what is not
//! imitated.
//!
//! Time: the recorder waited until passwords were hashed, and so does the replay, where a note or the
//! recorded duration of the PUT shows it; "N s later" and `max_lifetime` are shortened by [`TIME_SCALE`]; a
//! GET whose answer depends on background work is repeated for up to two seconds before it counts as
//! different.

mod compare;
mod endpoints;
mod transcript;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::client::{Response, basic, try_send};
use in_memory_couchdb::{InMemoryCouch, Options, Version};
use serde_json::{Value, json};

use compare::{Learned, OUR_ITERATIONS};
use endpoints::{agent_calls, endpoint};
pub(crate) use transcript::load;
use transcript::{Answered, Asked, Setup, Transcript, Unrecorded, unrecorded};

/// How much faster the replay's clock runs than the recorder's.
const TIME_SCALE: f64 = 20.0;

/// The scenario about the time before a password is hashed.
const RACE: &str = "admins_config_race";

/// The result of a scenario.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) replayed: usize,
    /// Endpoints that answered 501, and how often.
    pub(crate) skipped: BTreeMap<String, usize>,
    /// Positions that differ, or were skipped although the agent calls them, with a description.
    pub(crate) failures: Vec<(usize, String)>,
}

struct Replay {
    couch: InMemoryCouch,
    admin: BTreeMap<String, String>,
    learned: Learned,
}

/// Runs one scenario on a new node.
pub(crate) async fn replay(name: &str, transcript: &Transcript) -> Report {
    let mut replay = Replay::start(name, transcript).await;
    let steps = unrecorded().remove(name).unwrap_or_default();
    let slow = Version::V3_4 <= transcript.server.parse::<Version>().unwrap();
    let mut report = Report::default();
    let mut position = 0;
    for exchange in &transcript.exchanges {
        replay.wait(&exchange.note).await;
        let (Some(asked), Some(answered)) = (&exchange.request, &exchange.response) else {
            continue;
        };
        for step in steps.iter().filter(|step| step.before == position) {
            replay.carry_out(step).await;
        }
        let label = endpoint(&asked.method, &asked.path);
        let (response, difference) = replay.exchange(asked, answered).await;
        if response.status == 501 && answered.status != 501 {
            *report.skipped.entry(label.clone()).or_default() += 1;
            if agent_calls(&label) {
                report
                    .failures
                    .push((position, format!("{label}: the agent calls it, but it is not imitated")));
            }
        } else {
            report.replayed += 1;
            if let Some(difference) = difference {
                report.failures.push((position, format!("{} {}: {difference}", asked.method, asked.path)));
            }
        }
        // The recorded server hashed before it answered; a fast one always did.
        if asked.method == "PUT" && asked.path.contains("/_config/admins/") && (exchange.ms > 60.0 || !slow) {
            replay.couch.admins_are_hashed().await;
        }
        position += 1;
    }
    report
}

impl Replay {
    async fn start(scenario: &str, transcript: &Transcript) -> Self {
        let Setup { start_env, admin: (name, password), .. } = &transcript.config;
        let version: Version = transcript.server.parse().unwrap();
        let mut options = Options::new(version).admin(name, password);
        options.iterations = (version >= Version::V3_4).then_some(OUR_ITERATIONS);
        options.settle_after = Duration::from_millis(1500);
        if scenario == RACE {
            // Longer than any pause of a busy machine between two requests that were recorded back to back.
            options.admin_hash_delay = Duration::from_millis(1500);
        }
        for (section, key, value) in transcript.config.values() {
            let scaled = value.parse::<f64>().ok().filter(|_| key == "max_lifetime");
            let value = scaled.map_or(value, |millis| format!("{:.0}", millis / TIME_SCALE));
            options = options.set(&section, &key, &value);
        }
        let couch = InMemoryCouch::start(options).await.unwrap();
        let mut replay = Self { couch, admin: basic(name, password), learned: Learned::default() };
        // The recorded node's name may appear in a request first.
        replay.learned.node_names(transcript.paths(), replay.couch.port());
        if start_env.get("SETUP").map(String::as_str) != Some("none") {
            replay.ask_as_admin("PUT", "/_users", None).await;
            replay.ask_as_admin("PUT", "/_replicator", None).await;
            if start_env.contains_key("GLOBAL_CHANGES") {
                replay.ask_as_admin("PUT", "/_global_changes", None).await;
            }
            if !start_env.contains_key("NOSETTLE") {
                replay.couch.stop().await;
                replay.couch.start_again().await.unwrap();
            }
        }
        replay
    }

    /// Waits for the event that the recorder's note names, or brings it about.
    async fn wait(&self, note: &str) {
        if let Some(trouble) = note.strip_prefix("trouble: ") {
            self.couch.trouble(serde_json::from_str(trouble).unwrap());
        }
        if note.starts_with("hashed") {
            self.couch.admins_are_hashed().await;
        }
        if note.starts_with("_design/_auth appeared") {
            while self.ask_as_admin("GET", "/_users/_design/_auth", None).await.status != 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        if let Some(seconds) = note.split(" s later").next().filter(|before| before.len() < note.len())
            && let Ok(seconds) = seconds.parse::<f64>()
        {
            tokio::time::sleep(Duration::from_secs_f64(seconds / TIME_SCALE)).await;
        }
    }

    async fn exchange(&mut self, asked: &Asked, answered: &Answered) -> (Response, Option<String>) {
        let patience = Instant::now() + Duration::from_secs(2);
        loop {
            let response = self.send(asked).await;
            let difference = self.compare(answered, &response);
            let settles = asked.method == "GET"
                && (asked.path.starts_with("/_users/") || asked.path.starts_with("/_node/"));
            if difference.is_none() || response.status == 501 || !settles || Instant::now() > patience {
                return (response, difference);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    async fn send(&self, asked: &Asked) -> Response {
        let body = match (&asked.body, &asked.body_raw) {
            (Some(body), _) => self.learned.translate_body(body),
            (None, raw) => raw.clone().unwrap_or_default(),
        };
        let headers: BTreeMap<String, String> =
            asked.headers.iter().map(|(name, value)| (name.clone(), self.learned.translate(value))).collect();
        try_send(self.couch.port(), &asked.method, &self.learned.translate(&asked.path), &headers, &body)
            .await
            .unwrap()
    }

    fn compare(&mut self, answered: &Answered, response: &Response) -> Option<String> {
        let ours = serde_json::from_str(&response.body).unwrap_or_else(|_| match response.body.as_str() {
            "" => Value::Null,
            text => json!(text),
        });
        if answered.status != response.status {
            return Some(format!(
                "recorded {} {}, ours {} {ours}",
                answered.status, answered.body, response.status
            ));
        }
        self.learned
            .cookie(answered.set_cookie.as_deref(), response.headers.get("set-cookie").map(String::as_str));
        self.learned.difference("body", &answered.body, &ours)
    }

    async fn ask_as_admin(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let body = body.map(Value::to_string).unwrap_or_default();
        try_send(self.couch.port(), method, path, &self.admin, &body).await.unwrap()
    }

    async fn carry_out(&self, step: &Unrecorded) {
        let current = || async {
            let response = self.ask_as_admin("GET", &step.path, None).await;
            serde_json::from_str::<Value>(&response.body).unwrap()
        };
        let response = match step.method.as_str() {
            "PATCH" => {
                let mut document = current().await;
                let changes = step.body.as_ref().and_then(Value::as_object).unwrap();
                document.as_object_mut().unwrap().extend(changes.clone());
                self.ask_as_admin("PUT", &step.path, Some(&document)).await
            }
            "DELETE" if step.path.starts_with("/_users/") => {
                let rev = current().await["_rev"].as_str().unwrap().to_owned();
                self.ask_as_admin("DELETE", &format!("{}?rev={rev}", step.path), None).await
            }
            method => self.ask_as_admin(method, &step.path, step.body.as_ref()).await,
        };
        assert!(
            response.status < 300,
            "the unrecorded {} {} was refused: {}",
            step.method,
            step.path,
            response.body
        );
    }
}
