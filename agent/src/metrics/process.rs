//! Metrics of the process, under the names that all client libraries of Prometheus use.
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>

use std::{
    fs,
    sync::atomic::AtomicU64,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};
use rustix::param::{clock_ticks_per_second, page_size};

/// The values that can be read; others are omitted. The start time is passed in, because the unit's sandbox
/// hides what it could be computed from.
pub(super) fn registry(started: SystemTime) -> Registry {
    let mut registry = Registry::with_prefix("process");
    if let Some(seconds) = cpu_seconds() {
        let counter: Counter<f64, AtomicU64> = Counter::default();
        counter.inc_by(seconds);
        registry.register_with_unit(
            "cpu",
            "Total user and system CPU time spent in seconds",
            Unit::Seconds,
            counter,
        );
    }
    if let Ok(since_1970) = started.duration_since(UNIX_EPOCH) {
        let gauge: Gauge<f64, AtomicU64> = Gauge::default();
        gauge.set(since_1970.as_secs_f64());
        registry.register_with_unit(
            "start_time",
            "Start time of the process since unix epoch in seconds",
            Unit::Seconds,
            gauge,
        );
    }
    if let Some(bytes) = resident_bytes() {
        let gauge: Gauge = Gauge::default();
        gauge.set(bytes);
        registry.register_with_unit("resident_memory", "Resident memory size in bytes", Unit::Bytes, gauge);
    }
    if let Some(count) = open_files() {
        let gauge: Gauge = Gauge::default();
        gauge.set(count);
        registry.register("open_fds", "Number of open file descriptors", gauge);
    }
    registry
}

/// `utime` and `stime` of `proc_pid_stat(5)`: fields 12 and 13 after the name, which may contain anything.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let times = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
    let ticks: u32 = times.collect::<Result<Vec<_>, _>>().ok()?.into_iter().sum();
    let per_second = u32::try_from(clock_ticks_per_second()).ok().filter(|ticks| *ticks > 0)?;
    Some(f64::from(ticks) / f64::from(per_second))
}

/// The second field of `proc_pid_statm(5)`.
fn resident_bytes() -> Option<i64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * i64::try_from(page_size()).ok()?)
}

fn open_files() -> Option<i64> {
    // One of them is the directory's own.
    let count = fs::read_dir("/proc/self/fd").ok()?.count().checked_sub(1)?;
    i64::try_from(count).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_understood() {
        assert!(cpu_seconds().is_some_and(|seconds| seconds >= 0.0));
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
        assert!(open_files().is_some_and(|count| count >= 3));
    }
}
