//! Every command of the documentation is run or, if that would take a cloud or hours, checked by its parser;
//! the exceptions are listed below with reasons.
//!
//! A command is a line of a ```` ```sh ```` block of any Markdown file of the repository, or follows a prompt
//! in the image element's README.rst. `make walk` runs whole pages in a Debian of its own;
//! `tests/cli/documented.rs` runs the commands of the two programs, and requests to the metrics.
//! `packaging/tests/element.py` parses those of diskimage-builder; `tests/control_plane` uses the parsers of
//! OpenStack's programs; this file checks `make` and `cargo` commands.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use trove_couchdb_tests::doc_commands::{Documented, Runner, commands, inline, pages, read, runner, top};

const RUN_PY: &str = "tests/control_plane/run.py, of `make test`, does the same for each version of Trove";

/// Why the element's preparations are not run unchanged.
const ELEMENT_SH: &str =
    "packaging/tests/element.sh makes such an environment, and says which of these tools is missing";

/// Why the first steps of an adoption are not run unchanged.
const ADOPTED: &str = "tests/tests/integration/bootstrap.rs adopts a server that has an administrator";

/// Commands that no test runs unchanged: page, the command without its comment, reason.
const NOT_RUN: &[(&str, &str, &str)] = &[
    (
        "SECURITY.md",
        "trove-couchdb --config-file /etc/trove/trove.conf --instance 6ee49ee8-… broker-user | sh",
        "tests/tests/cli/broker_user.rs gives what broker-user shows to a shell, on a node of its own",
    ),
    (
        "packaging/dib/trove-couchdb-agent/README.rst",
        "sudo apt-get install -y curl debootstrap dosfstools gdisk gnupg kpartx python3-venv qemu-utils",
        ELEMENT_SH,
    ),
    ("packaging/dib/trove-couchdb-agent/README.rst", "python3 -m venv dib && . dib/bin/activate", ELEMENT_SH),
    ("packaging/dib/trove-couchdb-agent/README.rst", "pip install diskimage-builder", ELEMENT_SH),
    (
        "docs/adopt.md",
        "install -m 640 -g trove-couchdb /dev/stdin /etc/trove-couchdb-agent/bootstrap-password",
        ADOPTED,
    ),
    ("docs/adopt.md", "systemctl restart trove-couchdb-agent", ADOPTED),
    ("tests/control_plane/README.md", "cd tests/control_plane", RUN_PY),
    (
        "tests/control_plane/README.md",
        "../../target/trove-26.0.0/bin/python -m pytest -x test_create.py test_users.py",
        RUN_PY,
    ),
];

fn every_command() -> Vec<Documented> {
    pages().unwrap().iter().flat_map(|page| commands(page).unwrap()).collect()
}

fn not_run(command: &Documented) -> bool {
    NOT_RUN.iter().any(|(page, text, _)| *page == command.page && *text == command.bare())
}

fn run_by(wanted: Runner) -> Vec<Documented> {
    let all = every_command().into_iter();
    all.filter(|command| !not_run(command) && runner(command).unwrap() == Some(wanted)).collect()
}

#[test]
fn each_command_is_run_by_a_test() {
    let all = every_command();
    assert!(all.len() > 100, "only {} commands found", all.len());
    let nobody: Vec<String> = all
        .iter()
        .filter(|command| !not_run(command) && runner(command).unwrap().is_none())
        .map(|command| format!("{}:{}: {}", command.page, command.line, command.bare()))
        .collect();
    assert!(
        nobody.is_empty(),
        "nobody runs these; NOT_RUN is for what can't be run, with the reason:\n{}",
        nobody.join("\n")
    );
    for (page, text, _) in NOT_RUN {
        let there = all.iter().any(|command| command.page == *page && command.bare() == *text);
        assert!(there, "NOT_RUN has what {page} has not: {text}");
    }
    let everybody = [
        Runner::Walk,
        Runner::Tool,
        Runner::ControlPlane,
        Runner::Followed,
        Runner::Install,
        Runner::Make,
        Runner::Cargo,
        Runner::Element,
    ];
    for runner in everybody {
        assert!(!run_by(runner).is_empty(), "{runner:?} has nothing to do");
    }
}

