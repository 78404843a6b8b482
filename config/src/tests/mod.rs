//! Tests of the whole configuration: real files on disk, all layers, the documents that describe them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod documents;
mod local;
mod precedence;
mod refusals;
mod secrets;
mod trove_files;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use crate::{BrokerSettings, ConfigError, Override, Settings, Sources, check};

/// The required options of an instance.
const REQUIRED: &str = "[DEFAULT]\nguest_id = g-1\ntransport_url = rabbit://u:p@broker:5672/\n";

/// The layers of one test. The files are always named explicitly, so the machine's own `/etc` is never read.
#[derive(Default)]
struct Layers<'a> {
    toml: &'a str,
    /// Name and text of the injected files.
    conf: &'a [(&'a str, &'a str)],
    environment: &'a [(&'a str, &'a str)],
    command_line: &'a [(&'static str, &'a str)],
}

impl<'a> Layers<'a> {
    /// A complete configuration with this `agent.toml`.
    fn toml(toml: &'a str) -> Self {
        Self { toml, conf: &[("a.conf", REQUIRED)], ..Self::default() }
    }

    /// A configuration with only these injected files.
    fn conf(conf: &'a [(&'a str, &'a str)]) -> Self {
        Self { conf, ..Self::default() }
    }

    /// A complete configuration with these command-line options.
    fn options(command_line: &'a [(&'static str, &'a str)]) -> Self {
        Self { command_line, ..Self::toml("") }
    }

    /// A complete configuration with these environment variables.
    fn variables(environment: &'a [(&'a str, &'a str)]) -> Self {
        Self { environment, ..Self::toml("") }
    }

    fn warnings(&self) -> Vec<String> {
        self.settings().unwrap().warnings
    }

    fn broker(&self) -> BrokerSettings {
        self.settings().unwrap().broker.unwrap()
    }

    fn settings(&self) -> Result<Settings, ConfigError> {
        self.with_sources(Settings::load)
    }

    fn check(&self) -> Result<String, ConfigError> {
        self.with_sources(check)
    }

    /// The text of the error, without the path of the temporary directory.
    fn refusal(&self) -> String {
        self.settings().expect_err("the configuration should be refused").to_string()
    }

    fn with_sources<T>(&self, act: impl FnOnce(Sources, Vec<(OsString, OsString)>) -> T) -> T {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("agent.toml");
        fs::write(&own, self.toml).unwrap();
        let injected: PathBuf = directory.path().join("conf.d");
        fs::create_dir(&injected).unwrap();
        for (name, text) in self.conf {
            fs::write(injected.join(name), text).unwrap();
        }
        let overrides = self.command_line.iter().map(|(key, text)| Override {
            key,
            option: "--test",
            text: (*text).to_owned(),
        });
        let sources = Sources {
            config_file: Some(own),
            oslo_files: Vec::new(),
            oslo_dirs: vec![injected],
            overrides: overrides.collect(),
        };
        let home = [("HOME".into(), "/home/agent".into())];
        let variables = self.environment.iter().map(|(name, value)| (name.into(), value.into()));
        act(sources, home.into_iter().chain(variables).collect())
    }
}
