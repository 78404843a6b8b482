//! `man`: the manual pages, generated from the definitions of the command lines, so that they are always up to date. Also
//! generates the agent's, so that the daemon needs no verb for it.

mod page;

use std::{fs, io, path::Path};

use clap::{Command, CommandFactory};
use trove_couchdb_guest::args as agent;

use crate::{
    args::{self, ManArgs, examples},
    exit::{CliError, Code},
    output::Report,
};

use page::{Described, Page};

/// The directory of the documentation in the packages.
const DOCUMENTATION: &str = "/usr/share/doc/trove-couchdb-agent/docs/";

const AGENT: &str = "trove-couchdb-agent(8)";
const HOSTD: &str = "trove-couchdb-hostd(8)";
const TOOL: &str = "trove-couchdb(1)";

/// Prefixes of verbs that work on the same things, and other verbs that belong together.
const FAMILIES: [&str; 5] = ["user-", "database-", "root-", "service-", "operation-"];
const PAIRS: [[&str; 2]; 5] = [
    ["apply", "export"],
    ["completions", "man"],
    ["credentials", "rotate-os-admin"],
    ["doctor", "status"],
    ["ping", "status"],
];

/// Prints the main page, or writes all pages to a directory.
pub fn man(args: &ManArgs) -> Result<Report, CliError> {
    let Some(dir) = &args.dir else {
        let text = program(&built())
            .render()
            .map_err(|error| CliError::new(Code::Failed, format!("no manual page: {error}")))?;
        return Ok(Report::Text(text));
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

fn write_pages(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let program = built();
    for page in pages(&program) {
        fs::write(dir.join(page.file_name()), page.render()?)?;
    }
    Ok(())
}

/// The command line with its verbs' full names.
fn built() -> Command {
    let mut program = args::command().disable_help_subcommand(true).subcommand_help_heading("COMMANDS");
    program.build();
    program
}

fn pages(built: &Command) -> impl Iterator<Item = Page> {
    let verbs = built.get_subcommands().map(|one| verb(one, built));
    [program(built), daemon()].into_iter().chain(verbs)
}

fn program(built: &Command) -> Page {
    let mut environment: Vec<Described> = built
        .get_arguments()
        .filter_map(|argument| {
            let text = format!("The value of --{}, unless the option is given.", argument.get_long()?);
            Some((argument.get_env()?.to_string_lossy().into_owned(), text))
        })
        .collect();
    environment.extend(entries(&[
        ("TROVE_COUCHDB_SECTION__KEY", "Any other key of the agent's configuration."),
        ("NO_COLOR", "If it is set and not empty, the output has no colours unless --color is given."),
    ]));
    Page {
        command: built.clone(),
        section: 1,
        lists: vec![
            ("EXIT STATUS", exit_codes(&Code::ALL)),
            ("ENVIRONMENT", environment),
            (
                "FILES",
                entries(&[
                    (args::DEFAULT_SOCKET, "The agent's socket."),
                    ("/etc/trove-couchdb-agent/agent.toml", "The agent's own configuration."),
                    (
                        "/etc/trove/conf.d/*.conf",
                        "The files that Trove injects: the instance, its key, the broker.",
                    ),
                    (
                        "/var/lib/trove-couchdb-agent/.os_couchdb_admin_creds.json",
                        "The password of os_admin, for `doctor` and `credentials os_admin --reveal`.",
                    ),
                    (
                        DOCUMENTATION,
                        "The documentation. cli.md describes this program, errors.md all messages.",
                    ),
                ]),
            ),
        ],
        examples: examples::of(""),
        see_also: vec![AGENT.to_owned(), HOSTD.to_owned()],
    }
}

fn verb(command: &Command, program: &Command) -> Page {
    let name = command.get_name();
    let may_end_with = |code: &Code| match code {
        Code::NoCommand => false,
        Code::Attention => ["apply", "doctor"].contains(&name),
        _ => true,
    };
    let codes: Vec<Code> = Code::ALL.into_iter().filter(may_end_with).collect();
    let others =
        program.get_subcommands().map(Command::get_name).filter(|other| belong_together(name, other));
    let see_also = others.map(|other| format!("trove-couchdb-{other}(1)"));
    Page {
        command: command.clone(),
        section: 1,
        lists: vec![
            (
                "GLOBAL OPTIONS",
                entries(&[(
                    "--output, --quiet, --yes, --instance, --timeout, …",
                    "The options of every command are described in trove-couchdb(1).",
                )]),
            ),
            ("EXIT STATUS", exit_codes(&codes)),
        ],
        examples: examples::of(name),
        see_also: [TOOL.to_owned()].into_iter().chain(see_also).chain([AGENT.to_owned()]).collect(),
    }
}

fn belong_together(one: &str, other: &str) -> bool {
    let in_one_family = |family: &&str| one.starts_with(*family) && other.starts_with(*family);
    let is_pair = |pair: &[&str; 2]| pair.contains(&one) && pair.contains(&other);
    one != other && (FAMILIES.iter().any(in_one_family) || PAIRS.iter().any(is_pair))
}

fn daemon() -> Page {
    let mut command = agent::Args::command();
    command.build();
    let number = |(code, text): &(u8, &str)| (code.to_string(), sentence(text));
    Page {
        command,
        section: 8,
        lists: vec![
            ("EXIT STATUS", agent::EXIT_CODES.iter().map(number).collect()),
            (
                "ENVIRONMENT",
                entries(&[
                    (
                        "TROVE_COUCHDB_SECTION__KEY",
                        "A key of the configuration, such as TROVE_COUCHDB_COUCHDB__URL for couchdb.url.",
                    ),
                    ("HOME", "What ~ in a path of the configuration means."),
                ]),
            ),
            (
                "SIGNALS",
                entries(&[
                    ("SIGTERM, SIGINT", "Finish and answer the running commands, then exit."),
                    ("SIGHUP", "Read `log.filter` again."),
                ]),
            ),
            (
                "FILES",
                entries(&[
                    ("/etc/trove-couchdb-agent/agent.toml", "Every key with its default, in comments."),
                    (
                        "/etc/trove/conf.d/*.conf",
                        "The files that Trove injects: the instance, its key, the broker.",
                    ),
                    (
                        "/var/lib/trove-couchdb-agent/",
                        "The state. `.os_couchdb_admin_creds.json` in it is the only copy of os_admin's password.",
                    ),
                    (args::DEFAULT_SOCKET, "The socket for trove-couchdb(1)."),
                    (DOCUMENTATION, "The documentation. configuration.md describes all settings."),
                ]),
            ),
        ],
        examples: agent::EXAMPLES,
        see_also: vec![TOOL.to_owned(), "trove-couchdb-doctor(1)".to_owned(), HOSTD.to_owned()],
    }
}

fn entries(list: &[(&str, &str)]) -> Vec<Described> {
    list.iter().map(|(term, text)| ((*term).to_owned(), (*text).to_owned())).collect()
}

fn exit_codes(codes: &[Code]) -> Vec<Described> {
    codes.iter().map(|code| code.explained()).map(|(code, text)| (code.to_string(), sentence(text))).collect()
}

/// An exit code's meaning is written for a list.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The headings of a page.
    fn headings(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix(".SH ")).map(|name| name.trim_matches('"')).collect()
    }

    #[test]
    fn every_page_has_the_sections_that_readers_look_for() {
        let program = built();
        let mut count = 0;
        for page in pages(&program) {
            let (name, text) = (page.file_name(), page.render().unwrap_or_default());
            let headings = headings(&text);
            for wanted in
                ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]
            {
                assert!(headings.contains(&wanted), "{name} has no {wanted}: {headings:?}");
            }
            let is_programs = ["trove-couchdb.1", "trove-couchdb-agent.8"].contains(&name.as_str());
            for wanted in ["ENVIRONMENT", "FILES"] {
                assert_eq!(headings.contains(&wanted), is_programs, "{name}: {headings:?}");
            }
            assert!(!text.contains('`'), "{name}: a backtick is shown as a quotation mark");
            count += 1;
        }
        assert_eq!(count, 2 + args::Cli::command().get_subcommands().count());
    }

    #[test]
    fn a_verb_leads_to_its_relatives() {
        let program = built();
        let see =
            |name: &str| verb(program.find_subcommand(name).unwrap_or(&program), &program).see_also.join(" ");
        assert!(see("service-stop").contains("trove-couchdb-service-start(1)"));
        assert_eq!(see("export"), "trove-couchdb(1) trove-couchdb-apply(1) trove-couchdb-agent(8)");
        assert!(!see("user-list").contains("user-list"));
    }
}
