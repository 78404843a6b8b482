//! The machine: its clock and its disks.
//!
//! The conductor drops a heartbeat whose time is not after the previous one. So if the clock was
//! ahead once, the guest's heartbeats are dropped until that time is reached
//! (`trove/conductor/manager.py`, `_message_too_old`).

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{process::Command, time};
use trove_couchdb_client::Couch;
use trove_couchdb_config::Settings;
use trove_couchdb_system as system;

use super::{Check, Finding};

static CLOCK: Check = Check::new("host.clock", "The clock is set and synchronised");
static HEARTBEAT_TIME: Check = Check::new("host.last_sent", "The last heartbeat is not in the future");
static DATA_DIR: Check = Check::new("host.data_dir", "couchdb.data_dir is where CouchDB keeps its databases");
static DATA: Check = Check::new("host.disk_data", "CouchDB's file system has room");
static STATE: Check = Check::new("host.disk_state", "The agent's state directory has room");

pub(super) const CHECKS: &[&Check] = &[&CLOCK, &HEARTBEAT_TIME, &DATA_DIR, &DATA, &STATE];

/// 2025-01-01. This program is newer, so a clock before this date is not set.
const WRITTEN: u64 = 1_735_689_600;

/// The maximum difference between two clock readings, in seconds.
const TOLERANCE: f64 = 60.0;

/// Free space in percent. Below `LOW` CouchDB's compaction may fail; below
/// `VERY_LOW` everything may fail soon.
const LOW: u64 = 15;
const VERY_LOW: u64 = 5;

/// Free space in bytes that is always enough, however large the file system is.
const ENOUGH: u64 = 20 * 1024 * 1024 * 1024;

pub(super) async fn look(settings: &Settings, couch: Option<&Couch>, findings: &mut Vec<Finding>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    findings.push(clock(now, synchronized().await));
    findings.push(last_sent(&settings.guest.state_dir, now.as_secs_f64()));
    findings.extend(data(settings, couch).await);
    findings.push(free_space(&STATE, &settings.guest.state_dir));
}

/// Asks CouchDB where its databases are, because the default of `couchdb.data_dir` may be wrong.
async fn data(settings: &Settings, couch: Option<&Couch>) -> [Finding; 2] {
    let configured = &settings.couchdb.data_dir;
    let Some(couch) = couch else {
        return [DATA_DIR.skipped("CouchDB can't be asked as os_admin"), free_space(&DATA, configured)];
    };
    let Some(told) = couch.database_dir().await else {
        let detail = "CouchDB does not say where its databases are (database_dir of its [couchdb])";
        return [DATA_DIR.not_run(detail), free_space(&DATA, configured)];
    };
    let place = if is_on(&told, configured) {
        DATA_DIR.ok(told.display().to_string())
    } else {
        DATA_DIR.warning(
            format!(
                "CouchDB keeps its databases in {}, couchdb.data_dir is {}",
                told.display(),
                configured.display()
            ),
            format!("set couchdb.data_dir to the directory that holds {} on this machine", told.display()),
        )
    };
    if let Some(seen) = couch.seen_data_dir().await {
        return [place, free_space(&DATA, &seen)];
    }
    let detail = format!("{} with CouchDB's databases is not seen on this machine", told.display());
    [place, DATA.not_run(detail)]
}

/// Whether the directory is on the volume mounted there, also through a link.
fn is_on(directory: &Path, mounted: &Path) -> bool {
    let whole = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let device = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
    whole(directory).starts_with(whole(mounted)) && device(directory) == device(mounted)
}

/// Whether systemd reports that NTP keeps the clock; `None` if it cannot be asked.
async fn synchronized() -> Option<bool> {
    let asked = Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output();
    let output = time::timeout(Duration::from_secs(3), asked).await.ok()?.ok()?;
    match String::from_utf8_lossy(&output.stdout).trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn clock(now: Duration, synchronized: Option<bool>) -> Finding {
    let advice = "switch NTP on (`timedatectl set-ntp true`), then restart the agent";
    match synchronized {
        _ if now.as_secs() < WRITTEN => {
            CLOCK.failed(format!("it shows {} s after 1970: it was never set", now.as_secs()), advice)
        }
        Some(false) => CLOCK.warning("it is not synchronized: a jump mutes heartbeats", advice),
        Some(true) => CLOCK.ok("synchronized"),
        None => CLOCK.ok("set; whether it is synchronized can't be asked (no timedatectl)"),
    }
}

fn last_sent(state_dir: &Path, now: f64) -> Finding {
    let path = state_dir.join("last_sent");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return HEARTBEAT_TIME.ok("no heartbeat was sent yet");
        }
        Err(error) => return HEARTBEAT_TIME.not_run(format!("{} can't be read: {error}", path.display())),
    };
    match text.trim().parse::<f64>() {
        Ok(at) if at > now + TOLERANCE => HEARTBEAT_TIME.failed(
            format!("the last heartbeat was {:.0} s ahead of this clock: one of the two is wrong", at - now),
            format!(
                "set the clock. If the old heartbeat was wrong, remove {} and restart the agent; the control plane \
                 takes heartbeats again when its clock is past it, or after a restart of trove-conductor",
                path.display()
            ),
        ),
        Ok(_) => HEARTBEAT_TIME.ok("in the past"),
        Err(_) => HEARTBEAT_TIME.warning(
            format!("{} holds no number", path.display()),
            "remove it; the agent creates a new one",
        ),
    }
}

fn free_space(check: &'static Check, path: &Path) -> Finding {
    let usage = match system::usage_of(path) {
        Ok(usage) => usage,
        Err(error) => return check.not_run(format!("{}: {error}", path.display())),
    };
    let free = usage.available_blocks.saturating_mul(usage.block_size);
    let percent = usage.available_blocks.saturating_mul(100) / usage.total_blocks.max(1);
    let detail = format!("{}: {percent} % ({} MiB) free", path.display(), free / (1024 * 1024));
    let advice = "make room: compact databases, remove old logs, or resize the volume";
    match percent {
        _ if free >= ENOUGH => check.ok(detail),
        ..VERY_LOW => check.failed(detail, advice),
        VERY_LOW..LOW => check.warning(detail, advice),
        _ => check.ok(detail),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_is_judged() {
        let now = Duration::from_secs(WRITTEN + 1);
        assert_eq!(clock(Duration::from_secs(60), Some(true)).verdict, Verdict::Failed);
        assert_eq!(clock(now, Some(false)).verdict, Verdict::Warning);
        assert_eq!(clock(now, Some(true)).verdict, Verdict::Ok);
        assert_eq!(clock(now, None).verdict, Verdict::Ok);
    }

    #[test]
    fn a_heartbeat_from_the_future_is_a_fault() {
        let directory = tempfile::tempdir().unwrap();
        let verdict = |text: &str| {
            std::fs::write(directory.path().join("last_sent"), text).unwrap();
            last_sent(directory.path(), 1_800_000_000.0).verdict
        };
        assert_eq!(verdict("1800000030.0\n"), Verdict::Ok);
        assert_eq!(verdict("1800009999.0\n"), Verdict::Failed);
        assert_eq!(verdict("soon"), Verdict::Warning);
        assert_eq!(last_sent(Path::new("/nowhere"), 0.0).verdict, Verdict::Ok);
    }
}
