//! CouchDB's own figures, for metrics: counters, open files, request times, memory, tasks.
//!
//! Four requests, whatever the number of databases. A figure that CouchDB does not report is omitted; 1.x has
//! these figures in a different form and reports none.

use futures_util::future::join4;
use serde_json::Value;

use crate::{Couch, Resource};

/// The figures of the node that answers. What it does not report is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// The number of databases, CouchDB's own included.
    pub databases: Option<u64>,
    /// The files of databases and indexes that are open.
    pub open_files: Option<u64>,
    /// The number of answers since the start, by status.
    pub answers: Vec<(u16, u64)>,
    /// The time of recent requests by percentile, in seconds.
    pub request_seconds: Vec<(u8, f64)>,
    /// The replication jobs.
    pub replications: Option<ReplicationJobs>,
    /// The running compactions of databases and views.
    pub compactions: Option<u64>,
    /// The memory of the Erlang runtime in bytes. The kinds do not overlap.
    pub memory: Vec<(MemoryKind, u64)>,
}

/// Replication jobs by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplicationJobs {
    /// Jobs that run.
    pub running: u64,
    /// Jobs that wait for their turn.
    pub pending: u64,
    /// Jobs that failed and are retried later.
    pub crashed: u64,
}

/// A part of the Erlang runtime's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemoryKind {
    /// Atoms.
    Atom,
    /// Binaries that processes share.
    Binary,
    /// Loaded code.
    Code,
    /// Tables, such as caches.
    Ets,
    /// The processes.
    Processes,
    /// The rest.
    Other,
}

impl MemoryKind {
    const ALL: [Self; 6] = [Self::Atom, Self::Binary, Self::Code, Self::Ets, Self::Processes, Self::Other];

    /// The name in `_system`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Atom => "atom",
            Self::Binary => "binary",
            Self::Code => "code",
            Self::Ets => "ets",
            Self::Processes => "processes",
            Self::Other => "other",
        }
    }
}

/// The percentiles that are kept, of those that CouchDB reports.
const PERCENTILES: [u8; 4] = [50, 90, 95, 99];

impl Couch {
    /// Requests the figures.
    pub async fn figures(&self) -> Figures {
        let Ok(server) = self.server().await else { return Figures::default() };
        let Some(node) = server.config.node() else { return Figures::default() };
        let (stats, system, maps) =
            (Resource::Stats(node), Resource::Runtime(node), Resource::ShardMaps(node));
        let (stats, system, maps, tasks) =
            join4(self.get(&stats), self.get(&system), self.get(&maps), self.compactions_running()).await;
        let mut figures = stats.as_ref().map(of_stats).unwrap_or_default();
        figures.compactions = tasks.ok();
        figures.databases = maps.ok().and_then(|maps| maps["doc_count"].as_u64());
        let memory = system.ok().map(|system| system["memory"].clone()).unwrap_or_default();
        let kind = |kind: MemoryKind| Some((kind, memory[kind.as_str()].as_u64()?));
        figures.memory = MemoryKind::ALL.into_iter().filter_map(kind).collect();
        figures
    }
}

fn of_stats(stats: &Value) -> Figures {
    let couchdb = &stats["couchdb"];
    let jobs = &stats["couch_replicator"]["jobs"];
    let job = |state: &str| jobs[state]["value"].as_u64();
    let statuses = couchdb["httpd_status_codes"].as_object();
    let answers = statuses
        .into_iter()
        .flatten()
        .filter_map(|(status, counter)| Some((status.parse().ok()?, counter["value"].as_u64()?)));
    let percentiles = couchdb["request_time"]["value"]["percentile"].as_array();
    let request_seconds = percentiles.into_iter().flatten().filter_map(|pair| {
        let percentile = u8::try_from(pair[0].as_u64()?).ok().filter(|one| PERCENTILES.contains(one))?;
        Some((percentile, pair[1].as_f64()? / 1000.0))
    });
    Figures {
        open_files: couchdb["open_os_files"]["value"].as_u64(),
        answers: answers.collect(),
        request_seconds: request_seconds.collect(),
        replications: job("running").map(|running| ReplicationJobs {
            running,
            pending: job("pending").unwrap_or_default(),
            crashed: job("crashed").unwrap_or_default(),
        }),
        ..Figures::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_or_odd_is_omitted() {
        assert_eq!(of_stats(&Value::Null), Figures::default());
        let stats = json!({
            "couchdb": {
                "open_os_files": {"value": 7},
                "httpd_status_codes": {"200": {"value": 5}, "401": {"value": "x"}, "odd": {"value": 1}},
                "request_time": {"value": {"percentile": [[50, 1.5], [75, 2], [99, 250.0], [999, 300.0]]}},
            },
            "couch_replicator": {"jobs": {"running": {"value": 2}, "crashed": {"value": 1}}},
        });
        let expected = Figures {
            open_files: Some(7),
            answers: vec![(200, 5)],
            request_seconds: vec![(50, 0.0015), (99, 0.25)],
            replications: Some(ReplicationJobs { running: 2, pending: 0, crashed: 1 }),
            ..Figures::default()
        };
        assert_eq!(of_stats(&stats), expected);
    }
}
