//! Snapshots of `--help`, for the program and every verb, so that changes are noticed.

#![allow(clippy::unwrap_used)]

use clap::CommandFactory;
use trove_couchdb_cli::args::Cli;

#[test]
fn help_texts() {
    let mut program = Cli::command().term_width(100);
    program.build();
    insta::assert_snapshot!("trove-couchdb", program.render_long_help().to_string());
    let verbs: Vec<String> = program
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .filter(|name| name != "help")
        .collect();
    assert!(verbs.len() >= 21, "{verbs:?}");
    for name in verbs {
        let verb = program.find_subcommand_mut(&name).unwrap();
        // The program's own help contains the options that all verbs share.
        let text = verb.clone().term_width(100).render_help().to_string();
        let own = text.split("\nWhich agent:").next().unwrap().trim_end().to_owned();
        insta::assert_snapshot!(name, own);
    }
}
