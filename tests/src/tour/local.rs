//! The quick start: a CouchDB and the agent on this machine, without a broker and without root, and the
//! commands to type next.
//!
//! Caller: `src/bin/tour.rs`, which is `make run`. [`LocalTour::check`] sends commands of every family over
//! the local socket; the printed commands are for people, who use the program `trove-couchdb`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Transcript;
use super::steps::{ALICE, FILMS, NAMES, database, names, new_password};
use crate::couch::Credentials;
use crate::local_fixture::{LocalFixture, LocalFixtureBuilder};
use crate::shared_server::remove_leftovers;

/// The operator's tool, in the directory of the running program.
const TOOL: &str = "trove-couchdb";

/// Everything that the quick start needs, running.
#[derive(Debug)]
pub struct LocalTour {
    transcript: Transcript,
    fixture: LocalFixture,
}

impl LocalTour {
    /// Starts CouchDB and the agent, and waits until the agent is ready.
    pub async fn start() -> Result<Self> {
        println!("Starting a CouchDB and the agent, without a broker");
        let fixture = LocalFixtureBuilder::default().set("log.filter", "info").up().await?;
        // Left by an interrupted tour on the same server.
        remove_leftovers(&fixture.couch, |name| NAMES.contains(&name)).await?;
        let transcript = Transcript::default();
        let kind = if fixture.couch.memory().is_some() { "in-memory" } else { "real" };
        transcript.note("CouchDB", format!("{} ({kind})", fixture.couch.url()));
        transcript.note("agent", format!("pid {}, ready", fixture.agent.pid()));
        transcript.note("socket", fixture.agent.socket().display());
        Ok(Self { transcript, fixture })
    }

    /// Sends commands of every family over the socket and checks their effects; true if every check passed.
    pub async fn check(&mut self) -> Result<bool> {
        self.transcript.section("Over the local socket");
        let status = self.call("get_agent_status", json!({})).await;
        let serves = status["broker"]["state"] == "none" && status["couchdb"]["state"] == "healthy";
        self.transcript.check("the agent has no broker and a healthy CouchDB", serves);
        self.call("create_database", json!({"databases": [database(FILMS)]})).await;
        let alice = Credentials::new(ALICE, &new_password());
        let user = json!({"_name": ALICE, "_password": alice.password, "_databases": [database(FILMS)]});
        self.call("create_user", json!({"users": [user]})).await;
        let reads = self.fixture.client.reads(FILMS, Some(&alice)).await?;
        self.transcript.check("alice logs in to CouchDB and reads her database", reads);
        let public = self.fixture.client.reads(FILMS, None).await?;
        self.transcript.check("the anonymous user does not", !public);
        let access = self.call("list_access", json!({"username": ALICE, "hostname": "%"})).await;
        self.transcript.check("her access is listed", names(&access) == [FILMS]);
        let found = self.call("check_databases", json!({})).await;
        let open = found["public"].as_array().is_some_and(|names| names.iter().any(|name| name == FILMS));
        self.transcript.check("her database is not open to everybody", found["public"].is_array() && !open);
        self.call("delete_user", json!({"user": {"_name": ALICE}})).await;
        let gone = self.fixture.client.refuses(&alice).await?;
        self.transcript.check("deleted, she no longer logs in", gone);
        self.call("delete_database", json!({"database": database(FILMS)})).await;
        let left = self.call("list_databases", json!({})).await;
        self.transcript.check("her database is gone", !names(&left[0]).contains(&FILMS));
        Ok(self.transcript.finish())
    }

    /// Prints commands to try while everything is running.
    pub fn invite(&self) -> Result<()> {
        let tool = tool()?;
        let line = format!("{} --socket {}", tool.display(), self.fixture.agent.socket().display());
        println!(
            "\nThe agent runs until Ctrl-C. In another terminal, type:\n\n  \
             {line} status\n  \
             {line} database-create films\n  \
             {line} user-create alice --databases films\n  \
             curl -u alice {couch}/films\n\n\
             Its log: {log}",
            couch = self.fixture.couch.url(),
            log = self.fixture.agent.log_file().display(),
        );
        Ok(())
    }

    /// Stops the agent as systemd does; true if it exited cleanly and removed its socket.
    pub async fn stop(mut self) -> Result<bool> {
        let socket = self.fixture.agent.socket();
        let status = self.fixture.agent.terminate().await?;
        println!("agent ended: {status}");
        Ok(status.success() && !socket.exists())
    }

    /// Calls a method and prints the reply; a failure is a failed check and returns `null`.
    async fn call(&mut self, method: &str, args: Value) -> Value {
        self.transcript.command("call", method, &args);
        let outcome = self.fixture.call(method, args).await;
        self.transcript.outcome(outcome)
    }
}

/// The tool's path, relative to the current directory if possible.
fn tool() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find the running program")?;
    let path = own.with_file_name(TOOL);
    let here = std::env::current_dir().context("there is no current directory")?;
    Ok(path.strip_prefix(here).map_or(path.clone(), Into::into))
}
