//! The sources of the packages: their versions agree, the files that they name exist, and Trove's image
//! builder understands the element. `make test-deb`, `make test-rpm` and `make test-element`
//! (packaging/tests) build and install the packages, which takes minutes and a chroot.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod documentation;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use trove_couchdb_tests::agent::binary;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn manifest() -> toml::Table {
    read("agent/Cargo.toml").parse().unwrap()
}

#[test]
fn programs_packages_and_changelogs_have_one_version() {
    let version = env!("CARGO_PKG_VERSION");
    let spec = read("packaging/rpm/trove-couchdb-agent.spec");
    let in_spec = spec.lines().find_map(|line| line.strip_prefix("Version:")).unwrap().trim();
    assert_eq!(in_spec, version, "the spec's Version");
    let spec_changes = spec.split_once("%changelog\n").unwrap().1;
    assert!(spec_changes.lines().next().unwrap().ends_with(&format!(" - {version}-1")), "{spec_changes}");
    let debian = read("packaging/debian/changelog");
    assert!(debian.starts_with(&format!("trove-couchdb-agent ({version}-1) ")), "{debian}");
    assert!(read("CHANGELOG.md").contains(&format!("\n## [{version}]")), "CHANGELOG.md lacks {version}");
}

#[test]
fn the_debian_package_names_files_that_are_there() {
    let manifest = manifest();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    assert!(assets.len() > 15, "{assets:?}");
    for asset in assets {
        let source = asset[0].as_str().unwrap();
        if source.starts_with("target/") || source.starts_with("../target/") {
            // `make packages` builds it.
            continue;
        }
        let files = documentation::expanded(source.strip_prefix("../").unwrap());
        assert!(
            !files.is_empty() && files.iter().all(|file| root().join(file).is_file()),
            "{source}: {files:?}"
        );
    }
}

/// Fails for a file below these directories that is missing in a package.
#[test]
fn both_packages_bring_what_goes_to_the_system() {
    let (deb, spec) = (
        read("agent/Cargo.toml"),
        read("packaging/rpm/trove-couchdb-agent.spec").replace("%{name}", "trove-couchdb-agent"),
    );
    for directory in [
        "etc/trove-couchdb-agent",
        "packaging/systemd",
        "packaging/sysusers.d",
        "packaging/tmpfiles.d",
        "packaging/logrotate",
    ] {
        for file in std::fs::read_dir(root().join(directory)).unwrap() {
            let path = format!("{directory}/{}", file.unwrap().file_name().to_str().unwrap());
            assert!(deb.contains(&format!("\"../{path}\"")), "agent/Cargo.toml lacks {path}");
            assert!(spec.contains(&path), "the spec lacks {path}");
        }
    }
}

/// The Python with diskimage-builder and `PyYAML`.
fn python() -> String {
    let made = Command::new(root().join("tests/scripts/venv.sh"))
        .arg(root().join("packaging/tests/requirements.txt"))
        .arg(root().join("target/dib-venv"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

fn passes(command: &mut Command) -> String {
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap()
}

#[test]
fn diskimage_builder_understands_the_element() {
    passes(Command::new(python()).arg(root().join("packaging/tests/element.py")));
}

#[test]
fn the_sample_for_cloud_init_makes_a_configuration_that_the_agent_takes() {
    let directory = tempfile::tempdir().unwrap();
    passes(Command::new(python()).arg(root().join("packaging/tests/cloud_init.py")).arg(directory.path()));
    let nothing_of_trove = tempfile::tempdir().unwrap();
    let effective = passes(
        Command::new(binary().unwrap())
            .args(["--check-config", "--config"])
            .arg(directory.path().join("etc/trove-couchdb-agent/agent.toml"))
            .arg("--config-dir")
            .arg(nothing_of_trove.path()),
    );
    for line in ["transport_url = \"local:\"", "local_ini_dir = \"/opt/couchdb/etc/local.d\""] {
        assert!(effective.contains(line), "no {line} in:\n{effective}");
    }
}

/// Uses a fake cargo that records its arguments and stops at the second program.
#[test]
fn features_are_built_into_the_agent_and_not_into_the_tool() {
    let directory = tempfile::tempdir().unwrap();
    let (cargo, told) = (directory.path().join("cargo"), directory.path().join("told"));
    let script =
        format!("#!/bin/sh\necho \"$*\" >>'{}'\ncase \"$*\" in *-cli*) exit 1 ;; esac\n", told.display());
    std::fs::write(&cargo, script).unwrap();
    std::fs::set_permissions(&cargo, PermissionsExt::from_mode(0o755)).unwrap();
    for (features, agent) in
        [("", "-p trove-couchdb-agent"), ("otlp", "-p trove-couchdb-agent --features otlp")]
    {
        // As `make deb FEATURES=…` does.
        let make = ["--no-print-directory", "packages", &format!("FEATURES={features}")].map(str::to_owned);
        let ended = Command::new("make")
            .args(make)
            .env_remove("MAKEFLAGS")
            .env("CARGO", &cargo)
            .current_dir(root())
            .output()
            .unwrap();
        assert!(!ended.status.success());
        let lines = std::fs::read_to_string(&told).unwrap();
        let wanted =
            format!("build --release --locked {agent}\nbuild --release --locked -p trove-couchdb-cli\n");
        assert_eq!(lines, wanted);
        std::fs::remove_file(&told).unwrap();
    }
}
