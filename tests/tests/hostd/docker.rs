//! The helper with a real Docker engine, and the in-memory CouchDB as the container's program.
//!
//! A private engine in a temporary directory: no bridge, no firewall rules, files copied instead of mounted.
//! The tests are reported as skipped without dockerd or root.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use trove_couchdb_tests::hostd::HostdProcess;
use trove_couchdb_tests::process::{Process, Signal};
use trove_couchdb_tests::until::until;
use trove_couchdb_tests::{ports::PortBlock, test_log};

use super::service::{EVERY_VERB, answers, couchdb, last};

/// Debian's docker.io; a different program may be first in `PATH`.
const ENGINE: &str = "/usr/sbin/dockerd";
const CLIENT: &str = "/usr/bin/docker";

/// A private engine.
struct Engine {
    process: Process,
    directory: tempfile::TempDir,
}

impl Engine {
    async fn start() -> Result<Option<Self>> {
        let missing = [ENGINE, CLIENT].into_iter().find(|program| !Path::new(program).exists());
        if let Some(missing) = missing {
            test_log::skipped(&format!("there is no {missing} (Debian's docker.io)"));
            return Ok(None);
        }
        if !rustix::process::geteuid().is_root() {
            test_log::skipped("dockerd needs root");
            return Ok(None);
        }
        let directory = tempfile::Builder::new().prefix("trove-docker-").tempdir()?;
        let path = |name: &str| directory.path().join(name);
        let log = File::create(path("log"))?;
        let mut command = Command::new(ENGINE);
        command
            .args(["--storage-driver=vfs", "--bridge=none", "--iptables=false", "--ip6tables=false"])
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg(format!("--host=unix://{}", path("sock").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = Process::spawn(&mut command, None)?;
        let mut engine = Self { process, directory };
        let up = until("dockerd answers", async || {
            let ended = engine.process.status()?;
            ensure!(ended.is_none(), "dockerd ended");
            Ok(engine.docker(&["version"]).is_ok())
        });
        if up.await.is_err() {
            let log = std::fs::read_to_string(engine.path("log")).unwrap_or_default();
            let why = log.lines().last().unwrap_or("no log");
            test_log::skipped(&format!("dockerd does not run on this machine: {why}"));
            return Ok(None);
        }
        Ok(Some(engine))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn docker(&self, arguments: &[&str]) -> Result<String> {
        let host = format!("unix://{}", self.path("sock").display());
        let output = Command::new(CLIENT).arg("--host").arg(host).args(arguments).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "docker {arguments:?}: {error}");
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Creates an image of the in-memory CouchDB with its libraries, under this name.
    fn import(&self, image: &str) -> Result<()> {
        let root = self.path("root");
        let program = couchdb()?;
        let libraries = Command::new("ldd").arg(&program).output()?;
        let libraries = String::from_utf8_lossy(&libraries.stdout).into_owned();
        let words = libraries.split_whitespace().filter(|word| word.starts_with('/'));
        for library in words {
            let place = root.join(library.trim_start_matches('/'));
            std::fs::create_dir_all(place.parent().context("a library without a directory")?)?;
            std::fs::copy(library, place)?;
        }
        std::fs::copy(&program, root.join("couchdb"))?;
        let archive = self.path("image.tar");
        let mut tar = tar::Builder::new(File::create(&archive)?);
        tar.append_dir_all(".", &root)?;
        tar.finish()?;
        self.docker(&["import", archive.to_str().context("a path that is no text")?, image])?;
        Ok(())
    }
}

/// On SIGTERM the engine stops its containers and helper programs; SIGKILL would leave them running.
impl Drop for Engine {
    fn drop(&mut self) {
        let mut running = self.process.signal(Signal::TERM).is_ok();
        for _ in 0..300 {
            running = running && matches!(self.process.status(), Ok(None));
            if !running {
                break;
            }
            drop(Command::new("sleep").arg("0.1").status());
        }
        // A leftover mount of the engine prevents removing the directory.
        let netns = self.path("exec/netns/default");
        if netns.exists() {
            drop(Command::new("umount").arg(netns).status());
        }
    }
}

fn policy(engine: &Engine, container: &str, tag: &str) -> String {
    let ours = rustix::process::geteuid().as_raw();
    format!(
        "[hostd]\naccount = \"{ours}\"\n[service]\nname = \"couchdb\"\nsettle = 0.5\n{EVERY_VERB}\n[service.docker]\nsocket = \"{}\"\n\
         container = \"{container}\"\nimage = \"example/couchdb\"\ntag = \"{tag}\"\n",
        engine.path("sock").display()
    )
}

fn ask(verb: &str) -> Value {
    json!({"id": "docker", "verb": verb})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_started_stopped_and_restarted() -> Result<()> {
    let Some(engine) = Engine::start().await? else { return Ok(()) };
    engine.import("example/couchdb:3.5.0")?;
    let ports = PortBlock::reserve()?;
    let port = ports.port(0);
    let (number, url) = (port.to_string(), format!("http://127.0.0.1:{port}"));
    let create =
        ["create", "--network=host", "--name=couchdb", "example/couchdb:3.5.0", "/couchdb", "--admin", "a:b"];
    engine.docker(&[&create[..], &["--iterations", "10", "--port", &number]].concat())?;
    let hostd = HostdProcess::start(&policy(&engine, "couchdb", "3.5.0")).await?;

    let made = hostd.ask(&ask("service-status")).await?;
    assert_eq!(made["done"]["state"], "stopped", "{made}");
    let started = hostd.ask(&ask("service-start")).await?;
    assert_eq!((&started["done"]["state"], &started["done"]["changed"]), (&json!("running"), &json!(true)));
    until("CouchDB answers in its container", async || Ok(answers(&url).await)).await?;
    let again = hostd.ask(&ask("service-start")).await?;
    assert_eq!(again["done"]["changed"], false);

    let restarted = hostd.ask(&ask("service-restart")).await?;
    assert_eq!(restarted["done"]["state"], "running", "{restarted}");
    assert_ne!(restarted["done"]["instance"], started["done"]["instance"]);
    assert_ne!(restarted["done"]["main_pid"], started["done"]["main_pid"]);
    until("CouchDB answers after the restart", async || Ok(answers(&url).await)).await?;

    let stopped = hostd.ask(&ask("service-stop")).await?;
    assert_eq!((&stopped["done"]["state"], &stopped["done"]["changed"]), (&json!("stopped"), &json!(true)));
    assert!(!answers(&url).await);
    assert_eq!(engine.docker(&["inspect", "--format={{.State.Running}}", "couchdb"])?, "false");
    assert_eq!(hostd.audit()?.len(), 5);
    drop(hostd);

    // A container of this name from a different image is not touched, nor is a missing one created.
    for (container, tag, reason) in [
        (
            "couchdb",
            "3.4.0",
            "was made from example/couchdb:3.5.0, and host.toml allows example/couchdb:3.4.0",
        ),
        ("other", "3.5.0", "create it from example/couchdb:3.5.0"),
    ] {
        let hostd = HostdProcess::start(&policy(&engine, container, tag)).await?;
        let told = hostd.ask(&ask("service-start")).await?;
        assert_eq!(told["failed"]["kind"], "backend");
        assert!(told["failed"]["reason"].as_str().unwrap().contains(reason), "{told}");
        assert_eq!(last(&hostd)?["outcome"], "backend");
    }
    assert_eq!(engine.docker(&["inspect", "--format={{.State.Running}}", "couchdb"])?, "false");

    let socket = engine.path("sock");
    let policy = policy(&engine, "couchdb", "3.5.0");
    drop(engine);
    let hostd = HostdProcess::start(&policy).await?;
    let told = hostd.ask(&ask("service-status")).await?;
    let reason = told["failed"]["reason"].as_str().unwrap();
    assert!(reason.starts_with(&format!("the engine at {} does not answer", socket.display())), "{told}");
    Ok(())
}