/// The words of a command without shell expansions.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            letter => words.last_mut().unwrap().push(letter),
        }
    }
    words.into_iter().filter(|word| !word.is_empty()).collect()
}

/// The variables that the Makefile reads.
fn variables() -> BTreeSet<String> {
    let makefile = read("Makefile").unwrap();
    let names = makefile.split("$(").skip(1).map(|rest| {
        let inside = rest.split([')', ',']).next().unwrap();
        inside.rsplit(' ').next().unwrap().to_owned()
    });
    // The server and the release are passed on to the programs.
    names.chain(["BUILD", "COUCHDB_URL", "COUCHDB_HOME"].map(str::to_owned)).collect()
}

/// The error of `make -n` for a command line, which may begin with environment variables.
fn make_refuses(line: &str) -> Option<String> {
    let known = variables();
    let words: Vec<String> = words(line).into_iter().filter(|word| word != "make").collect();
    let unknown: Vec<_> = words
        .iter()
        .filter_map(|word| Some(word.split_once('=')?.0).filter(|name| !known.contains(*name)))
        .collect();
    if !unknown.is_empty() {
        return Some(format!("the Makefile does not know {unknown:?}"));
    }
    let output = Command::new("make").arg("-n").args(&words).current_dir(top()).output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn make_has_every_target_of_the_documentation() {
    assert!(make_refuses("make no-such-target").is_some() && make_refuses("make run NONSENSE=1").is_some());
    for command in run_by(Runner::Make) {
        let refused = make_refuses(&command.bare());
        assert_eq!(refused, None, "{}:{}: {}", command.page, command.line, command.text);
    }
    let mut seen = 0;
    for page in pages().unwrap() {
        for (line, code) in inline(&page).unwrap() {
            // `make fuzz SECONDS=…` and similar texts are patterns.
            if code.starts_with("make ") && !code.contains('…') {
                seen += 1;
                assert_eq!(make_refuses(&code), None, "{page}:{line}: {code}");
            }
        }
    }
    assert!(seen > 20, "only {seen} times make in the text");
}

/// Installs into a directory in place of `/`, on a system without Trove's group.
#[test]
fn what_is_to_be_installed_is_there() {
    let root = tempfile::tempdir().unwrap();
    for command in run_by(Runner::Install) {
        let text = command.bare().replace(" /etc/", &format!(" {}/etc/", root.path().display()));
        let ended = Command::new("sh")
            .args(["-ec", &text.replace(" -g trove ", " ")])
            .current_dir(top())
            .output()
            .unwrap();
        assert!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
    for file in ["cloudinit/couchdb.cloudinit", "templates/couchdb/config.template", "trove-guestagent.conf"]
    {
        assert!(root.path().join("etc/trove").join(file).is_file(), "{file} is not installed");
    }
}

/// The packages of the workspace with the names of their test targets.
fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let tests = |package: &Value| {
        let targets = package["targets"].as_array().unwrap().iter();
        let tests = targets.filter(|target| target["kind"][0] == "test");
        tests.map(|target| target["name"].as_str().unwrap().to_owned()).collect()
    };
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.map(|package| (package["name"].as_str().unwrap().to_owned(), tests(package))).collect()
}

#[test]
fn cargo_has_the_packages_and_tests_that_the_documentation_names() {
    let packages = packages();
    for command in run_by(Runner::Cargo) {
        let words = words(&command.bare());
        assert!(["build", "run", "test"].contains(&words[1].as_str()), "{command:?}");
        let mut package = None;
        for pair in words.windows(2) {
            match pair[0].as_str() {
                "-p" => {
                    package = packages.get(&pair[1]);
                    assert!(package.is_some(), "no package {}: {command:?}", pair[1]);
                }
                "--test" => assert!(package.unwrap().contains(&pair[1]), "no test {}: {command:?}", pair[1]),
                _ => {}
            }
        }
    }
}
