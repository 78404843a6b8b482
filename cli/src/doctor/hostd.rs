//! `trove-couchdb-hostd`, the privileged helper: whether it exists, answers, and
//! has a policy that only root can write.
//!
//! Without the helper the agent works, but cannot start or stop CouchDB. So a helper
//! that is not enabled is not an error.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path, time::Duration};

use trove_couchdb_config::{HostSettings, Settings};
use trove_couchdb_guest::host::{Host, HostFailure};
use trove_couchdb_protocol::host::{HostError, POLICY_FILE, ServiceReport, Verb};

use super::{Check, Finding};

static SOCKET: Check = Check::new("hostd.socket", "trove-couchdb-hostd answers on its socket");
static POLICY: Check =
    Check::new("hostd.policy", "Its policy, host.toml, is valid and CouchDB's service is found");
static FILE: Check = Check::new("hostd.policy_file", "Only root can write to host.toml");

pub(super) const CHECKS: &[&Check] = &[&SOCKET, &POLICY, &FILE];

/// The helper may have to be started first, and asks the service manager.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Write permission for the group or for others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

pub(super) async fn look(settings: &Settings, findings: &mut Vec<Finding>) {
    let host = Host::new(&HostSettings { timeout: TIMEOUT, ..settings.host.clone() });
    if let Some(absence) = host.absence() {
        findings.extend([&SOCKET, &POLICY, &FILE].map(|check| check.skipped(absence.to_string())));
        return;
    }
    let answer = host.ask("doctor", Verb::ServiceStatus, None, None).await;
    findings.extend(findings_of(answer));
    findings.push(file(Path::new(POLICY_FILE)));
}

fn findings_of(answer: Result<ServiceReport, HostFailure>) -> [Finding; 2] {
    match answer {
        Ok(report) => {
            let detail = format!("service {} is {}", report.service, report.observed);
            [SOCKET.ok("it answers"), POLICY.ok(detail)]
        }
        // The policy may forbid even this request, but the helper answers.
        Err(HostFailure::Refused(error @ HostError::NotAllowed { .. })) => {
            [SOCKET.ok("it answers"), POLICY.ok(error.to_string())]
        }
        Err(HostFailure::Refused(error @ HostError::Forbidden { .. })) => {
            let advice = "run the doctor as root or as the agent's user; correct hostd.account of host.toml if it is neither";
            [
                SOCKET.failed(error.to_string(), advice),
                POLICY.skipped("trove-couchdb-hostd does not talk to this account"),
            ]
        }
        Err(HostFailure::Refused(error @ HostError::Policy { .. })) => {
            let advice = "correct host.toml as the reason says; check it with: trove-couchdb-hostd --check";
            [SOCKET.ok("it answers"), POLICY.failed(error.to_string(), advice)]
        }
        Err(HostFailure::Refused(error)) => {
            let advice = "correct the [service] of host.toml, or repair the service manager; docs/hostd.md has the reasons";
            [SOCKET.ok("it answers"), POLICY.failed(error.to_string(), advice)]
        }
        Err(failure) => {
            let advice = "look at `systemctl status trove-couchdb-hostd.socket` and `journalctl -u trove-couchdb-hostd`";
            [
                SOCKET.failed(failure.to_string(), advice),
                POLICY.skipped("trove-couchdb-hostd does not answer"),
            ]
        }
    }
}

fn file(path: &Path) -> Finding {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let advice = "docs/hostd.md shows how to write it; the package brings a sample";
            return FILE.failed(format!("{} does not exist", path.display()), advice);
        }
        Err(error) => return FILE.not_run(format!("{} can't be seen: {error}", path.display())),
    };
    let mode = metadata.mode() & 0o7777;
    let detail = format!("{} belongs to uid {} and has mode {mode:04o}", path.display(), metadata.uid());
    if metadata.is_file() && metadata.uid() == 0 && mode & WRITABLE_BY_OTHERS == 0 {
        return FILE.ok(detail);
    }
    let path = path.display();
    FILE.failed(detail, format!("run: chown root {path} && chmod go-w {path}; it must be a regular file"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::super::Verdict::{Failed, Ok as Fine, Skipped};
    use super::*;

    #[test]
    fn what_the_helper_says_is_judged() {
        let text = || "x".to_owned();
        let verdicts =
            |error: HostError| findings_of(Err(HostFailure::Refused(error))).map(|finding| finding.verdict);
        assert_eq!(verdicts(HostError::NotAllowed { what: text(), advice: text() }), [Fine, Fine]);
        assert_eq!(verdicts(HostError::Policy { reason: text() }), [Fine, Failed]);
        assert_eq!(verdicts(HostError::Backend { backend: text(), reason: text() }), [Fine, Failed]);
        assert_eq!(verdicts(HostError::Forbidden { uid: 7 }), [Failed, Skipped]);
        let silent = findings_of(Err(HostFailure::Silent { seconds: 5 }));
        assert_eq!(silent.map(|finding| finding.verdict), [Failed, Skipped]);
    }

    #[test]
    fn a_policy_that_others_may_write_is_a_fault() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("host.toml");
        assert_eq!(file(&path).verdict, Failed);
        fs::write(&path, "").unwrap();
        let is_root = fs::metadata(&path).unwrap().uid() == 0;
        for (mode, good) in [(0o640, true), (0o644, true), (0o664, false), (0o606, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let expected = if good && is_root { Fine } else { Failed };
            assert_eq!(file(&path).verdict, expected, "{mode:o}");
        }
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(file(&link).verdict, Failed, "a link");
    }
}
