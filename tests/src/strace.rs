//! `strace` on a running agent: to observe its system calls, or to delay some of them.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;

use crate::{agent::AgentProcess, process::Process, test_log, until::until};

/// strace, attached to all threads of an agent until it is dropped or the agent exits.
#[derive(Debug)]
pub struct Strace(Process);

impl Strace {
    /// Returns `None`, and reports the test as skipped, if tracing is not permitted.
    pub async fn attach(agent: &AgentProcess, arguments: &[&str]) -> Result<Option<Self>> {
        let errors = agent.directory().join("strace.errors");
        let mut command = Command::new("strace");
        command.arg("-f").args(arguments).args(["-p", &agent.pid().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&errors)?);
        let mut strace = Process::spawn(&mut command, None)?;
        let mut ended = false;
        until("strace on the agent", async || {
            ended = strace.status()?.is_some();
            Ok(ended || std::fs::read_to_string(&errors)?.contains(" attached"))
        })
        .await?;
        if ended {
            let why = std::fs::read_to_string(&errors)?;
            test_log::skipped(&format!("the agent can't be traced: {}", why.trim()));
            return Ok(None);
        }
        Ok(Some(Self(strace)))
    }

    /// Delays every rename, so that a process that sees the new file acts before the agent continues.
    pub async fn slow_renames(agent: &AgentProcess, delay: Duration) -> Result<Option<Self>> {
        const CALLS: &str = "rename,renameat,renameat2";
        let slow = format!("inject={CALLS}:delay_exit={}ms", delay.as_millis());
        Self::attach(agent, &["-o", "/dev/null", "-e", &format!("trace={CALLS}"), "-e", &slow]).await
    }

    /// # Errors
    /// If strace has exited.
    pub fn must_be_attached(&mut self) -> Result<()> {
        anyhow::ensure!(self.0.status()?.is_none(), "strace has ended");
        Ok(())
    }
}
