//! The timestamp of heartbeats, which never decreases.
//!
//! The conductor drops a heartbeat whose `sent` is not greater than the last one's
//! (trove/conductor/manager.py, `_message_too_old`), silently and forever. A clock that is set back, even
//! across a restart, must not mute the guest. So the last value is stored on disk, and the next value is
//! always greater.

use std::{
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::warn;

use crate::system;

const FILE_NAME: &str = "last_sent";

/// The smallest step in seconds, far above the resolution of a double at today's times.
const LEAST_STEP: f64 = 0.001;

/// How far a stored value may be ahead of the clock, in seconds: clocks are set back by hours or days. A
/// value further ahead never came from a working clock. A very large value would even swallow [`LEAST_STEP`],
/// and the conductor would drop every later heartbeat.
const FURTHEST_AHEAD: f64 = 7.0 * 86_400.0;

/// The last value sent.
#[derive(Debug)]
pub(super) struct Sent {
    path: PathBuf,
    last: f64,
}

impl Sent {
    /// Continues from the value in the state directory. A file that cannot be read counts as missing, and so
    /// does an impossible time.
    pub(super) fn load(state_dir: &Path, now: SystemTime) -> Self {
        let path = state_dir.join(FILE_NAME);
        let stored = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<f64>().ok());
        let mut last = stored.filter(|value| value.is_finite()).unwrap_or(0.0);
        if last > clock(now) + FURTHEST_AHEAD {
            warn!(
                path = %path.display(),
                stored = format!("{last:.0}"),
                "The time of the last heartbeat is in the future; the clock's is taken. Should the instance not become \
                 healthy, the conductor has stored that time and ignores earlier ones: rebuild the instance."
            );
            last = 0.0;
        }
        Self { path, last }
    }

    /// The next value in Unix seconds, and whether it was stored. Even if it was not, later values are
    /// greater while this agent runs.
    pub(super) fn next(&mut self, now: SystemTime) -> (f64, io::Result<()>) {
        self.last = clock(now).max(self.last + LEAST_STEP);
        let text = format!("{:.6}\n", self.last);
        (self.last, system::replace(&self.path, text.as_bytes(), 0o644))
    }
}

fn clock(now: SystemTime) -> f64 {
    now.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    #[test]
    fn neither_the_clock_nor_a_restart_takes_it_back() {
        let directory = tempfile::tempdir().unwrap();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut sent = Sent::load(directory.path(), at(1_800_000_000));
        let (first, stored) = sent.next(at(1_800_000_000));
        stored.unwrap();
        let (second, _) = sent.next(at(1_000_000_000));
        let mut restarted = Sent::load(directory.path(), at(1_799_900_000));
        let (third, _) = restarted.next(at(1_799_900_000));
        let (fourth, _) = restarted.next(at(1_800_000_009));
        assert!(first < second && second < third && third < fourth, "{first} {second} {third} {fourth}");
        assert!((fourth - 1_800_000_009.0).abs() < 1e-6, "the clock is followed again");
    }

    #[test]
    fn a_file_that_says_nothing_or_what_cannot_be_is_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(5);
        for content in ["", "NaN", "inf", "soon", "1e300", "-1e300", "604806"] {
            std::fs::write(directory.path().join(FILE_NAME), content).unwrap();
            let (value, _) = Sent::load(directory.path(), now).next(now);
            assert!((value - 5.0).abs() < 1e-9, "{content:?}");
        }
    }

    #[test]
    fn a_missing_disk_is_reported_and_survived() {
        let mut sent = Sent::load(Path::new("/proc/nowhere"), UNIX_EPOCH);
        let (first, stored) = sent.next(UNIX_EPOCH);
        assert!(stored.is_err());
        assert!(sent.next(UNIX_EPOCH).0 > first);
    }
}
