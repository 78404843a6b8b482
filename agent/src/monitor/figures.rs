//! CouchDB's figures for a scrape, at a bounded cost.
//!
//! A scrape sends at most six requests, and none if the last one is a few seconds old or CouchDB does not
//! answer. The sizes of all databases need two requests per hundred databases, so they are read in parts: one
//! part per scrape, and a new pass only some minutes after the last.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex, watch},
    time,
};
use tracing::debug;

use crate::{
    couch::{Couch, Figures, Health, Survey, Totals},
    status::ProbeResult,
};

/// Scrapes within this time share the figures.
const FRESH: Duration = Duration::from_secs(5);

/// The time limit for a scrape. Prometheus waits for 10 s by default.
const LIMIT: Duration = Duration::from_secs(4);

/// The parts of a pass through all databases that one scrape reads, with two requests each. CouchDB needs up
/// to half a second of CPU time for one.
const PARTS: usize = 1;

/// The pause between two passes.
const PASS_PAUSE: Duration = Duration::from_secs(300);

/// Requests CouchDB's figures when they are read.
#[derive(Debug)]
pub struct CouchFigures {
    couch: Arc<Couch>,
    health: watch::Receiver<ProbeResult>,
    cached: Mutex<Cached>,
}

#[derive(Debug, Default)]
struct Cached {
    figures: Figures,
    read_at: Option<Instant>,
    survey: Survey,
    is_in_a_pass: bool,
    pass_began: Option<Instant>,
    totals: Option<(Totals, Instant)>,
}

impl CouchFigures {
    /// Requests nothing yet.
    pub fn new(couch: Arc<Couch>, health: watch::Receiver<ProbeResult>) -> Self {
        Self { couch, health, cached: Mutex::default() }
    }

    /// The figures, and the sums of the last complete pass with their age. Empty while CouchDB does not answer.
    pub(super) async fn read(&self) -> (Figures, Option<(Totals, Duration)>) {
        if !self.answers() {
            return (Figures::default(), None);
        }
        let mut cached = self.cached.lock().await;
        if cached.read_at.is_none_or(|at| at.elapsed() >= FRESH) {
            cached.figures = Figures::default();
            if time::timeout(LIMIT, self.refresh(&mut cached)).await.is_err() {
                debug!("CouchDB's figures are late; they are left out of this scrape.");
            }
            cached.read_at = Some(Instant::now());
        }
        let totals = cached.totals.map(|(totals, at)| (totals, at.elapsed()));
        (cached.figures.clone(), totals)
    }

    fn answers(&self) -> bool {
        matches!(self.health.borrow().health, Health::Healthy | Health::Degraded(_))
    }

    async fn refresh(&self, cached: &mut Cached) {
        cached.figures = self.couch.figures().await;
        let is_due = cached.pass_began.is_none_or(|began| began.elapsed() >= PASS_PAUSE);
        if !cached.is_in_a_pass && is_due {
            (cached.is_in_a_pass, cached.pass_began) = (true, Some(Instant::now()));
        }
        for _ in 0..PARTS {
            if !cached.is_in_a_pass {
                return;
            }
            match self.couch.survey(&mut cached.survey).await {
                Ok(page) => {
                    if let Some(totals) = page.totals {
                        cached.totals = Some((totals, Instant::now()));
                        cached.is_in_a_pass = false;
                    }
                }
                Err(error) => {
                    debug!(%error, "The sizes of the databases can't be read.");
                    (cached.is_in_a_pass, cached.survey) = (false, Survey::default());
                    cached.totals = None;
                }
            }
        }
    }
}
