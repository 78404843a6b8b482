//! What the packages are made from: that their versions agree, that what they name is there, and that Trove's image builder
//! understands the element. The packages themselves are built and installed by `make test-deb`, `make test-rpm` and
//! `make test-element` (packaging/tests), which take minutes and a chroot.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;

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
        let path = root().join("agent").join(source.replace("*.md", "architecture.md"));
        assert!(path.exists(), "{source}");
    }
}

/// A file that is added below one of these directories and forgotten in a package is seen here.
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

#[test]
fn diskimage_builder_understands_the_element() {
    let virtual_environment = root().join("tests/scripts/venv.sh");
    let made = Command::new(virtual_environment)
        .arg(root().join("packaging/tests/requirements.txt"))
        .arg(root().join("target/dib-venv"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let python = String::from_utf8(made.stdout).unwrap();
    let judged = Command::new(python.trim()).arg(root().join("packaging/tests/element.py")).output().unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));
}
