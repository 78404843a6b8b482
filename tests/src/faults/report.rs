//! The results of a campaign, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::environment::Guest;
use super::inject::Played;
use super::kinds::FaultKind;
use super::model::Observed;
use super::schedule::MessageKind;

/// Counts of commands and answers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    /// Commands sent as calls.
    pub calls: usize,
    /// Commands sent as casts.
    pub casts: usize,
    /// Commands that succeeded.
    pub done: usize,
    /// Commands that were refused as the model predicted.
    pub refused: usize,
    /// Commands that failed because CouchDB was unreachable.
    pub failed: usize,
    /// Calls that timed out before an answer came.
    pub timed_out: usize,
    /// Casts that the broker dropped with its non-durable queues.
    pub dropped_by_broker: usize,
    /// Commands for which there was no queue, after the broker had dropped it.
    pub no_queue: usize,
    /// Casts that never ended. Must be 0.
    pub lost: usize,
    /// Messages that were sent twice at once.
    pub duplicates: usize,
    /// Messages that were sent again after they had been carried out.
    pub replayed: usize,
    /// Publications that had to be repeated because the broker did not confirm them.
    pub publisher_retries: usize,
    /// Answers with different `_unique_id`s to one command. Must be 0.
    pub given_twice: usize,
    /// Deliveries of an answer that oslo.messaging drops because it knows the `_unique_id`.
    pub repeated_answers: usize,
    /// Repeated answers that differ from the first.
    pub changed_answers: usize,
}

impl Counts {
    /// Counts a sent command.
    pub fn sent(&mut self, kind: MessageKind, twice: bool, tries: u32) {
        match kind {
            MessageKind::Call => self.calls += 1,
            MessageKind::Cast => self.casts += 1,
        }
        self.duplicates += usize::from(twice);
        self.publisher_retries += usize::try_from(tries.saturating_sub(1)).unwrap_or_default();
    }

    /// Counts a result.
    pub fn ended(&mut self, observed: &Observed) {
        match observed {
            Observed::Done(_) => self.done += 1,
            Observed::Refused(_) => self.refused += 1,
            Observed::Unsure => self.failed += 1,
        }
    }
}

/// A disagreement.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The guest's id.
    pub guest: String,
    /// The expected and the observed state.
    pub what: String,
    /// The path of the agent's log.
    pub log: String,
}

/// The result of a campaign.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The seed, to repeat the campaign.
    pub seed: u64,
    /// Whether queues were durable.
    pub durable: bool,
    /// Commands sent.
    pub commands: usize,
    /// Faults played.
    pub faults: usize,
    /// Faults played, by kind.
    pub faults_by_kind: BTreeMap<FaultKind, usize>,
    /// Counts of commands and answers.
    pub counts: Counts,
    /// The longest time in which no command of a guest succeeded, in seconds.
    pub longest_outage_s: f64,
    /// The median time from the end of a fault to the first success, in seconds.
    pub recovery_p50_s: f64,
    /// The longest time from the end of a fault to the first success, in seconds.
    pub recovery_max_s: f64,
    /// The duration of the campaign, in seconds.
    pub duration_s: f64,
    /// Disagreements. Must be none.
    pub findings: Vec<Finding>,
}

/// Outage and recovery times.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// The longest time without a success.
    pub outage: Duration,
    /// Median of the times from the end of a fault to a success.
    pub recovery_p50: Duration,
    /// Maximum of the times from the end of a fault to a success.
    pub recovery_max: Duration,
}

impl Times {
    /// Computes the times from the guests' successes and the faults.
    pub fn of(guests: &[Guest], played: &[Played]) -> Self {
        let successes: Vec<Vec<Instant>> = guests.iter().map(Guest::successes).collect();
        let gaps = successes.iter().flat_map(|times| times.windows(2)).map(|pair| pair[1] - pair[0]);
        let outage = gaps.max().unwrap_or_default();
        let mut recoveries: Vec<Duration> = played
            .iter()
            .flat_map(|fault| {
                let everybody = fault.kind.hits_everybody();
                let hit =
                    successes.iter().enumerate().filter(move |(guest, _)| everybody || *guest == fault.guest);
                hit.filter_map(|(_, times)| {
                    times.iter().find(|time| **time >= fault.ended).map(|time| *time - fault.ended)
                })
            })
            .collect();
        recoveries.sort_unstable();
        let recovery_p50 = recoveries.get(recoveries.len() / 2).copied().unwrap_or_default();
        Self { outage, recovery_p50, recovery_max: recoveries.last().copied().unwrap_or_default() }
    }
}

impl Report {
    /// Whether there are no disagreements.
    pub fn passed(&self) -> bool {
        self.findings.is_empty() && self.counts.lost == 0 && self.counts.given_twice == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { calls, casts, done, refused, failed, timed_out, .. } = &self.counts;
        let queues = if self.durable { "durable" } else { "non-durable (oslo's default)" };
        writeln!(f, "seed {}, {queues} queues, {:.0} s", self.seed, self.duration_s)?;
        writeln!(f, "commands            {} ({calls} calls, {casts} casts)", self.commands)?;
        writeln!(f, "  done              {done}")?;
        writeln!(f, "  refused rightly   {refused}")?;
        writeln!(f, "  failed, CouchDB away {failed}")?;
        writeln!(f, "  call timed out    {timed_out}")?;
        if !self.durable {
            let Counts { dropped_by_broker, no_queue, .. } = &self.counts;
            writeln!(f, "  dropped by broker {dropped_by_broker} casts; {no_queue} commands found no queue")?;
        }
        writeln!(f, "  LOST              {}", self.counts.lost)?;
        let Counts { duplicates, replayed, publisher_retries, .. } = &self.counts;
        writeln!(
            f,
            "sent again          {duplicates} at once, {replayed} when carried out, {publisher_retries} by publishers"
        )?;
        let Counts { given_twice, repeated_answers, changed_answers, .. } = &self.counts;
        writeln!(
            f,
            "answers given twice {given_twice} (repeated under the same id: {repeated_answers}, changed: {changed_answers})"
        )?;
        writeln!(f, "faults              {}", self.faults)?;
        for (kind, count) in &self.faults_by_kind {
            writeln!(f, "  {:<26}{count}", format!("{kind:?}"))?;
        }
        writeln!(f, "longest outage      {:.1} s", self.longest_outage_s)?;
        writeln!(
            f,
            "recovery            {:.2} s (median), {:.1} s (longest)",
            self.recovery_p50_s, self.recovery_max_s
        )?;
        writeln!(f, "disagreements       {}", self.findings.len())?;
        for finding in &self.findings {
            writeln!(f, "  {}\n    {}", finding.what, finding.log)?;
        }
        Ok(())
    }
}
