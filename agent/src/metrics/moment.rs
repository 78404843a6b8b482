//! The state at one moment, collected when the metrics are requested.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};

use super::{CouchMoment, PREFIX};

type Seconds = Gauge<f64, AtomicU64>;

/// The state of the agent. Values that are `None` are omitted.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    /// Commands that are running.
    pub running: u64,
    /// Commands that wait for a lock, for a free slot, or for CouchDB.
    pub waiting: u64,
    /// Duplicate messages, which were not run.
    pub duplicates: u64,
    /// Whether the agent consumes; `None` without a broker.
    pub broker_up: Option<bool>,
    /// Whether CouchDB serves the requests of `os_admin`.
    pub couchdb_up: bool,
    /// CouchDB's state and figures.
    pub couchdb: CouchMoment,
    /// Whether Trove has prepared the guest.
    pub prepared: bool,
    /// Time since the broker accepted the last heartbeat.
    pub heartbeat_age: Option<Duration>,
    /// Operations that are running.
    pub operations: Vec<UnderWay>,
}

/// An operation that is running.
#[derive(Debug, Clone)]
pub struct UnderWay {
    /// The method that requested it, from the fixed set.
    pub kind: &'static str,
    /// Time since the start.
    pub age: Duration,
    /// The fraction of its current step that is done, if known.
    pub done: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

impl Moment {
    pub(super) fn registry(&self, last_success: Option<Duration>) -> Registry {
        let mut registry = Registry::with_prefix(PREFIX);
        let build = Info::new(Build { version: env!("CARGO_PKG_VERSION") });
        registry.register("build", "The agent's version", build);
        let in_flight = Family::<State, Gauge>::default();
        for (state, count) in [("running", self.running), ("waiting", self.waiting)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            in_flight.get_or_create(&State { state }).set(count);
        }
        registry.register(
            "commands_in_flight",
            "Commands that have begun and not ended: a handler works on them, or they wait",
            in_flight,
        );
        let duplicates: Counter = Counter::default();
        duplicates.inc_by(self.duplicates);
        registry.register("duplicates", "Messages that came again and were not run", duplicates);
        let mut flag = |name: &str, help: &str, value: bool| {
            let gauge: Gauge = Gauge::default();
            gauge.set(value.into());
            registry.register(name, help, gauge);
        };
        if let Some(up) = self.broker_up {
            flag("broker_up", "Whether the agent is connected to the broker and consumes", up);
        }
        flag("couchdb_up", "Whether CouchDB answers as it should to the agent's account", self.couchdb_up);
        flag("prepared", "Whether Trove has prepared the guest", self.prepared);
        let mut seconds = |name: &str, help: &str, value: Duration| {
            let gauge = Seconds::default();
            gauge.set(value.as_secs_f64());
            registry.register_with_unit(name, help, Unit::Seconds, gauge);
        };
        if let Some(age) = self.heartbeat_age {
            seconds("heartbeat_age", "Time since the broker took the last heartbeat", age);
        }
        self.register_operations(&mut registry);
        self.couchdb.register(&mut registry);
        let mut seconds = |name: &str, help: &str, value: Duration| {
            let gauge = Seconds::default();
            gauge.set(value.as_secs_f64());
            registry.register_with_unit(name, help, Unit::Seconds, gauge);
        };
        if let Some(at) = last_success {
            seconds("last_success_timestamp", "When a command last ended well, in Unix time", at);
        }
        registry
    }

    /// If several operations of a kind run, reports the oldest age and the smallest progress.
    fn register_operations(&self, registry: &mut Registry) {
        let running = Family::<Kind, Gauge>::default();
        let age = Family::<Kind, Seconds>::default();
        let done = Family::<Kind, Gauge<f64, AtomicU64>>::default();
        for operation in &self.operations {
            let kind = Kind { kind: operation.kind };
            running.get_or_create(&kind).inc();
            let seconds = operation.age.as_secs_f64();
            let oldest = age.get_or_create(&kind).get().max(seconds);
            age.get_or_create(&kind).set(oldest);
            if let Some(part) = operation.done {
                let known = done.get(&kind).map_or(part, |least| least.get().min(part));
                done.get_or_create(&kind).set(known);
            }
        }
        registry.register("operations_running", "Operations that are under way", running);
        registry.register_with_unit(
            "operation_age",
            "Time since the oldest operation of the kind began",
            Unit::Seconds,
            age,
        );
        let help = "The part of its step that is done, of the operation that is least far";
        registry.register("operation_progress_ratio", help, done);
    }
}
