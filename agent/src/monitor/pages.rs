//! The three pages.

use std::time::Duration;

use hyper::{
    Method, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use tokio::sync::watch;
use trove_couchdb_protocol::trove::Method as Command;

use super::figures::CouchFigures;
use crate::{
    couch::{Figures, Health, Totals},
    guest::Lifecycle,
    metrics::{self, CouchMoment, CouchStatus, Metrics, Moment, Sizes, UnderWay},
    operations::{OperationRecord, Operations, Progress},
    room::RoomReport,
    status::{CommandCounters, HEALTH_WORDS, LastReported, Link, ProbeResult, health_word, outline},
};

const TEXT: &str = "text/plain; charset=utf-8";

const INDEX: &str = "trove-couchdb-agent\n\n/metrics  for Prometheus\n/healthz  whether the agent is alive\n\
                     /readyz   whether it serves: connected to the broker, and CouchDB healthy\n";

/// The sources of the pages' content.
#[derive(Debug)]
pub struct Pages {
    /// The metrics.
    pub metrics: Metrics,
    /// CouchDB's figures; `None` in tests.
    pub couchdb: Option<CouchFigures>,
    /// The counters of commands.
    pub counters: CommandCounters,
    /// CouchDB's health.
    pub health: watch::Receiver<ProbeResult>,
    /// The free space for CouchDB's databases.
    pub room: watch::Receiver<RoomReport>,
    /// The state of the broker's connection.
    pub link: watch::Receiver<Link>,
    /// The last heartbeat.
    pub last_reported: watch::Receiver<Option<LastReported>>,
    /// The guest's state.
    pub lifecycle: Lifecycle,
    /// Whether the guest counts as prepared whatever Trove did.
    pub assume_prepared: bool,
    /// The operations.
    pub operations: Operations,
}

impl Pages {
    pub(super) async fn answer(&self, method: &Method, path: &str) -> Response<String> {
        if method != Method::GET && method != Method::HEAD {
            let mut refusal = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match path {
            "/metrics" => self.metrics().await,
            // The event loop that serves commands also produced this answer.
            "/healthz" => page(StatusCode::OK, TEXT, "alive\n".to_owned()),
            "/readyz" => {
                let (serving, words) = outline(
                    &self.lifecycle.last_known().server,
                    &self.health.borrow().health,
                    &self.room.borrow(),
                    &self.link.borrow(),
                );
                let status = if serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                page(status, TEXT, words + "\n")
            }
            "/" => page(StatusCode::OK, TEXT, INDEX.to_owned()),
            _ => page(StatusCode::NOT_FOUND, TEXT, INDEX.to_owned()),
        }
    }

    async fn metrics(&self) -> Response<String> {
        let (figures, totals) = match &self.couchdb {
            Some(couchdb) => couchdb.read().await,
            None => Default::default(),
        };
        match self.metrics.text(&self.moment(figures, totals)) {
            Ok(text) => page(StatusCode::OK, metrics::CONTENT_TYPE, text),
            Err(error) => {
                page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("metrics can't be written: {error}\n"))
            }
        }
    }

    fn moment(&self, couchdb: Figures, totals: Option<(Totals, Duration)>) -> Moment {
        let prepared = self.assume_prepared || self.lifecycle.last_known().stage.is_prepared();
        let figures = self.counters.figures();
        Moment {
            running: figures.running,
            waiting: figures.waiting,
            duplicates: figures.duplicates,
            broker_up: match &*self.link.borrow() {
                Link::Absent => None,
                link => Some(link.is_up()),
            },
            couchdb_up: self.health.borrow().health == Health::Healthy,
            couchdb: self.couchdb(couchdb, totals),
            prepared,
            heartbeat_age: self.last_reported.borrow().map(|last_reported| last_reported.at.elapsed()),
            operations: self.operations.all().iter().filter_map(under_way).collect(),
        }
    }

    fn couchdb(&self, figures: Figures, totals: Option<(Totals, Duration)>) -> CouchMoment {
        let room = self.room.borrow();
        let jobs = figures.replications.map(|jobs| {
            [("running", jobs.running), ("pending", jobs.pending), ("crashed", jobs.crashed)].to_vec()
        });
        CouchMoment {
            state: health_word(&self.health.borrow().health),
            states: &HEALTH_WORDS,
            disk: room.disk.as_ref().map(|disk| (disk.free, disk.size)),
            compactions: room.compactions,
            freed: room.freed,
            databases: figures.databases,
            open_files: figures.open_files,
            responses: figures
                .answers
                .into_iter()
                .map(|(code, count)| (CouchStatus::of_code(code), count))
                .collect(),
            request_seconds: figures.request_seconds,
            replications: jobs.unwrap_or_default(),
            compacting: figures.compactions,
            memory: figures.memory.into_iter().map(|(kind, bytes)| (kind.as_str(), bytes)).collect(),
            sizes: totals.map(sizes),
        }
    }
}

fn sizes((totals, age): (Totals, Duration)) -> Sizes {
    let Totals { databases, unknown, documents, file, active } = totals;
    Sizes { databases, unknown, documents, file, active, age }
}

fn under_way(record: &OperationRecord) -> Option<UnderWay> {
    let kind = Command::from_name(&record.kind).filter(|_| record.end.is_none())?.name();
    let done = record.progress.as_ref().and_then(Progress::ratio);
    Some(UnderWay { kind, age: record.age(), done })
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Instant;

    use trove_couchdb_config::OperationSettings;
    use trove_couchdb_protocol::trove::ServiceStatus;

    use super::*;

    #[tokio::test]
    async fn pages_follow_the_state() {
        let directory = tempfile::tempdir().unwrap();
        let (health_writer, health) = watch::channel(ProbeResult::from(Health::Unknown));
        let (link_writer, link) = watch::channel(Link::not_tried());
        let (told_writer, last_reported) = watch::channel(None);
        let pages = Pages {
            metrics: Metrics::on(),
            couchdb: None,
            counters: CommandCounters::default(),
            health,
            room: watch::channel(RoomReport::default()).1,
            link,
            last_reported,
            lifecycle: Lifecycle::load(directory.path(), "g").0,
            assume_prepared: false,
            operations: Operations::load(
                directory.path(),
                OperationSettings { keep: 1, keep_for: Duration::from_secs(60) },
            ),
        };
        let ready = pages.answer(&Method::GET, "/readyz").await;
        assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ready.body(), "the broker is not connected; CouchDB is being asked\n");
        let before = pages.answer(&Method::GET, "/metrics").await;
        assert!(before.body().contains("trove_couchdb_agent_broker_up 0\n"), "{}", before.body());
        assert!(!before.body().contains("heartbeat_age"), "{}", before.body());

        health_writer.send_replace(Health::Healthy.into());
        link_writer.send_replace(Link::Up { address: "h:5672".into() });
        told_writer.send_replace(Some(LastReported {
            status: ServiceStatus::Healthy,
            sent_at: 5.0,
            at: Instant::now(),
        }));
        assert_eq!(pages.answer(&Method::GET, "/readyz").await.status(), StatusCode::OK);
        let after = pages.answer(&Method::GET, "/metrics").await;
        for line in ["trove_couchdb_agent_couchdb_up 1", "trove_couchdb_agent_heartbeat_age_seconds 0."] {
            assert!(after.body().lines().any(|have| have.starts_with(line)), "{line}: {}", after.body());
        }
        link_writer.send_replace(Link::Absent);
        let local = pages.answer(&Method::GET, "/metrics").await;
        assert!(!local.body().contains("broker_up"), "{}", local.body());
    }
}
