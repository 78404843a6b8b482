//! Valid and invalid policies.

#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

pub(crate) const SYSTEMD: &str = "[service]\nname = \"couchdb\"\nallow = [\"service-status\", \"service-start\", \
                                  \"service-stop\", \"service-restart\", \"service-wait\"]\n[service.systemd]\nunit = \
                                  \"couchdb.service\"\n";

const COMMANDS: &str = "[service]\nname = \"couchdb\"\nallow = []\n[service.commands]\nstart = [\"/bin/true\"]\nstop = [\"/bin/true\"]\n\
                        status = [\"/bin/true\"]\n";

fn policy(text: &str) -> Policy {
    text.parse().unwrap()
}

fn refusal(text: &str) -> String {
    text.parse::<Policy>().unwrap_err()
}

fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("host.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    (directory, path)
}

#[test]
fn little_must_be_said() {
    let policy = policy(SYSTEMD);
    assert_eq!(policy.hostd.account, "trove-couchdb");
    assert_eq!(policy.hostd.idle_exit, Duration::from_secs(60));
    assert_eq!(policy.service.allow, Verb::names_of(Section::Service));
    let Manager::Systemd { unit } = &policy.service.manager else { unreachable!() };
    assert_eq!(unit.as_str(), "couchdb.service");
    assert_eq!((policy.packages, policy.couchdb), Default::default());
    assert!(policy.volume.allow.is_empty() && policy.volume.devices.is_empty());
    assert_eq!(policy.volume.file_system, FileSystem::Ext4);
}

#[test]
fn the_sample_is_valid_and_has_every_key() {
    let sample = include_str!("../../../etc/trove-couchdb-agent/host.toml");
    policy(sample);
    for key in KEYS {
        let (_, leaf) = key.rsplit_once('.').unwrap();
        let lines = sample.lines().map(|line| line.trim_start_matches("# "));
        assert!(
            lines.into_iter().any(|line| line.starts_with(&format!("{leaf} ="))),
            "{key} is not in the sample"
        );
    }
}

#[test]
fn the_document_has_every_key_and_no_other() {
    let page = include_str!("../../../docs/hostd.md");
    let table = page.split_once("\n## host.toml\n").unwrap().1.split_once("\n## ").unwrap().0;
    let listed: Vec<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(listed, KEYS);
}

/// The sample file with its commented-out settings enabled, one manager at a time.
#[test]
fn what_the_sample_has_commented_out_is_valid() {
    let sample = include_str!("../../../etc/trove-couchdb-agent/host.toml");
    let keys = |line: &&str| line.starts_with("# [") || line.contains(" = ") || line.starts_with('[');
    let all: Vec<&str> = sample.lines().filter(keys).map(|line| line.trim_start_matches("# ")).collect();
    for left_out in [["systemd", "docker"], ["systemd", "commands"], ["docker", "commands"]] {
        let mut text = String::new();
        let mut skipping = false;
        for line in &all {
            if line.starts_with('[') {
                skipping = left_out.iter().any(|manager| *line == format!("[service.{manager}]"));
            }
            if !skipping {
                text.push_str(line);
                text.push('\n');
            }
        }
        let policy = policy(&text);
        assert!(!policy.volume.devices.is_empty() && policy.couchdb.data_dir.is_some(), "{text}");
    }
}

#[test]
fn there_is_exactly_one_manager() {
    let none = refusal("[service]\nname = \"couchdb\"\nallow = []\n");
    assert!(none.starts_with("exactly one of [service.systemd], [service.docker] and"), "{none}");
    let two = format!("{COMMANDS}[service.systemd]\nunit = \"couchdb.service\"\n");
    assert_eq!(refusal(&two), none);
}

