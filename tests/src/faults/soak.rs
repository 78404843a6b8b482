//! A soak: a campaign at an even pace for a given time, on agents that are never restarted, with samples of
//! their usage.
//!
//! The agents remember less than by default (`rpc.duplicate_window`, `rpc.replay_window`), so bounded memory
//! fills up early and anything that still grows is a leak.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tokio::time::sleep;

use super::growth::Growth;
use super::report::Report;

const BETWEEN_SAMPLES: Duration = Duration::from_secs(5);
/// Resident memory varies with bursts of load and the allocator's arenas.
const ALLOWED_KIB: f64 = 3.0 * 1024.0;
/// The number of connections to CouchDB varies with the load.
const ALLOWED_DESCRIPTORS: f64 = 6.0;
/// The number of threads for blocking work varies too.
const ALLOWED_THREADS: f64 = 4.0;
const BLOCK: [&str; 2] = ["<!-- written by make soak -->", "<!-- end of what make soak writes -->"];

/// The resources that an agent's process uses.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Usage {
    /// Resident memory, KiB.
    pub rss_kib: f64,
    /// Open file descriptors.
    pub descriptors: f64,
    /// Threads.
    pub threads: f64,
}

impl Usage {
    /// The usage of a running process.
    pub fn of(pid: u32) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("the agent with pid {pid} is gone"))?;
        let number = |name: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let text = line.map(|line| line.trim().trim_end_matches(" kB"));
            text.and_then(|text| text.parse().ok())
                .with_context(|| format!("no {name} in /proc/{pid}/status"))
        };
        let descriptors = u32::try_from(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())?;
        Ok(Self {
            rss_kib: number("VmRSS:")?,
            descriptors: f64::from(descriptors),
            threads: number("Threads:")?,
        })
    }
}

/// Samples processes until `until`; also writes each sample as a line of the file, which shows a step or a
/// slope.
pub async fn sample(pids: Vec<u32>, until: Instant, kept: &Path) -> Result<Vec<Vec<Usage>>> {
    let mut samples = vec![Vec::new(); pids.len()];
    let mut file = std::fs::File::create(kept).with_context(|| format!("cannot write {}", kept.display()))?;
    writeln!(file, "seconds_left,agent,rss_kib,descriptors,threads")?;
    while Instant::now() < until {
        let left = until.saturating_duration_since(Instant::now()).as_secs();
        for (number, (pid, samples)) in pids.iter().zip(&mut samples).enumerate() {
            let usage = Usage::of(*pid)?;
            let Usage { rss_kib, descriptors, threads } = usage;
            writeln!(file, "{left},{number},{rss_kib},{descriptors},{threads}")?;
            samples.push(usage);
        }
        sleep(BETWEEN_SAMPLES).await;
    }
    Ok(samples)
}

/// The growth of one value of one agent.
#[derive(Debug, Clone, Serialize)]
pub struct Developed {
    /// The value and its unit.
    pub what: &'static str,
    /// The growth.
    pub growth: Growth,
}

/// Memory, descriptors and threads of each agent.
pub fn developed(samples: &[Vec<Usage>]) -> Result<Vec<Vec<Developed>>> {
    type Figure = (&'static str, f64, fn(&Usage) -> f64);
    let figures: [Figure; 3] = [
        ("resident memory (KiB)", ALLOWED_KIB, |usage| usage.rss_kib),
        ("file descriptors", ALLOWED_DESCRIPTORS, |usage| usage.descriptors),
        ("threads", ALLOWED_THREADS, |usage| usage.threads),
    ];
    samples
        .iter()
        .map(|samples| {
            figures
                .iter()
                .map(|(what, allowed, pick)| {
                    let values: Vec<f64> = samples.iter().map(pick).collect();
                    let growth = Growth::of(&values, *allowed)
                        .context("too short for a judgement: soak for a minute at least")?;
                    Ok(Developed { what, growth })
                })
                .collect()
        })
        .collect()
}

/// The table for docs/reliability.md.
pub fn table(minutes: u64, report: &Report, agents: &[Vec<Developed>]) -> String {
    let mut text = format!(
        "{minutes} minutes, seed {}: {} commands, {} faults, {} lost, {} disagreements.\n\n\
         | agent | what | first | last | greatest | rise | allowed |\n|---|---|---|---|---|---|---|\n",
        report.seed,
        report.commands,
        report.faults,
        report.counts.lost,
        report.findings.len()
    );
    for (number, developed) in agents.iter().enumerate() {
        let name = if number % 2 == 1 { "encrypted" } else { "clear" };
        for Developed { what, growth } in developed {
            let (Growth { first, last, greatest, allowed }, rise) = (growth, growth.rise());
            // Writing to a string cannot fail.
            let _infallible = writeln!(
                text,
                "| {name} | {what} | {first:.0} | {last:.0} | {greatest:.0} | {rise:.0} | {allowed:.0} |"
            );
        }
    }
    text
}

/// Replaces the table in the document.
pub fn write_table(document: &Path, table: &str) -> Result<()> {
    let text =
        std::fs::read_to_string(document).with_context(|| format!("cannot read {}", document.display()))?;
    std::fs::write(document, replaced(&text, table)?)
        .with_context(|| format!("cannot write {}", document.display()))
}

fn replaced(text: &str, table: &str) -> Result<String> {
    let Some((before, rest)) = text.split_once(BLOCK[0]) else { bail!("the document lacks {:?}", BLOCK[0]) };
    let Some((_, after)) = rest.split_once(BLOCK[1]) else { bail!("the document lacks {:?}", BLOCK[1]) };
    Ok(format!("{before}{}\n{table}{}{after}", BLOCK[0], BLOCK[1]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn only_the_block_is_replaced() {
        let text = format!("a\n{}\nold\n{}\nb\n", BLOCK[0], BLOCK[1]);
        let new = replaced(&text, "new\n").unwrap();
        assert_eq!(new, format!("a\n{}\nnew\n{}\nb\n", BLOCK[0], BLOCK[1]));
        assert!(replaced("nothing", "new").is_err());
    }

    #[test]
    fn our_own_process_uses_something() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss_kib > 100.0 && usage.descriptors >= 3.0 && usage.threads >= 1.0, "{usage:?}");
    }
}
