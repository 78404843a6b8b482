//! `completions` and `man`, generated from the definitions of the command lines, so that they are always up
//! to date. Also generates the agent's, so that the daemon needs no verb for it.

use std::{fs, path::Path};

use clap::CommandFactory;
use clap_complete::Shell;
use trove_couchdb_guest::args::Args as Agent;

use crate::{
    args::{Cli, CompletionsArgs, ManArgs},
    exit::{CliError, Code},
    output::Report,
};

/// The agent's manual page in addition to its `--help`.
const AGENT_SECTIONS: &str = r"
.SH FILES
.TP
/etc/trove\-couchdb\-agent/agent.toml
Every key with its default, in comments.
.TP
/etc/trove/conf.d/*.conf
The files that Trove injects: the instance, its key, the broker.
.TP
/var/lib/trove\-couchdb\-agent/
The state. \fB.os_couchdb_admin_creds.json\fR there is the only copy of os_admin\(aqs password.
.TP
/run/trove\-couchdb\-agent/agent.sock
The socket of \fBtrove\-couchdb\fR(1).
.SH EXIT STATUS
.TP
0
Ended after SIGTERM or SIGINT.
.TP
1
A failure that a new start may heal.
.TP
64
Wrong usage, or a configuration that is refused; systemd does not restart it then.
.SH SEE ALSO
\fBtrove\-couchdb\fR(1), \fBtrove\-couchdb\-doctor\fR(1)
.PP
All settings: /usr/share/doc/trove\-couchdb\-agent/docs/configuration.md
";

/// The manual section for daemons.
const DAEMONS: &str = "8";

/// The completions for a shell.
pub fn completions(args: &CompletionsArgs) -> Report {
    let mut command = if args.agent { Agent::command() } else { Cli::command() };
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name.clone(), &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    Report::Text(if args.shell == Shell::Bash { with_one_name(&script, &name) } else { script })
}

/// In its bash script `clap_complete` 4.6 defines each verb under one name, but looks it up under a different
/// name if the program's name contains a dash. Then nothing is completed after a verb.
fn with_one_name(script: &str, program: &str) -> String {
    script.replace(&program.replace('-', "__subcmd__"), &program.replace('-', "__"))
}

/// Prints the main page, or writes all pages to a directory.
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
    let agent = Agent::command();
    let name = format!("{}.{DAEMONS}", agent.get_name());
    let mut page = Vec::new();
    clap_mangen::Man::new(agent).section(DAEMONS).render(&mut page)?;
    page.extend_from_slice(AGENT_SECTIONS.as_bytes());
    fs::write(dir.join(name), page)
}
