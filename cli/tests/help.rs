//! Snapshots of `--help`, for the programs and every verb, so that changes are noticed.

#![allow(clippy::unwrap_used)]

use clap::{Command, CommandFactory};
use trove_couchdb_cli::args;
use trove_couchdb_guest::args::Args as Agent;

/// The help without blanks at the ends of lines.
fn help(command: Command) -> String {
    let text = command.term_width(100).render_long_help().to_string();
    text.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

#[test]
fn help_texts() {
    insta::assert_snapshot!("trove-couchdb-agent", help(Agent::command()));
    let mut program = args::command();
    program.build();
    insta::assert_snapshot!("trove-couchdb", help(program.clone()));
    let verbs = program.get_subcommands().filter(|verb| verb.get_name() != "help");
    let mut count = 0;
    for verb in verbs {
        insta::assert_snapshot!(verb.get_name(), help(verb.clone()));
        count += 1;
    }
    assert!(count >= 36, "only {count} verbs");
}