#[test]
fn unknown_and_unusable_settings_are_refused_with_their_place() {
    for (addition, part) in [
        ("[colour]\nsky = 1\n", "unknown field `colour`"),
        ("[hostd]\naccuont = \"x\"\n", "unknown field `accuont`"),
        ("[hostd]\naccount = \"\"\n", "hostd.account is empty"),
        ("[hostd]\nidle_exit = 0\n", "hostd.idle_exit can't be 0; write a whole number from 1 to 86400"),
        ("[hostd]\nmax_connections = 65\n", "hostd.max_connections can't be 65"),
        ("[volume]\ndevices = [\"/etc/passwd\"]\n", "write a path below /dev/"),
        ("[volume]\ndevices = [\"/dev/../etc/passwd\"]\n", "write a path below /dev/"),
        ("[volume]\ndevices = [\"/dev/*\"]\n", "write a path below /dev/"),
        ("[volume]\nmount_point = \"/\"\n", "write an absolute path below /"),
        (
            "[volume]\nallow = [\"volume-mount\"]\n",
            "volume.allow needs volume.devices and volume.mount_point",
        ),
        ("[volume]\nallow = [\"volume-wipe\"]\n", "volume.allow names the verb \"volume-wipe\""),
        ("[volume]\nlabel = \"thirteen-long\"\n", "volume.label"),
        ("[volume]\nlabel = \"a b\"\n", "volume.label"),
        ("[volume]\noptions = \"noatime, ro\"\n", "volume.options"),
        ("[volume]\nfile_system = \"btrfs\"\n", "unknown variant `btrfs`"),
        (
            "[volume]\nallow = [\"volume-mount\"]\ndevices = [\"/dev/vdb\"]\nmount_point = \"/srv\"\n[couchdb]\ndata_dir = \
             \"/var/lib/couchdb\"\n",
            "is not below volume.mount_point /srv",
        ),
        ("[hostd]\nstate_dir = \"var\"\n", "hostd.state_dir"),
        ("[packages]\nnames = [\"couchdb; rm\"]\n", "a package's name has"),
        ("[packages]\nnames = [\"-o\"]\n", "a package's name has"),
        ("[couchdb]\ndata_dir = \"data\"\n", "write an absolute path"),
    ] {
        let reason = refusal(&format!("{SYSTEMD}{addition}"));
        assert!(reason.contains(part), "{reason}");
    }
    for (text, part) in [
        ("name = \"couchdb\"", "line 1"),
        ("[service]\nname = \"x\"\n[service.systemd]\nunit = \"a.service\"", "missing field `allow`"),
        ("[service]\nname = \"../x\"\n[service.systemd]\nunit = \"a.service\"", "a service's name has"),
        ("[service]\nname = \"x\"\n[service.systemd]\nunit = \"ssh.socket\"", "full name of a service unit"),
        ("[service]\nname = \"x\"\n[service.systemd]\nunit = \"/x.service\"", "full name of a service unit"),
        (
            "[service]\nname = \"x\"\nallow = [\"reboot\"]\n[service.systemd]\nunit = \"a.service\"",
            "\"reboot\"",
        ),
        (
            "[service]\nname = \"x\"\nallow = []\nsettle = -1\n[service.systemd]\nunit = \"a.service\"",
            "service.settle",
        ),
        (
            "[service]\nname = \"x\"\nallow = []\ntimeout = 0\n[service.systemd]\nunit = \"a.service\"",
            "service.timeout",
        ),
    ] {
        let reason = refusal(text);
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn words_can_be_neither_options_nor_paths() {
    let text = |text: &str| text.to_owned();
    for bad in ["", "-x.service", "a b.service", "couchdb", ".service", "a/b.service"] {
        assert!(UnitName::try_from(text(bad)).is_err(), "{bad}");
    }
    assert!(UnitName::try_from(text("couchdb@1.service")).is_ok());
    for bad in ["", "-f", "../x", "a/b", "a?x=1", "a#"] {
        assert!(ContainerName::try_from(text(bad)).is_err(), "{bad}");
    }
    for (image, fits) in [
        ("apache/couchdb", true),
        ("reg.example:5000/couchdb", true),
        ("apache/couchdb:3", false),
        ("", false),
    ] {
        assert_eq!(ImageName::try_from(text(image)).is_ok(), fits, "{image}");
    }
    assert!(Arguments::try_from(Vec::new()).is_err());
    assert!(Arguments::try_from(vec![text("sh"), text("-c")]).is_err(), "no search in PATH");
    assert!(Arguments::try_from(vec![text("/bin/x"), text("a\0b")]).is_err());
}

#[test]
fn a_file_that_others_may_write_is_no_policy() {
    for (mode, fits) in [(0o640, true), (0o644, true), (0o400, true), (0o660, false), (0o646, false)] {
        let (_directory, path) = file(SYSTEMD, mode);
        let loaded = Policy::load(&path);
        assert_eq!(loaded.is_ok(), fits, "{mode:o}");
        if let Err(error) = loaded {
            let text = error.to_string();
            assert!(text.contains("may write to it; run: chown root /"), "{text}");
        }
    }
}

#[test]
fn only_roots_file_is_a_policy() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can give a file away");
        return;
    }
    let (_directory, path) = file(SYSTEMD, 0o644);
    std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
    let text = Policy::load(&path).unwrap_err().to_string();
    assert!(text.contains("belongs to uid 12345 and not to root"), "{text}");
}

#[test]
fn what_is_no_file_is_no_policy() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(Policy::load(directory.path()), Err(PolicyError::Unsafe { .. })));
    let missing = Policy::load(&directory.path().join("host.toml")).unwrap_err().to_string();
    assert!(missing.contains("docs/hostd.md"), "{missing}");
    let (_directory, path) = file(&format!("{SYSTEMD}#{}", "x".repeat(70_000)), 0o600);
    let long = Policy::load(&path).unwrap_err().to_string();
    assert!(long.ends_with("it has more than 65536 bytes"), "{long}");
}

#[test]
fn a_verb_needs_a_known_service_and_leave() {
    let mut policy = policy(SYSTEMD);
    let name = |text: &str| ServiceName::try_from(text.to_owned()).unwrap();
    assert!(policy.permits(&Verb::ServiceStop, None).is_ok());
    assert!(policy.permits(&Verb::ServiceStop, Some(&name("couchdb"))).is_ok());
    let other = policy.permits(&Verb::ServiceStop, Some(&name("ssh"))).unwrap_err().to_string();
    assert_eq!(other, "service-stop of service ssh is not allowed by host.toml: its [service] is couchdb");
    policy.service.allow.retain(|verb| verb != "service-stop");
    let no_leave = policy.permits(&Verb::ServiceStop, None).unwrap_err().to_string();
    let expected =
        "service-stop of service couchdb is not allowed by host.toml: add \"service-stop\" to service.allow";
    assert_eq!(no_leave, expected);
}
