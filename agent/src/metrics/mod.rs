//! Counts what happens, and writes it for Prometheus.
//!
//! ```text
//! transport (commands, deliveries, connections) --+
//! couch (requests) -------------------------------+-> Metrics -+
//!                                                              +-> Prometheus' text <- monitor
//! monitor: the state at this moment ------------------ Moment -+
//! ```
//!
//! Nothing is counted unless metrics are on. Labels come from fixed sets: methods of the guest API, endpoints
//! and statuses of CouchDB; text from outside never becomes a label. `docs/metrics.md` describes each metric,
//! and a test compares the two.
//!
//! The only user of `prometheus-client`.

mod couchdb;
mod labels;
mod moment;
mod process;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::prometheus_text,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use trove_couchdb_protocol::trove::Method;

pub use couchdb::{CouchMoment, Sizes};
pub use labels::{CouchStatus, Ending, method_word};
use labels::{EndedLabels, EndpointLabels, MethodLabels, RequestLabels};
pub use moment::{Moment, UnderWay};

/// The media type of what [`Metrics::text`] returns.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// The prefix of all names, except those of the process.
const PREFIX: &str = "trove_couchdb_agent";

/// A command takes from a few milliseconds (a read) over tenths of a second (hashing a password) to minutes
/// (while CouchDB is down).
const COMMAND_SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// One request takes from a millisecond up to `couchdb.request_timeout`.
const REQUEST_SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Counts for the life of the process. Clones share the counters.
#[derive(Clone, Default)]
pub struct Metrics {
    /// `None` if metrics are off.
    counts: Option<Arc<Counts>>,
}

struct Counts {
    registry: Registry,
    commands: Family<EndedLabels, Counter>,
    command_seconds: Histograms<MethodLabels>,
    redeliveries: Counter,
    connections: AtomicU64,
    reconnects: Counter,
    broker_alarms: Counter,
    answers_dropped: Counter,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histograms<EndpointLabels>,
    started: SystemTime,
    /// Microseconds since 1970; 0 if there was none.
    last_success: AtomicU64,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.counts.is_some() { "Metrics" } else { "Metrics(off)" })
    }
}

impl Metrics {
    /// Metrics that are counted.
    pub fn on() -> Self {
        Self { counts: Some(Arc::new(Counts::new())) }
    }

    /// Metrics that are not counted.
    pub fn off() -> Self {
        Self::default()
    }

    /// A command has ended; `None` for a message that names no method of the guest API.
    pub fn command_ended(&self, method: Option<Method>, ending: Ending, took: Duration) {
        let Some(counts) = &self.counts else { return };
        counts.commands.get_or_create(&EndedLabels::new(method, ending)).inc();
        counts.command_seconds.get_or_create(&MethodLabels::new(method)).observe(took.as_secs_f64());
        if ending == Ending::Ok {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
            counts.last_success.store(micros, Ordering::Relaxed);
        }
    }

    /// The broker delivered a message that it had delivered before.
    pub fn redelivered(&self) {
        if let Some(counts) = &self.counts {
            counts.redeliveries.inc();
        }
    }

    /// The agent consumes. Counts a reconnect, except the first time.
    pub fn connected(&self) {
        if let Some(counts) = &self.counts
            && counts.connections.fetch_add(1, Ordering::Relaxed) > 0
        {
            counts.reconnects.inc();
        }
    }

    /// The broker stopped accepting messages (`connection.blocked`).
    pub fn broker_alarm(&self) {
        if let Some(counts) = &self.counts {
            counts.broker_alarms.inc();
        }
    }

    /// A message was dropped because the broker closes the connection over it.
    pub fn answer_dropped(&self) {
        if let Some(counts) = &self.counts {
            counts.answers_dropped.inc();
        }
    }

    /// A request to CouchDB has ended, with or without a response.
    pub fn couch_request(&self, endpoint: &'static str, status: CouchStatus, took: Duration) {
        let Some(counts) = &self.counts else { return };
        counts.requests.get_or_create(&RequestLabels { endpoint, status }).inc();
        counts.request_seconds.get_or_create(&EndpointLabels { endpoint }).observe(took.as_secs_f64());
    }

    /// All metrics in Prometheus' text format; empty if metrics are off.
    pub fn text(&self, moment: &Moment) -> Result<String, fmt::Error> {
        let mut text = String::new();
        if let Some(counts) = &self.counts {
            prometheus_text::encode(&mut text, &counts.registry)?;
            prometheus_text::encode(&mut text, &moment.registry(counts.last_success()))?;
            prometheus_text::encode(&mut text, &process::registry(counts.started))?;
        }
        Ok(text)
    }
}

