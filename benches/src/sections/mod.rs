//! The sections of the report, which are measured independently.

pub mod commands;
pub mod fleet;
pub mod growth;
pub mod hashing;
pub mod rpc;
mod scan;
pub mod start;

use std::{collections::BTreeMap, fmt, process::Command, str::FromStr};

use anyhow::{Result, bail};

use crate::{results::Section, sizes::Sizes};

/// The name of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// Start, idle, size.
    Start,
    /// Calls that need no CouchDB.
    Rpc,
    /// Commands of the agent and of the Python code.
    Commands,
    /// Pages with growing numbers of users and databases.
    Growth,
    /// PBKDF2.
    Hashing,
    /// Many agents on one broker.
    Fleet,
}

impl Name {
    /// All sections, in the order of the report.
    pub const ALL: [Self; 6] =
        [Self::Rpc, Self::Commands, Self::Growth, Self::Start, Self::Hashing, Self::Fleet];
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Rpc => "rpc",
            Self::Commands => "commands",
            Self::Growth => "growth",
            Self::Hashing => "hashing",
            Self::Fleet => "fleet",
        })
    }
}

impl FromStr for Name {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|name| name.to_string() == text) {
            Some(name) => Ok(name),
            None => bail!("there is no section {text:?}: start, rpc, commands, growth, hashing, fleet"),
        }
    }
}

/// Measures one section.
pub async fn run(name: Name, sizes: &Sizes) -> Result<Section> {
    let mut section = match name {
        Name::Start => start::measure(sizes).await,
        Name::Rpc => rpc::measure(sizes).await,
        Name::Commands => commands::measure(sizes).await,
        Name::Growth => growth::measure(sizes).await,
        Name::Hashing => hashing::measure(sizes).await,
        Name::Fleet => fleet::measure(sizes).await,
    }?;
    section.measured = format!("{}, sizes: {}", said(&["date", "-u", "+%F %R UTC"]), sizes.name);
    Ok(section)
}

/// The machine's properties that a reader must know.
pub fn machine() -> BTreeMap<String, String> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let sha = if cpu.contains("sha_ni") { "with SHA extensions" } else { "without SHA extensions" };
    let facts = [
        ("processor", format!("{} ({sha})", model.unwrap_or("unknown"))),
        ("cores", cores.to_string()),
        ("kernel", said(&["uname", "-sr"])),
        ("commit", said(&["git", "describe", "--always", "--dirty"])),
        ("rust", said(&["rustc", "--version"])),
        ("python", said(&["python3", "--version"])),
        ("rabbitmq", said(&["dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server"])),
        ("load before", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()),
    ];
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn said(command: &[&str]) -> String {
    let Some((program, arguments)) = command.split_first() else { return String::new() };
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
