//! Files for other places of the system, checked by the programs that read them there: the unit by
//! systemd-analyze, the account by systemd-sysusers, the modes by systemd-tmpfiles. None of them requires a
//! running systemd.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Out of 10; 2.0 was required, and this is the current value: a change that weakens the sandbox fails here.
const EXPOSURE: f64 = 1.2;

/// The same for the helper, which runs as root: 3.0 was required.
const HOSTD_EXPOSURE: f64 = 0.7;

const AGENT: &str = "trove-couchdb-agent.service";
const HOSTD: &str = "trove-couchdb-hostd.service";

fn packaged(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(path).canonicalize().unwrap()
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}; `make deps` installs it"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn unit() -> String {
    unit_called(AGENT)
}

fn unit_called(name: &str) -> String {
    std::fs::read_to_string(packaged(&format!("systemd/{name}"))).unwrap()
}

fn security(name: &str, arguments: &[&str]) -> String {
    let unit = packaged(&format!("systemd/{name}"));
    let all = [&["security", "--offline=true", "--no-pager"], arguments, &[unit.to_str().unwrap()]].concat();
    let output = run("systemd-analyze", &all);
    assert!(!output.stdout.is_empty(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The names of the settings that may be relaxed, from the comments of the unit.
fn reasons(unit: &str) -> Vec<String> {
    let list = unit.split_once("has to stay so").expect("the list of what stays open").1;
    let names = list.lines().filter_map(|line| line.strip_prefix("# ")?.split_once("  "));
    names
        .filter(|(name, reason)| name.contains('=') && !reason.trim().is_empty())
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn the_units_exposure_is_low_and_each_open_door_has_its_reason() {
    for (name, limit) in [(AGENT, EXPOSURE), (HOSTD, HOSTD_EXPOSURE)] {
        let verdict = security(name, &[]);
        let score = verdict.rsplit_once(&format!("{name}: ")).expect("a score").1;
        let score: f64 = score.split_whitespace().next().unwrap().parse().unwrap();
        assert!(score <= limit, "exposure {score}, and it was {limit}:\n{verdict}");

        let checks: Vec<Value> = serde_json::from_str(&security(name, &["--json=short"])).unwrap();
        assert!(checks.len() > 70, "systemd-analyze told only {} things", checks.len());
        let open = checks.iter().filter(|check| !check["exposure"].is_null());
        let mut open: Vec<&str> = open.map(|check| check["name"].as_str().unwrap()).collect();
        let unit = unit_called(name);
        let mut with_reason = reasons(&unit);
        open.sort_unstable();
        with_reason.sort_unstable();
        assert_eq!(open, with_reason, "what is open, and what the comments of {name} give a reason for");
    }
}

/// The helper runs as root but without capabilities and network, and only a group may use its socket.
#[test]
fn the_helper_has_no_capability_no_network_and_a_guarded_socket() {
    let (service, socket) = (unit_called(HOSTD), unit_called("trove-couchdb-hostd.socket"));
    for line in ["CapabilityBoundingSet=", "PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"] {
        assert!(service.lines().any(|have| have == line), "{line}");
    }
    let group = format!("SocketGroup={}", trove_couchdb_system::ACCOUNT);
    let path = format!("ListenStream={}", trove_couchdb_protocol::host::DEFAULT_SOCKET);
    for line in ["SocketUser=root", &group, "SocketMode=0660", &path] {
        assert!(socket.lines().any(|have| have == line), "{line}");
    }
    assert!(!service.contains("[Install]"), "only the socket starts it");
}

/// Its manual page is written by hand: the tool that generates the others does not link the helper.
#[test]
fn the_helpers_manual_page_has_its_options() {
    let page = std::fs::read_to_string(packaged("man/trove-couchdb-hostd.8")).unwrap().replace('\\', "");
    let program = trove_couchdb_tests::agent::binary().unwrap().with_file_name("trove-couchdb-hostd");
    let help = text(&run(program.to_str().unwrap(), &["--help"]).stdout);
    let options: Vec<&str> = help.split_whitespace().filter(|word| word.starts_with("--")).collect();
    assert!(options.len() >= 5, "{help}");
    for option in options {
        assert!(page.contains(option.trim_end_matches(',')), "{option}");
    }
}

#[test]
fn systemd_understands_every_line_of_the_units() {
    let directory = tempfile::tempdir().unwrap();
    let units = [AGENT, HOSTD, "trove-couchdb-hostd.socket"];
    for name in units {
        // The programs are not installed where the tests run.
        let unit = unit_called(name).replace("/usr/bin/trove-couchdb-agent", "/bin/true");
        let unit = unit.replace("/usr/bin/trove-couchdb-hostd", "/bin/true");
        std::fs::write(directory.path().join(name), unit).unwrap();
    }
    for name in units {
        let copy = directory.path().join(name);
        let arguments = ["verify", "--man=no", "--recursive-errors=no", copy.to_str().unwrap()];
        let output = run("systemd-analyze", &arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{name}: {}", text(&output.stderr));
    }
}

/// A program that a minimal Debian lacks (`/bin/kill` is part of procps) would fail only when it is used.
#[test]
fn the_unit_starts_nothing_that_an_image_may_lack() {
    let unit = unit();
    let lines = unit.lines().filter(|line| line.starts_with("Exec"));
    let commands = lines.filter_map(|line| line.split_once('='));
    let programs: Vec<&str> =
        commands.map(|(_, run)| run.trim_start_matches(['-', '+']).split(' ').next().unwrap()).collect();
    let agent = "/usr/bin/trove-couchdb-agent";
    assert_eq!(programs, [agent, "/usr/bin/systemd-tmpfiles", agent, "/bin/sh"]);
    // An unconfigured package leaves no failed unit at each boot (agent/tests/usage.rs tests the answers).
    assert!(unit.contains("\nExecCondition=+/usr/bin/trove-couchdb-agent --is-configured\n"));
}

/// cloud-init 24.3 renamed the unit; images with both names exist.
#[test]
fn the_unit_waits_for_cloud_init_of_either_name_and_has_a_limit_of_memory() {
    let unit = unit();
    let values = |key: &str| -> Vec<&str> {
        let lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        lines.flat_map(str::split_whitespace).collect()
    };
    let after = values("After");
    for name in ["cloud-init.service", "cloud-init-network.service"] {
        assert!(after.contains(&name), "{name} in {after:?}");
    }
    assert_eq!(values("MemoryMax"), ["512M"]);
}

/// The ids of names in the files of a root directory.
fn ids(root: &Path, file: &str) -> BTreeMap<String, u32> {
    let accounts = std::fs::read_to_string(root.join("etc").join(file)).unwrap();
    let fields = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.map(|fields| (fields[0].to_owned(), fields[2].parse().unwrap())).collect()
}

#[test]
fn account_and_modes_are_as_documented() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: only root can make accounts and give files away");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    for directory in ["etc/trove/conf.d", "etc/trove-couchdb-agent", "opt/couchdb/etc/local.d"] {
        std::fs::create_dir_all(at(directory)).unwrap();
    }
    for file in [
        "etc/trove/conf.d/guest_info.conf",
        "etc/trove-couchdb-agent/agent.toml",
        "etc/trove-couchdb-agent/host.toml",
    ] {
        std::fs::write(at(file), "").unwrap();
        std::fs::set_permissions(at(file), Permissions::from_mode(0o644)).unwrap();
    }
    let in_root = format!("--root={}", root.path().display());
    let (accounts, modes) =
        (packaged("sysusers.d/trove-couchdb-agent.conf"), packaged("tmpfiles.d/trove-couchdb-agent.conf"));
    let output = run("systemd-sysusers", &[&in_root, accounts.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = run("systemd-tmpfiles", &[&in_root, "--create", modes.to_str().unwrap()]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));

    let passwd = std::fs::read_to_string(at("etc/passwd")).unwrap();
    let account = passwd.lines().find(|line| line.starts_with("trove-couchdb:")).expect("the unit's User=");
    assert!(account.ends_with(":/var/lib/trove-couchdb-agent:/usr/sbin/nologin"), "{account}");
    let groups = std::fs::read_to_string(at("etc/group")).unwrap();
    assert!(
        groups.lines().any(|line| line.starts_with("couchdb:") && line.ends_with(":trove-couchdb")),
        "{groups}"
    );

    let mut gid = ids(root.path(), "group");
    gid.insert("root".to_owned(), 0);
    for (path, mode, group) in [
        ("etc/trove/conf.d", 0o750, "trove-couchdb"),
        ("etc/trove/conf.d/guest_info.conf", 0o640, "trove-couchdb"),
        ("etc/trove-couchdb-agent", 0o750, "trove-couchdb"),
        ("etc/trove-couchdb-agent/agent.toml", 0o640, "trove-couchdb"),
        ("etc/trove-couchdb-agent/host.toml", 0o600, "root"),
        ("opt/couchdb/etc/local.d", 0o2770, "couchdb"),
    ] {
        let found = std::fs::metadata(at(path)).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (mode, 0, gid[group]), "{path}");
    }
}

/// The account's name is in four places.
#[test]
fn the_unit_the_account_and_the_agent_name_the_same_account() {
    let account = trove_couchdb_system::ACCOUNT;
    let unit = unit();
    for line in [
        format!("User={account}"),
        format!("Group={account}"),
        "StateDirectory=trove-couchdb-agent".to_owned(),
    ] {
        assert!(unit.lines().any(|have| have == line), "{line}");
    }
    for file in ["sysusers.d/trove-couchdb-agent.conf", "tmpfiles.d/trove-couchdb-agent.conf"] {
        assert!(std::fs::read_to_string(packaged(file)).unwrap().contains(account), "{file}");
    }
}
