//! The examples of `--help` and of the manual pages.

use trove_couchdb_guest::help::Example;

/// Several lines are as a shell reads them: a line that ends with a backslash or `|` continues.
macro_rules! examples {
    ($($verb:literal: $($what:literal => $line:literal),+;)+) => {
        /// Each verb with its examples. The program itself is `""`.
        const ALL: &[(&str, &[Example])] = &[$(($verb, &[$(Example { what: $what, line: $line }),+])),+];
    };
}

examples! {
    "":
        "Create a database and a user, and print the generated password" =>
            "trove-couchdb database-create shop\ntrove-couchdb user-create al --databases shop --generate",
        "The same agent over RabbitMQ, from the control plane" =>
            "trove-couchdb status --config-file /etc/trove/trove.conf --instance $ID",
        "Find out what is wrong" => "trove-couchdb doctor",
        "Help for a command" => "trove-couchdb user-create --help";
    "user-create":
        "Create a user with access to two databases; the program asks for the password" =>
            "trove-couchdb user-create al --databases shop,log",
        "Generate the password, and print nothing else" => "trove-couchdb user-create al --generate --quiet";
    "user-list":
        "List all users" => "trove-couchdb user-list",
        "Show the first 50 users as JSON" => "trove-couchdb user-list --limit 50 --output json",
        "Show the next 50, after the name that the previous call printed" => "trove-couchdb user-list --limit 50 --marker cy";
    "user-show":
        "Show a user's databases and roles" => "trove-couchdb user-show al";
    "user-delete":
        "Delete a user after a confirmation" => "trove-couchdb user-delete al",
        "Delete a user in a script" => "trove-couchdb user-delete al --yes";
    "user-update-attributes":
        "Rename a user" => "trove-couchdb user-update-attributes al --new-name alice",
        "Set the password that a password store prints" =>
            "pass show couchdb/al |\n    trove-couchdb user-update-attributes al --password-stdin";
    "user-grant-access":
        "Give a user access to two databases" => "trove-couchdb user-grant-access al shop log";
    "user-revoke-access":
        "Revoke the access to one database" => "trove-couchdb user-revoke-access al log";
    "user-show-access":
        "List a user's databases, one on each line" => "trove-couchdb user-show-access al --output value";
    "database-create":
        "Create a database" => "trove-couchdb database-create shop";
    "database-list":
        "List all databases, one on each line" => "trove-couchdb database-list --output value";
    "database-delete":
        "Delete a database after a confirmation" => "trove-couchdb database-delete shop";
    "root-enable":
        "Enable root with a generated password" => "trove-couchdb root-enable",
        "Choose the password; the program asks for it" => "trove-couchdb root-enable --root-password";
    "root-show":
        "Show whether root is enabled" => "trove-couchdb root-show --output value";
    "root-disable":
        "Disable root after a confirmation" => "trove-couchdb root-disable";
    "ping":
        "Wait at most 3 seconds for an answer" => "trove-couchdb ping --timeout 3";
    "status":
        "Show the state" => "trove-couchdb status",
        "Show only the state of CouchDB, with jq" => "trove-couchdb status --output json | jq -r .couchdb.state";
    "doctor":
        "Show only what needs attention" => "trove-couchdb doctor --quiet",
        "Write an archive for support" => "trove-couchdb doctor --bundle support.tar.gz";
    "credentials":
        "Show a user's URLs for clients on other machines" => "trove-couchdb credentials al --host db.example.org",
        "Show os_admin's URL with its password, as root" => "trove-couchdb credentials os_admin --reveal";
    "rotate-os-admin":
        "Change the password" => "trove-couchdb rotate-os-admin";
    "log-level":
        "Log more about the requests to CouchDB" =>
            "trove-couchdb log-level info,trove_couchdb_agent::couch=debug",
        "Go back to the configured filter" => "trove-couchdb log-level --configured";
    "service-status":
        "Show whether CouchDB's process runs" => "trove-couchdb service-status";
    "service-start":
        "Start CouchDB" => "trove-couchdb service-start";
    "service-stop":
        "Stop CouchDB and wait up to a minute" => "trove-couchdb service-stop --within 60";
    "service-restart":
        "Restart CouchDB" => "trove-couchdb service-restart";
    "service-wait":
        "Wait up to 5 minutes until CouchDB runs" => "trove-couchdb service-wait running --within 300";
    "operation-list":
        "List the operations" => "trove-couchdb operation-list";
    "operation-show":
        "Show an operation" => "trove-couchdb operation-show 6f0c2f1e-0b9d-8c3a-9a51-0d2f3b4c5d6e";
    "operation-logs":
        "Show the steps of an operation" => "trove-couchdb operation-logs 6f0c2f1e-0b9d-8c3a-9a51-0d2f3b4c5d6e";
    "operation-wait":
        "Wait up to 10 minutes" => "trove-couchdb operation-wait 6f0c2f1e-0b9d-8c3a-9a51-0d2f3b4c5d6e --within 600";
    "operation-cancel":
        "Cancel an operation after a confirmation" =>
            "trove-couchdb operation-cancel 6f0c2f1e-0b9d-8c3a-9a51-0d2f3b4c5d6e";
    "operation-rehearse":
        "Start a rehearsal of one minute" => "trove-couchdb operation-rehearse --seconds 60";
    "broker-user":
        "Create the account of one instance, on a machine with rabbitmqctl" =>
            "trove-couchdb broker-user --config-file /etc/trove/trove.conf \\\n    --instance $ID | sh";
    "apply":
        "Show what would change" => "trove-couchdb apply state.toml --dry-run",
        "Make the changes, and remove what the file does not have" => "trove-couchdb apply state.toml --prune";
    "export":
        "Save the current state" => "trove-couchdb export > state.toml";
    "completions":
        "Install the completions for bash" =>
            "trove-couchdb completions bash > /etc/bash_completion.d/trove-couchdb";
    "man":
        "Read the manual page" => "trove-couchdb man | man -l -",
        "Install all manual pages" => "trove-couchdb man --dir /usr/local/share/man/man1";
}

