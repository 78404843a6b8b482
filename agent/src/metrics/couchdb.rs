//! CouchDB's state, its own figures and its disk, collected when the metrics are requested.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::CouchStatus;

type Seconds = Gauge<f64, AtomicU64>;

/// CouchDB at one moment. What is `None` or empty is omitted.
#[derive(Debug, Clone, Default)]
pub struct CouchMoment {
    /// The current state, one of `states`.
    pub state: &'static str,
    /// All states.
    pub states: &'static [&'static str],
    /// The free bytes of the file system of the databases, and its size.
    pub disk: Option<(u64, u64)>,
    /// The compactions that the agent ran.
    pub compactions: u64,
    /// The bytes that they freed.
    pub freed: u64,
    /// The databases.
    pub databases: Option<u64>,
    /// The open files of databases and indexes.
    pub open_files: Option<u64>,
    /// CouchDB's responses to all clients.
    pub responses: Vec<(CouchStatus, u64)>,
    /// The time of recent requests of all clients by percentile.
    pub request_seconds: Vec<(u8, f64)>,
    /// The replication jobs by state.
    pub replications: Vec<(&'static str, u64)>,
    /// The running compactions.
    pub compacting: Option<u64>,
    /// The memory in bytes by kind.
    pub memory: Vec<(&'static str, u64)>,
    /// The sizes of the databases.
    pub sizes: Option<Sizes>,
}

/// The sums over all databases, from the last complete pass.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// The databases.
    pub databases: u64,
    /// The databases that could not be opened.
    pub unknown: u64,
    /// The documents.
    pub documents: u64,
    /// The bytes of the files.
    pub file: u64,
    /// The bytes in use.
    pub active: u64,
    /// Time since the pass ended.
    pub age: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Percentile {
    percentile: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: CouchStatus,
}

impl CouchMoment {
    pub(super) fn register(&self, registry: &mut Registry) {
        let states = Family::<State, Gauge>::default();
        for state in self.states {
            states.get_or_create(&State { state }).set((*state == self.state).into());
        }
        registry.register("couchdb_state", "1 for CouchDB's current state, 0 for the others", states);
        if let Some((free, size)) = self.disk {
            let help = "Bytes that CouchDB may still write to the file system of its databases";
            bytes(registry, "couchdb_disk_free", help, free);
            bytes(registry, "couchdb_disk_size", "Bytes of the file system of CouchDB's databases", size);
        }
        count(registry, "compactions", "Compactions that the agent ran to make room", self.compactions);
        let help = "Bytes that the agent's compactions freed";
        let freed: Counter = Counter::default();
        freed.inc_by(self.freed);
        registry.register_with_unit("compactions_freed", help, Unit::Bytes, freed);
        self.register_figures(registry);
        if let Some(sizes) = &self.sizes {
            sizes.register(registry, self.databases.is_none());
        }
        if let Some(databases) = self.databases {
            gauge(registry, "couchdb_databases", DATABASES, databases);
        }
    }

    fn register_figures(&self, registry: &mut Registry) {
        if let Some(files) = self.open_files {
            gauge(registry, "couchdb_open_files", "Open files of databases and indexes", files);
        }
        if let Some(running) = self.compacting {
            gauge(
                registry,
                "couchdb_compactions_running",
                "Running compactions of databases and views",
                running,
            );
        }
        if !self.responses.is_empty() {
            let responses = Family::<Status, Counter>::default();
            for (status, count) in &self.responses {
                responses.get_or_create(&Status { status: *status }).inc_by(*count);
            }
            registry.register("couchdb_responses", "CouchDB's responses to all clients", responses);
        }
        if !self.request_seconds.is_empty() {
            let times = Family::<Percentile, Seconds>::default();
            for (percentile, seconds) in &self.request_seconds {
                times.get_or_create(&Percentile { percentile: *percentile }).set(*seconds);
            }
            let help = "Time of the recent requests of all clients, by percentile";
            registry.register_with_unit("couchdb_request_time", help, Unit::Seconds, times);
        }
        if !self.replications.is_empty() {
            let jobs = Family::<State, Gauge>::default();
            for (state, count) in &self.replications {
                jobs.get_or_create(&State { state }).set(signed(*count));
            }
            registry.register("couchdb_replication_jobs", "Replication jobs by state", jobs);
        }
        if !self.memory.is_empty() {
            let memory = Family::<Kind, Gauge>::default();
            for (kind, bytes) in &self.memory {
                memory.get_or_create(&Kind { kind }).set(signed(*bytes));
            }
            let help = "Memory of CouchDB's Erlang runtime";
            registry.register_with_unit("couchdb_memory", help, Unit::Bytes, memory);
        }
    }
}

const DATABASES: &str = "Databases, CouchDB's own included";

impl Sizes {
    fn register(&self, registry: &mut Registry, with_databases: bool) {
        if with_databases {
            gauge(registry, "couchdb_databases", DATABASES, self.databases);
        }
        gauge(registry, "couchdb_unopened_databases", "Databases that CouchDB could not open", self.unknown);
        gauge(registry, "couchdb_documents", "Documents in all databases", self.documents);
        bytes(registry, "couchdb_files", "Size of the files of all databases", self.file);
        bytes(registry, "couchdb_files_active", "The part of these files that is in use", self.active);
        let age = Seconds::default();
        age.set(self.age.as_secs_f64());
        let help = "Time since documents and files were counted";
        registry.register_with_unit("couchdb_files_age", help, Unit::Seconds, age);
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(signed(value));
    registry.register(name, help, gauge);
}

fn bytes(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(signed(value));
    registry.register_with_unit(name, help, Unit::Bytes, gauge);
}

fn count(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter: Counter = Counter::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}