impl Counts {
    fn new() -> Self {
        let commands = Family::default();
        // Create all of them now: Prometheus sees no increase in a counter that first appears with the value
        // 1.
        for method in Method::ALL.iter().copied().map(Some).chain([None]) {
            for ending in [Ending::Ok, Ending::Failed, Ending::Refused] {
                drop(commands.get_or_create(&EndedLabels::new(method, ending)));
            }
        }
        let command_seconds: Histograms<MethodLabels> =
            Family::new_with_constructor(|| Histogram::new(COMMAND_SECONDS));
        let (redeliveries, reconnects) = (Counter::default(), Counter::default());
        let (broker_alarms, answers_dropped) = (Counter::default(), Counter::default());
        let requests = Family::default();
        let request_seconds: Histograms<EndpointLabels> =
            Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS));

        let mut registry = Registry::with_prefix(PREFIX);
        registry.register("commands", "Commands that have ended, by method and outcome", commands.clone());
        registry.register_with_unit(
            "command_duration",
            "Time from a command's arrival to its end, waiting included",
            Unit::Seconds,
            command_seconds.clone(),
        );
        registry.register(
            "redeliveries",
            "Messages that the broker marked as delivered before",
            redeliveries.clone(),
        );
        registry.register(
            "broker_reconnects",
            "Times the agent consumed again after a lost connection",
            reconnects.clone(),
        );
        registry.register(
            "broker_alarms",
            "Times the broker stopped taking messages, as it was short of memory or disk",
            broker_alarms.clone(),
        );
        registry.register(
            "answers_dropped",
            "Messages that were dropped, as the broker closed the connection over each",
            answers_dropped.clone(),
        );
        registry.register(
            "couchdb_requests",
            "Requests to CouchDB, by endpoint and by status or failure",
            requests.clone(),
        );
        registry.register_with_unit(
            "couchdb_request_duration",
            "Time from sending a request to CouchDB to the end of its answer",
            Unit::Seconds,
            request_seconds.clone(),
        );
        Self {
            registry,
            commands,
            command_seconds,
            redeliveries,
            connections: AtomicU64::new(0),
            reconnects,
            broker_alarms,
            answers_dropped,
            requests,
            request_seconds,
            started: SystemTime::now(),
            last_success: AtomicU64::new(0),
        }
    }

    fn last_success(&self) -> Option<Duration> {
        let micros = self.last_success.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const TOOK: Duration = Duration::from_millis(3);

    #[test]
    fn what_happened_is_in_the_text() {
        let metrics = Metrics::on();
        metrics.command_ended(Some(Method::CreateUser), Ending::Ok, TOOK);
        metrics.command_ended(None, Ending::Refused, TOOK);
        metrics.redelivered();
        metrics.connected();
        metrics.connected();
        metrics.broker_alarm();
        metrics.answer_dropped();
        metrics.couch_request("all_dbs", CouchStatus::of_code(200), TOOK);
        metrics.couch_request("user", CouchStatus::of_code(299), TOOK);
        metrics.couch_request("user", CouchStatus::of_failure("timeout"), TOOK);
        let text = metrics.text(&Moment::default()).unwrap();
        for line in [
            r#"trove_couchdb_agent_commands_total{method="create_user",outcome="ok"} 1"#,
            r#"trove_couchdb_agent_commands_total{method="unknown",outcome="refused"} 1"#,
            r#"trove_couchdb_agent_command_duration_seconds_bucket{method="create_user",le="0.005"} 1"#,
            "trove_couchdb_agent_redeliveries_total 1",
            "trove_couchdb_agent_broker_reconnects_total 1",
            "trove_couchdb_agent_broker_alarms_total 1",
            "trove_couchdb_agent_answers_dropped_total 1",
            r#"trove_couchdb_agent_couchdb_requests_total{endpoint="all_dbs",status="200"} 1"#,
            r#"trove_couchdb_agent_couchdb_requests_total{endpoint="user",status="other"} 1"#,
            r#"trove_couchdb_agent_couchdb_requests_total{endpoint="user",status="timeout"} 1"#,
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("trove_couchdb_agent_last_success_timestamp_seconds 1"), "{text}");
    }

    #[test]
    fn off_counts_nothing() {
        let metrics = Metrics::off();
        metrics.command_ended(Some(Method::CreateUser), Ending::Ok, TOOK);
        metrics.connected();
        assert_eq!(metrics.text(&Moment::default()).unwrap(), "");
    }
}
