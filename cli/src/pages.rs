//! `completions` and `man`: made from the definitions of the command lines, so that they can't lag behind them. The
//! agent's are made here too, so that a daemon needs no verb for it.

use std::{fs, path::Path};

use clap::{Command, CommandFactory};
use trove_couchdb_agent::args::Args as Agent;

use crate::{
    args::{Cli, CompletionsArgs, ManArgs},
    exit::{CliError, Code},
    output::Report,
};

/// What stands in the agent's manual page beyond its `--help`.
const AGENT_FILES: &str = "\
FILES: /etc/trove-couchdb-agent/agent.toml has every key with its default in comments; /etc/trove/conf.d/*.conf are the \
files that Trove injects. /var/lib/trove-couchdb-agent/ is the state, .os_couchdb_admin_creds.json there the only copy of \
os_admin's password. /run/trove-couchdb-agent/agent.sock is the socket of trove-couchdb(1).

EXIT STATUS: 0 after SIGTERM, 1 after a failure that a new start may heal, 64 for wrong usage or a configuration that is \
refused; systemd does not start it anew then.

SEE ALSO: trove-couchdb(1), trove-couchdb-doctor(1), and all settings in \
/usr/share/doc/trove-couchdb-agent/docs/configuration.md.";

/// The section of the manual where daemons are.
const DAEMONS: &str = "8";

/// The completions for a shell.
pub fn completions(args: &CompletionsArgs) -> Report {
    let mut command = if args.agent { Agent::command() } else { Cli::command() };
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    Report::Text(String::from_utf8_lossy(&script).into_owned())
}

/// The main page, or all pages into a directory.
pub fn man(args: &ManArgs) -> Result<Report, CliError> {
    let failed = |error: std::io::Error| CliError::new(Code::Failed, format!("no manual page: {error}"));
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(failed)?;
        return Ok(Report::Text(String::from_utf8_lossy(&page).into_owned()));
    };
    write_pages(dir).map_err(|error| {
        CliError::new(
            Code::Failed,
            format!("the manual pages can't be written to {}: {error}", dir.display()),
        )
    })?;
    let message = format!("The manual pages are in {}.", dir.display());
    Ok(Report::done(message, vec![("dir", dir.display().to_string().into())]))
}

fn write_pages(dir: &Path) -> std::io::Result<()> {
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)?;
    let agent = agent();
    let name = format!("{}.{DAEMONS}", agent.get_name());
    let mut page = Vec::new();
    clap_mangen::Man::new(agent).section(DAEMONS).render(&mut page)?;
    fs::write(dir.join(name), page)
}

/// The agent's command line, with what its manual page says beyond `--help`.
fn agent() -> Command {
    Agent::command().after_long_help(AGENT_FILES)
}