/// The examples of a verb, or of the program (`""`).
pub fn of(verb: &str) -> &'static [Example] {
    ALL.iter().find(|(name, _)| *name == verb).map_or(&[], |(_, examples)| examples)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::args::Cli;

    /// This program's command lines in text for a shell. `--help` is an error for clap.
    fn own(line: &str) -> Vec<Vec<String>> {
        let text = line.replace("\\\n", " ").replace("|\n", "|");
        let commands = text.split(['\n', '|', '>']);
        let words = commands.map(|command| command.split_whitespace().map(str::to_owned).collect());
        let is_own =
            |words: &Vec<String>| words[0] == "trove-couchdb" && !words.contains(&"--help".to_owned());
        words.filter(is_own).collect()
    }

    #[test]
    fn every_verb_has_examples_and_each_is_valid() {
        let program = Cli::command();
        let verbs: BTreeSet<&str> =
            program.get_subcommands().map(clap::Command::get_name).chain([""]).collect();
        let named: BTreeSet<&str> = ALL.iter().map(|(verb, _)| *verb).collect();
        assert_eq!((named, ALL.len()), (verbs.clone(), verbs.len()));
        for (verb, examples) in ALL {
            for Example { what, line } in *examples {
                let all = own(line);
                for words in &all {
                    let parsed = Cli::try_parse_from(words);
                    assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                }
                assert!(verb.is_empty() || all.len() == 1 && all[0][1] == *verb, "{verb}: {line}");
                assert!(line.lines().all(|line| line.len() <= 80) && !what.ends_with('.'), "{verb}: {line}");
            }
        }
        assert!(Cli::try_parse_from(["trove-couchdb", "user-create", "--no-such-option"]).is_err());
    }
}
