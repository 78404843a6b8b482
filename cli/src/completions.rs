//! `completions`, generated from the definitions of the command lines, so that they are always up to date. Also
//! generates the agent's, so that the daemon needs no verb for it.

use clap::CommandFactory;
use clap_complete::Shell;
use trove_couchdb_guest::args::Args as Agent;

use crate::{
    args::{Cli, CompletionsArgs},
    output::Report,
};

/// The completions for a shell.
pub fn completions(args: &CompletionsArgs) -> Report {
    // `args::command` hides global options after a verb, where they may be typed as well.
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
