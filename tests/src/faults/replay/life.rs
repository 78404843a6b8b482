//! Starts and ends the agent, and what fails while it lives.

use anyhow::Result;
use in_memory_couchdb::{Fault, Rule};
use std::path::PathBuf;

use super::super::schedule::Event;
use super::Replay;

impl Replay {
    pub(super) async fn start_agent(&mut self, life: &[&Event], ends: bool) -> Result<()> {
        self.prepare(life, ends)?;
        self.fixture.agent.start_again()?;
        self.fixture.agent.wait_ready().await?;
        self.runs_agent = true;
        Ok(())
    }

    /// Before the agent starts, decides which answers of CouchDB are held back and whether the disk accepts
    /// outcomes.
    fn prepare(&mut self, life: &[&Event], ends: bool) -> Result<()> {
        self.earlier = self.fixture.memory()?.log().entries().len();
        let refused = life.iter().any(|event| matches!(event, Event::Refused(_)));
        for event in life {
            // CouchDB fails at once, before the request has an effect or after.
            let (run, answer) = match event {
                Event::FailsForNow(run) => (run, (500, r#"{"error":"unknown_error","reason":"replayed"}"#)),
                Event::Fails(run) => (run, (400, r#"{"error":"bad_request","reason":"replayed"}"#)),
                Event::Begins(run) => (run, (0, "")),
                _ => continue,
            };
            if let (status @ 400.., body) = answer {
                let (method, path) = run.command.asks_for(&self.fixture);
                let fault = Fault::Answer { status, body: body.to_owned() };
                let rule = Rule::new(method, &path, fault).times(1);
                let rule = if status == 500 { rule.after_effect() } else { rule };
                self.fixture.memory()?.faults().add(rule);
                continue;
            }
            let is_refused = life.iter().any(|event| matches!(event, Event::Refused(of) if of == run));
            let is_recorded = life.iter().any(|event| matches!(event, Event::Recorded(of) if of == run));
            // If the disk refuses one outcome, it refuses those of later commands too.
            if is_refused || (ends && !is_recorded && !refused) {
                let (method, path) = run.command.asks_for(&self.fixture);
                self.fixture
                    .memory()?
                    .faults()
                    .add(Rule::new(method, &path, Fault::Hang).after_effect().times(1));
                self.held.push(run.clone());
            }
        }
        if refused {
            let file = self.outcomes();
            if file.exists() {
                std::fs::remove_file(&file)?;
            }
            std::fs::create_dir(&file)?;
        }
        Ok(())
    }

    pub(super) fn has_ended(&mut self) -> Result<&'static str> {
        self.runs_agent = false;
        self.link.end_silent();
        self.fixture.memory()?.faults().clear();
        self.held.clear();
        let file = self.outcomes();
        if file.is_dir() {
            std::fs::remove_dir(&file)?;
        }
        Ok("done")
    }

    fn outcomes(&self) -> PathBuf {
        self.fixture.agent.directory().join("state/outcomes")
    }

    /// Takes the end away from the last line of the file of outcomes.
    pub(super) fn tear(&self) -> Result<()> {
        let mut text = std::fs::read(self.outcomes())?;
        text.truncate(text.len().saturating_sub(10));
        Ok(std::fs::write(self.outcomes(), text)?)
    }
}
