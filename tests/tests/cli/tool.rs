//! Runs `trove-couchdb` as an operator does.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use trove_couchdb_tests::agent::{AgentProcess, binary};

const LIMIT: Duration = trove_couchdb_tests::until::HUNG;

/// The program with the options to reach an agent.
#[derive(Debug, Clone, Default)]
pub struct Tool {
    transport: Vec<String>,
    /// The directory of an agent's configuration, if the program uses one.
    configuration: Option<PathBuf>,
    environment: Vec<(String, String)>,
}

/// The result of a run.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub output: String,
    pub errors: String,
}

impl Tool {
    /// With these arguments before all others, and no configuration.
    pub fn plain(arguments: &[&str]) -> Self {
        let transport = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { transport, ..Self::default() }
    }

    /// With the configuration of an agent, and no transport option.
    pub fn configured(agent: &AgentProcess) -> Self {
        Self::new(agent, Vec::new())
    }

    /// With an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Over the agent's socket.
    pub fn local(agent: &AgentProcess) -> Self {
        Self::new(agent, vec!["--socket".to_owned(), agent.socket().display().to_string()])
    }

    /// Over RabbitMQ, with the connection settings of the agent's own files and the instance's id.
    pub fn broker(agent: &AgentProcess, id: &str) -> Self {
        Self::new(agent, vec!["--instance".to_owned(), id.to_owned()])
    }

    fn new(agent: &AgentProcess, transport: Vec<String>) -> Self {
        Self { transport, configuration: Some(agent.directory().to_owned()), environment: Vec::new() }
    }

    /// With a copy of the configuration in which a text of one file is replaced, like an operator's mistake.
    pub fn misconfigured(mut self, directory: &Path, file: &str, from: &str, to: &str) -> Result<Self> {
        let sound = self.configuration.take().context("no configuration")?;
        for name in ["agent.toml", "conf.d/guest_info.conf", "conf.d/trove-guestagent.conf"] {
            let mut text = std::fs::read_to_string(sound.join(name))?;
            if name == file {
                anyhow::ensure!(text.contains(from), "{file} has no {from}");
                text = text.replacen(from, to, 1);
            }
            std::fs::create_dir_all(directory.join("conf.d"))?;
            private(&directory.join(name), &text)?;
        }
        self.configuration = Some(directory.to_owned());
        Ok(self)
    }

    /// Runs a command line, with `input` as standard input.
    pub async fn run_with(&self, words: &[&str], input: &str) -> Result<Ended> {
        let program = binary()?.with_file_name("trove-couchdb");
        let mut command = Command::new(&program);
        // First, because arguments after `--` are not options.
        command.args(&self.transport);
        if let Some(directory) = &self.configuration {
            command.arg("--config-dir").arg(directory.join("conf.d"));
            command.arg("--config").arg(directory.join("agent.toml"));
        }
        let mut child = command
            .args(words)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", "/nonexistent")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}: run `make build`", program.display()))?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        // A program that does not read its input may have exited already.
        drop(stdin.write_all(input.as_bytes()).await);
        drop(stdin);
        let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.context("it hangs")??;
        Ok(Ended {
            code: output.status.code(),
            output: String::from_utf8(output.stdout)?,
            errors: String::from_utf8(output.stderr)?,
        })
    }

    pub async fn run(&self, words: &[&str]) -> Result<Ended> {
        self.run_with(words, "").await
    }

    /// A run that must succeed.
    pub async fn must(&self, words: &[&str]) -> Result<String> {
        self.must_with(words, "").await
    }

    pub async fn must_with(&self, words: &[&str], input: &str) -> Result<String> {
        let ended = self.run_with(words, input).await?;
        anyhow::ensure!(ended.code == Some(0), "{words:?}: {ended:?}");
        Ok(ended.output)
    }

    /// The JSON output of a run that must succeed.
    pub async fn json(&self, words: &[&str]) -> Result<Value> {
        let words: Vec<&str> = words.iter().copied().chain(["--output", "json"]).collect();
        Ok(serde_json::from_str(&self.must(&words).await?)?)
    }

    /// A run that must exit with this code; returns its errors.
    pub async fn refused(&self, code: i32, words: &[&str]) -> Result<String> {
        let ended = self.run(words).await?;
        anyhow::ensure!(ended.code == Some(code), "{words:?} should end with {code}: {ended:?}");
        anyhow::ensure!(!ended.errors.is_empty(), "{words:?} fails without a word");
        Ok(ended.errors)
    }
}

/// Writes a file that only its owner can read.
pub fn private(path: &Path, content: &str) -> Result<()> {
    trove_couchdb_tests::agent::write_private(path, content)
}
