//! Runs a campaign from start to report.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use serde_json::json;

use super::checker::checker;
use super::client::{Namespace, follow};
use super::environment::Environment;
use super::inject::{Played, play};
use super::report::{Report, Times};
use super::schedule::{Size, faults, scripts};
use super::soak::{Developed, developed, sample};

/// The parameters of a campaign.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// The seed of everything random.
    pub seed: u64,
    /// The number of commands, faults and guests.
    pub size: Size,
    /// `amqp_durable_queues` on both sides.
    pub durable: bool,
    /// Resend carried-out messages later, also across restarts of the agent. Not with non-durable queues: if
    /// the broker drops the first message and keeps the second, the second is not a duplicate.
    pub replays: bool,
    /// Directory for the report and the logs of disagreements.
    pub directory: PathBuf,
    /// Soak: send an even load for this long, instead of all commands as fast as possible, and sample the
    /// agents' usage.
    pub soak: Option<Duration>,
}

/// Pause before each command of each caller in a soak: 14 callers then send about 25 commands a second.
const REST: Duration = Duration::from_millis(500);

impl Campaign {
    /// Runs the campaign. Disagreements are in the report; an error means that there is no report.
    pub async fn run(&self) -> Result<(Report, Vec<Vec<Developed>>)> {
        let rest = if self.soak.is_some() { REST } else { Duration::ZERO };
        let windows = [("rpc.duplicate_window", 256), ("rpc.replay_window", 1_024)];
        let settings: Vec<(String, toml::Value)> = if self.soak.is_some() {
            windows.map(|(name, size)| (name.to_owned(), size.into())).to_vec()
        } else {
            Vec::new()
        };
        let Size { guests, .. } = self.size;
        let environment =
            Environment::start(guests, self.durable, self.directory.clone(), &settings, rest).await?;
        let environment = Arc::new(environment);
        let mut pids = Vec::new();
        for guest in &environment.guests {
            guest.make_shared_database().await?;
            pids.push(guest.agent.lock().await.pid());
        }
        let started = Instant::now();
        let faulting = async {
            let played = tokio::spawn(play(Arc::clone(&environment), faults(self.seed, &self.size)));
            played.await.context("the faults panicked")?
        };
        let sampling = async {
            let Some(time) = self.soak else { return Ok(Vec::new()) };
            let samples = sample(pids, started + time, &self.directory.join("usage.csv")).await;
            environment.over.send_replace(true);
            samples
        };
        // An error in one future stops all, because the others would wait forever.
        let (played, namespaces, samples) = tokio::try_join!(faulting, self.follow(&environment), sampling)?;
        for (guest, namespaces) in environment.guests.iter().zip(&namespaces) {
            checker(&environment, guest, namespaces).await?;
        }
        let developed = developed(&samples)?;
        let report = self.report(&environment, &played, started);
        let json = serde_json::to_string_pretty(&json!({ "report": report, "agents": developed }))?;
        std::fs::write(self.directory.join("report.json"), json).context("cannot write report.json")?;
        let text = report.to_string();
        std::fs::write(self.directory.join("report.txt"), text).context("cannot write report.txt")?;
        Ok((report, developed))
    }

    async fn follow(&self, environment: &Arc<Environment>) -> Result<Vec<Vec<Namespace>>> {
        let replays = self.replays && self.durable;
        let following =
            scripts(self.seed, &self.size).into_iter().enumerate().map(|(guest, scripts)| async move {
                let followed = scripts.into_iter().map(|script| {
                    let task = tokio::spawn(follow(Arc::clone(environment), guest, script, replays));
                    async move { task.await.context("a caller panicked")? }
                });
                try_join_all(followed).await
            });
        let namespaces = try_join_all(following).await;
        environment.over.send_if_modified(|over| {
            // A soak skips the faults that have not begun; a campaign plays all of them.
            *over = self.soak.is_some();
            *over
        });
        namespaces
    }

    fn report(&self, environment: &Environment, played: &[Played], started: Instant) -> Report {
        let times = Times::of(&environment.guests, played);
        let mut faults_by_kind = BTreeMap::new();
        for fault in played {
            *faults_by_kind.entry(fault.kind).or_default() += 1;
        }
        let counts = super::locked(&environment.counts).clone();
        Report {
            seed: self.seed,
            durable: self.durable,
            commands: counts.calls + counts.casts,
            faults: played.len(),
            faults_by_kind,
            counts,
            longest_outage_s: times.outage.as_secs_f64(),
            recovery_p50_s: times.recovery_p50.as_secs_f64(),
            recovery_max_s: times.recovery_max.as_secs_f64(),
            duration_s: started.elapsed().as_secs_f64(),
            findings: environment.findings(),
        }
    }
}
