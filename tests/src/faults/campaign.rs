//! A campaign from its start to its report.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;

use super::actor::follow;
use super::ground::Ground;
use super::inject::play;
use super::judge::judge;
use super::plan::{Size, faults, scripts};
use super::report::{Report, Times};

/// What a campaign is to be.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// Decides everything that is random.
    pub seed: u64,
    /// How much.
    pub size: Size,
    /// `amqp_durable_queues` on both sides.
    pub durable: bool,
    /// Carried out messages are sent again later, across restarts of the agent too. Not with non-durable queues: the
    /// broker may drop the first and keep the second, and then the second is the first.
    pub replays: bool,
    /// Where the report and the logs of disagreements go.
    pub directory: PathBuf,
}

impl Campaign {
    /// Runs it. Disagreements are in the report; an error means that there is no report.
    pub async fn run(&self) -> Result<Report> {
        let ground = Arc::new(Ground::start(self.size.guests, self.durable, self.directory.clone()).await?);
        for guest in &ground.guests {
            guest.make_shared_database().await?;
        }
        let started = Instant::now();
        let replays = self.replays && self.durable;
        let playing = tokio::spawn(play(Arc::clone(&ground), faults(self.seed, &self.size)));
        let following = scripts(self.seed, &self.size).into_iter().enumerate().map(|(guest, scripts)| {
            let ground = Arc::clone(&ground);
            async move {
                let followed = scripts.into_iter().map(|script| {
                    let task = tokio::spawn(follow(Arc::clone(&ground), guest, script, replays));
                    async move { task.await.context("a caller panicked")? }
                });
                try_join_all(followed).await
            }
        });
        let namespaces = try_join_all(following).await?;
        let played = playing.await.context("the faults panicked")??;
        for (guest, namespaces) in ground.guests.iter().zip(&namespaces) {
            judge(&ground, guest, namespaces).await?;
        }
        let times = Times::of(&ground.guests, &played);
        let mut faults_by_kind = BTreeMap::new();
        for fault in &played {
            *faults_by_kind.entry(fault.kind).or_default() += 1;
        }
        let counts = super::locked(&ground.counts).clone();
        let report = Report {
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
            findings: ground.findings(),
        };
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(self.directory.join("report.json"), json).context("cannot write report.json")?;
        std::fs::write(self.directory.join("report.txt"), report.to_string())
            .context("cannot write report.txt")?;
        Ok(report)
    }
}
