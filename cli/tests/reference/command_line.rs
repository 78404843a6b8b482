//! The command line, from clap's definition of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::{Arg, Command};
use trove_couchdb_cli::args::{self, examples};
use trove_couchdb_cli::exit::Code;

/// What begins the headings of the options of every verb.
const GLOBAL: &str = "Global options (";

fn program() -> Command {
    let mut program = args::command().term_width(0);
    program.build();
    program
}

/// The verbs that no part has shown yet, by name.
pub struct Verbs(BTreeMap<String, Command>);

impl Verbs {
    pub fn all() -> Self {
        let program = program();
        let verbs = program.get_subcommands().filter(|verb| verb.get_name() != "help");
        Self(verbs.map(|verb| (verb.get_name().to_owned(), verb.clone())).collect())
    }

    /// A verb without a heading.
    pub fn one(&mut self, name: &str) -> String {
        let mut verb = self.0.remove(name).unwrap_or_else(|| panic!("no verb {name}, or shown twice"));
        let mut text = String::new();
        let about = verb.get_long_about().or(verb.get_about()).unwrap().to_string();
        // The first paragraph has no full stop, as `--help` shows it in a list.
        let about = about.split_once("\n\n").map_or_else(
            || format!("{about}."),
            |(title, rest)| format!("{}.\n\n{rest}", title.trim_end_matches('.')),
        );
        writeln!(text, "{about}\n").unwrap();
        let usage = verb.render_usage().to_string();
        writeln!(text, "```text\n{}\n```\n", usage.trim_start_matches("Usage: ").trim()).unwrap();
        for argument in verb.get_arguments().filter(|argument| !argument.is_global_set()) {
            text += &item(argument);
        }
        let examples = examples::of(name).iter().map(|one| format!("# {}\n{}\n", one.what, one.line));
        writeln!(text, "\n```text\n{}```\n", examples.collect::<String>()).unwrap();
        text
    }

    /// Several verbs, each with a heading.
    pub fn several(&mut self, names: &[&str]) -> String {
        names.iter().map(|name| format!("### {name}\n\n{}\n\n", self.one(name).trim())).collect()
    }

    pub fn unused(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

fn item(argument: &Arg) -> String {
    if matches!(argument.get_id().as_str(), "help" | "version") {
        return String::new();
    }
    let mut text =
        format!("- `{}`: {}", written(argument), argument.get_long_help().or(argument.get_help()).unwrap());
    let values = argument.get_possible_values();
    if argument.get_action().takes_values() && !values.is_empty() {
        let values: Vec<_> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
        write!(text, "; one of {}", values.join(", ")).unwrap();
    }
    let defaults = argument.get_default_values();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        let defaults: Vec<_> = defaults.iter().map(|value| value.to_string_lossy()).collect();
        write!(text, "; default: `{}`", defaults.join(",")).unwrap();
    }
    if let Some(variable) = argument.get_env() {
        write!(text, "; environment: `{}`", variable.to_string_lossy()).unwrap();
    }
    text.replace('\n', " ") + "\n"
}

/// An argument as it is typed: `-o, --output FORMAT`.
fn written(argument: &Arg) -> String {
    let values = if argument.get_action().takes_values() {
        let names = argument.get_value_names().unwrap_or_default();
        names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    } else {
        String::new()
    };
    let short = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    let long = argument.get_long().map(|long| format!("--{long} ")).unwrap_or_default();
    format!("{short}{long}{values}").trim_end().to_owned()
}

/// The options of every verb, by the headings of `--help`.
pub fn options() -> String {
    let program = program();
    let mut headings: Vec<(&str, String)> = Vec::new();
    for argument in program.get_arguments() {
        let Some(heading) = argument.get_help_heading().and_then(|heading| heading.strip_prefix(GLOBAL))
        else {
            assert_eq!(item(argument), "", "{argument} has no heading that begins with {GLOBAL:?}");
            continue;
        };
        let item = item(argument);
        match headings.iter_mut().find(|(name, _)| *name == heading) {
            Some((_, items)) => *items += &item,
            None => headings.push((heading, item)),
        }
    }
    headings
        .into_iter()
        .map(|(name, items)| format!("**{}**\n\n{items}\n", name.trim_end_matches(')')))
        .collect()
}

pub fn exit_codes() -> String {
    let rows = meanings().map(|(code, meaning)| format!("| {code} | {meaning} |\n"));
    format!("| code | meaning |\n|---|---|\n{}", rows.collect::<String>())
}

/// Each exit code with what it means, as `--help` shows them.
pub fn meanings() -> impl Iterator<Item = (String, &'static str)> {
    Code::ALL.into_iter().map(Code::explained).map(|(code, meaning)| (code.to_string(), meaning))
}
