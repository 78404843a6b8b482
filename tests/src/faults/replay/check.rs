//! The guarantees that are checked after a replay.

use anyhow::Result;
use serde_json::json;

use super::super::schedule::Command;
use super::{IN_VAIN, Replay, path_of};
use crate::bus::{CallError, Request};

impl Replay {
    /// After the schedule, waits until everything has settled and checks the guarantees.
    pub(super) async fn checker(&mut self) -> Result<Vec<String>> {
        self.link.end_silent();
        self.fixture.memory()?.faults().clear();
        if !self.runs_agent {
            self.fixture.agent.start_again()?;
            self.fixture.agent.wait_ready().await?;
        }
        // This call waits for all commands sent before it.
        drop(self.fixture.bus.request(&Request::new("list_databases", json!({}))).await?);
        let mut wrong = self.answers().await;
        let order = self.first_runs()?;
        for thing in self.things() {
            let last = order.iter().rev().find_map(|command| Some((command, command.makes(thing)?)));
            let Some((last, is_made)) = last else { continue };
            if self.is_there(thing).await? != is_made {
                wrong.push(format!("{} is not as {} left it, which was the last", thing.1, last.method));
            }
        }
        if wrong.is_empty() && self.marked && !self.document(false).await? {
            wrong.push("what was in the last database is gone".to_owned());
        }
        wrong.extend(self.overtaken()?);
        Ok(wrong)
    }

    /// Calls whose callers still wait, and commands that succeeded for one caller and failed for another.
    async fn answers(&mut self) -> Vec<String> {
        let (mut wrong, mut answered): (Vec<String>, Vec<(Command, bool)>) = (Vec::new(), Vec::new());
        let mut all = Vec::new();
        for (command, reply, until) in std::mem::take(&mut self.calls) {
            let gives_up = until.is_some();
            all.push((command, gives_up, reply.within(IN_VAIN).await));
        }
        for (command, answer, _connection) in std::mem::take(&mut self.local) {
            all.push((command, false, answer.within(IN_VAIN).await));
        }
        for (command, gives_up, answer) in all {
            match answer {
                Err(CallError::Timeout(_)) if !gives_up => {
                    wrong.push(format!("{} is never answered ({:?})", command.method, command.way));
                }
                Ok(_) | Err(CallError::Failure(_)) => answered.push((command, answer.is_ok())),
                // The caller gave up, or the agent was killed with its socket.
                Err(_) => {}
            }
        }
        for (at, (command, succeeded)) in answered.iter().enumerate() {
            let differs = |(other, result): &&(Command, bool)| other.is_same(command) && result != succeeded;
            if let Some((other, _)) = answered.iter().skip(at + 1).find(differs) {
                let (method, one, two) = (&command.method, command.way, other.way);
                wrong.push(format!("{method} is answered differently to {one:?} and {two:?}"));
            }
        }
        wrong
    }

    fn things(&self) -> Vec<(bool, &str)> {
        let mut all: Vec<_> = self.sent.iter().flat_map(|(command, _)| command.things()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    async fn is_there(&self, (is_user, name): (bool, &str)) -> Result<bool> {
        let name = self.fixture.name(name);
        if is_user {
            return Ok(self.fixture.user_document(&name).await?.is_some());
        }
        let admin = Some(self.fixture.couch.admin());
        Ok(self.fixture.client.get(&format!("/{name}"), admin).await?.0.is_success())
    }

    /// When CouchDB has carried a command out: places in its log.
    fn runs_of(&self, command: &Command) -> Result<Vec<usize>> {
        let (method, path) = command.asks_for(&self.fixture);
        let entries = self.fixture.memory()?.log().entries();
        let is_done = |status: Option<u16>| status.is_some_and(|status| status < 300);
        let of = entries.iter().enumerate().filter(|(_, entry)| {
            entry.method == method && path_of(&entry.target) == path && is_done(entry.status)
        });
        Ok(of.map(|(at, _)| at).collect())
    }

    /// The commands that have run, in the order of their first runs.
    fn first_runs(&self) -> Result<Vec<&Command>> {
        let mut all = Vec::new();
        for (command, _) in self.sent.iter().filter(|(command, _)| !command.only_reads()) {
            if let Some(first) = self.runs_of(command)?.first() {
                all.push((*first, command));
            }
        }
        all.sort_by_key(|(first, _)| *first);
        Ok(all.into_iter().map(|(_, command)| command).collect())
    }

    /// Commands that ran again although a conflicting one has run in between.
    fn overtaken(&self) -> Result<Vec<String>> {
        let order = self.first_runs()?;
        let mut wrong = Vec::new();
        for (at, earlier) in order.iter().enumerate() {
            for later in order.iter().skip(at + 1).filter(|later| later.conflicts_with(earlier)) {
                // Two commands can have the same request to CouchDB.
                let is_seen_as = earlier.asks_for(&self.fixture) == later.asks_for(&self.fixture);
                if !is_seen_as && self.runs_of(earlier)?.last() > self.runs_of(later)?.first() {
                    let (earlier, later) = (&earlier.method, &later.method);
                    wrong.push(format!("{earlier} ran again although {later} has run since"));
                }
            }
        }
        Ok(wrong)
    }
}
