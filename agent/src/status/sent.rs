//! The time in a heartbeat, which never goes back.
//!
//! The conductor drops a heartbeat whose `sent` is not greater than the last one's (trove/conductor/manager.py,
//! `_message_too_old`), silently and for ever. A clock that is set back, or a restart meanwhile, must not mute
//! the guest: the last value is kept on the disk, and the next one is greater whatever the clock says.

use std::{
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::system;

const FILE_NAME: &str = "last_sent";

/// The least step, in seconds: far above what a double resolves at today's times.
const LEAST_STEP: f64 = 0.001;

/// The last value sent.
#[derive(Debug)]
pub(super) struct Sent {
    path: PathBuf,
    last: f64,
}

impl Sent {
    /// Goes on from what the state directory holds. A file that can't be read counts as none.
    pub(super) fn load(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE_NAME);
        let stored = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<f64>().ok());
        Self { path, last: stored.filter(|value| value.is_finite()).unwrap_or(0.0) }
    }

    /// The next value, in Unix seconds, and whether the disk has it. Without the disk the value still holds for
    /// this life of the agent.
    pub(super) fn next(&mut self, now: SystemTime) -> (f64, io::Result<()>) {
        let clock = now.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        self.last = clock.max(self.last + LEAST_STEP);
        let text = format!("{:.6}\n", self.last);
        (self.last, system::replace(&self.path, text.as_bytes(), 0o644))
    }
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
        let mut sent = Sent::load(directory.path());
        let (first, stored) = sent.next(at(1_800_000_000));
        stored.unwrap();
        let (second, _) = sent.next(at(1_000_000_000));
        let mut restarted = Sent::load(directory.path());
        let (third, _) = restarted.next(at(1_500_000_000));
        let (fourth, _) = restarted.next(at(1_800_000_009));
        assert!(first < second && second < third && third < fourth, "{first} {second} {third} {fourth}");
        assert!((fourth - 1_800_000_009.0).abs() < 1e-6, "the clock is followed again");
    }

    #[test]
    fn an_unreadable_file_is_as_none() {
        let directory = tempfile::tempdir().unwrap();
        for content in ["", "NaN", "inf", "soon"] {
            std::fs::write(directory.path().join(FILE_NAME), content).unwrap();
            let (value, _) = Sent::load(directory.path()).next(UNIX_EPOCH + Duration::from_secs(5));
            assert!((value - 5.0).abs() < 1e-9, "{content:?}");
        }
    }

    #[test]
    fn a_missing_disk_is_reported_and_survived() {
        let mut sent = Sent::load(Path::new("/proc/nowhere"));
        let (first, stored) = sent.next(UNIX_EPOCH);
        assert!(stored.is_err());
        assert!(sent.next(UNIX_EPOCH).0 > first);
    }
}
