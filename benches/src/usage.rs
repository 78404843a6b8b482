//! The resource usage of a process: CPU time, memory, context switches, from Linux's own accounting.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result};
use nix::{time::clock_getcpuclockid, unistd::Pid};

/// CPU time of all threads, including exited ones, in nanosecond resolution.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(pid)?)).context("no such process")?;
    Ok(clock.now().context("no such process")?.into())
}

/// A field of `/proc/PID/status` in KiB, such as `VmRSS`.
pub fn memory_kib(pid: u32, field: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("no such process")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = line.with_context(|| format!("no {field} in /proc"))?;
    value.trim().trim_end_matches(" kB").parse().with_context(|| format!("{field} is not a number"))
}

/// The number of threads.
pub fn threads(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/task")).context("no such process")?.count())
}

/// Resets the peak of resident memory (`VmHWM`).
pub fn reset_peak(pid: u32) -> Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("the peak of memory can't be reset")
}

/// Counts how often the threads of a process went to sleep, which is how often they were woken.
///
/// The count of a thread is lost when it exits, so call [`WakeUps::look`] every second or so.
#[derive(Debug)]
pub struct WakeUps {
    pid: u32,
    first: HashMap<String, u64>,
    last: HashMap<String, u64>,
}

impl WakeUps {
    /// Starts to count.
    pub fn of(pid: u32) -> Result<Self> {
        let first = switches(pid)?;
        Ok(Self { pid, last: first.clone(), first })
    }

    /// Updates the counts.
    pub fn look(&mut self) -> Result<()> {
        self.last.extend(switches(self.pid)?);
        Ok(())
    }

    /// The count so far.
    pub fn count(&self) -> u64 {
        self.last.iter().map(|(thread, count)| count - self.first.get(thread).unwrap_or(&0).min(count)).sum()
    }

    /// The count so far by thread name.
    pub fn by_name(&self) -> HashMap<String, u64> {
        let mut names = HashMap::new();
        for (thread, count) in &self.last {
            let name = thread.split_once('/').map_or(thread.as_str(), |(_, name)| name).to_owned();
            *names.entry(name).or_default() += count - self.first.get(thread).unwrap_or(&0).min(count);
        }
        names
    }
}

fn switches(pid: u32) -> Result<HashMap<String, u64>> {
    let mut counts = HashMap::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task")).context("no such process")?.flatten() {
        // A thread may exit between listing and reading.
        let Ok(status) = std::fs::read_to_string(entry.path().join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if let (Some(name), Some(count)) = (field("Name:"), field("voluntary_ctxt_switches:")) {
            let thread = format!("{}/{name}", entry.file_name().to_string_lossy());
            counts.insert(thread, count.parse().context("no number of context switches")?);
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn this_process_can_be_looked_at() {
        let pid = std::process::id();
        assert!(cpu_time(pid).unwrap() > Duration::ZERO);
        assert!(memory_kib(pid, "VmRSS").unwrap() > 100.0);
        let mut wake_ups = WakeUps::of(pid).unwrap();
        let before = wake_ups.count();
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        wake_ups.look().unwrap();
        assert!(wake_ups.count() >= before + 5);
    }
}
