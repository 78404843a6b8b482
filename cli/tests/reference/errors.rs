//! Errors, log lines and words of the status, by groups.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use trove_couchdb_cli::doctor;
use trove_couchdb_cli::exit::Code;
use trove_couchdb_protocol::FailureClass;

use super::sources::{body, calls, code_of, literals, says_something};
use super::{Reference, advice, command_line, read};

/// A text that the programs print or log.
struct Message {
    /// The key in docs/advice.toml: the variant, or the text itself if there is no variant.
    key: String,
    text: String,
    /// Its kind, whether the agent retries, its exit code.
    note: String,
}

/// The messages that no part has shown yet, by the type of the error.
pub struct Errors {
    groups: BTreeMap<String, Vec<Message>>,
    pub kinds: BTreeSet<String>,
}

const CRATES: [&str; 8] = ["protocol", "system", "config", "couchdb", "guest", "agent", "host", "cli"];

/// Calls that make an error of a text, and the group of such errors.
const TEXTS: [(&str, &str); 3] = [
    ("BootstrapError::Stuck(", "BootstrapError::Stuck"),
    ("CliError::new(", "CliError"),
    ("CliError::usage(", "CliError"),
];

/// Parts of other messages.
const PARTS: [&str; 2] = ["database …", "user …"];

impl Errors {
    pub fn of_the_code() -> Self {
        let mut errors = Self { groups: BTreeMap::new(), kinds: BTreeSet::new() };
        for code in code_of(&CRATES) {
            errors.add_variants(&code);
            for (opening, group) in TEXTS {
                errors.add_texts(&code, opening, group);
            }
        }
        // `CliError::not_found` builds this text.
        let note = exit_code(Code::NotFound);
        let text = "… does not exist".to_owned();
        errors.add("CliError", text.clone(), text, note);
        for code in code_of(&["system", "couchdb", "guest", "agent"]) {
            for opening in ["warn!(", "error!("] {
                for text in calls(&code, opening).into_iter().filter_map(|mut call| call.literals.pop()) {
                    errors.add("log", text.clone(), text, String::new());
                }
            }
        }
        errors.groups.get_mut("log").unwrap().sort_by(|one, other| one.text.cmp(&other.text));
        let condition = read("agent/src/status/condition.rs");
        for (group, function) in [("status", "pub fn condition("), ("readyz", "pub fn outline(")] {
            let words = literals(body(&condition, function).unwrap());
            for text in words.into_iter().filter(|text| text != "…; …") {
                errors.add(group, text.clone(), text, String::new());
            }
        }
        let notify = read("agent/src/status/notify.rs");
        for text in calls(&notify, "NotifyState::Status(").into_iter().flat_map(|call| call.literals) {
            errors.add("status", text.clone(), text, String::new());
        }
        for (group, least) in [("CouchError", 20), ("CommandError", 25), ("CliError", 25), ("log", 80)] {
            assert!(errors.groups[group].len() >= least, "{group}");
        }
        errors
    }

    fn add(&mut self, group: &str, key: String, text: String, note: String) {
        let group = self.groups.entry(group.to_owned()).or_default();
        match group.iter_mut().find(|message| message.key == key) {
            Some(same) if same.note == note => {}
            Some(same) => same.note = format!("{}, {note}", same.note),
            None if says_something(&text) => group.push(Message { key, text, note }),
            None => {}
        }
    }

    /// The attributes of `thiserror`, each with the variant or struct below it.
    fn add_variants(&mut self, code: &str) {
        let kinds = kinds(code);
        let transient =
            ["fn is_transient(&self)", "fn is_outage(&self)"].map(|function| body(code, function));
        let transient: Vec<&str> = transient.into_iter().flatten().flat_map(variants_in).collect();
        for call in calls(code, "#[error(") {
            let Some(text) = call.literals.into_iter().next() else { continue };
            let name = below(call.after);
            let (group, key) = match name.strip_prefix("struct ") {
                Some(name) => (name, name),
                None => (call.before.rsplit_once("enum ").unwrap().1, name),
            };
            let word = |text: &str| text.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
            let (group, key) = (word(group), word(key));
            let mut note: Vec<String> = kinds
                .iter()
                .filter(|(variant, _)| *variant == key)
                .map(|(_, kind)| format!("`{kind}`"))
                .collect();
            if transient.contains(&key.as_str()) {
                note.push("retried".to_owned());
            }
            self.add(&group, key, text, note.join(", "));
        }
        self.kinds.extend(kinds.into_iter().map(|(_, kind)| kind.to_owned()));
    }

    fn add_texts(&mut self, code: &str, opening: &str, group: &str) {
        for call in calls(code, opening) {
            let Some(text) = call.literals.into_iter().next().filter(|text| !PARTS.contains(&text.as_str()))
            else {
                continue;
            };
            let code = if opening == "CliError::usage(" { Some(&Code::Usage) } else { None };
            let code = code
                .or_else(|| Code::ALL.iter().find(|code| call.inside.contains(&format!("Code::{code:?}"))));
            self.add(group, text.clone(), text, code.copied().map(exit_code).unwrap_or_default());
        }
    }

    pub fn unused(&self) -> impl Iterator<Item = &String> {
        self.groups.iter().filter(|(_, messages)| !messages.is_empty()).map(|(group, _)| group)
    }
}

fn exit_code(code: Code) -> String {
    format!("exit code {}", code as u8)
}

/// The variants that a piece of code names.
fn variants_in(code: &str) -> impl Iterator<Item = &str> {
    code.split("Self::").skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap())
}

/// The label of each variant.
fn kinds(code: &str) -> Vec<(&str, &str)> {
    let lines = body(code, "fn kind(&self)").into_iter().flat_map(str::lines);
    let arms = lines.filter_map(|line| line.split_once(" => \""));
    arms.flat_map(|(variants, kind)| {
        variants_in(variants).map(move |variant| (variant, kind.split('"').next().unwrap()))
    })
    .collect()
}

/// The item that an attribute belongs to: the next line that is neither an attribute nor a comment.
fn below(code: &str) -> &str {
    let mut lines = code.lines().skip(1).map(str::trim);
    let line =
        lines.find(|line| !line.is_empty() && !line.starts_with("//") && !line.starts_with('#')).unwrap();
    let line = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub(super) ")).unwrap_or(line);
    line.strip_prefix("pub ").unwrap_or(line)
}

impl Reference {
    /// The messages of a group, each with what to do.
    fn explained(&mut self, group: &str) -> Vec<(Message, String)> {
        let messages = self.errors.groups.get_mut(group).map(std::mem::take).unwrap_or_default();
        if messages.is_empty() {
            self.problems.push(format!("the code has no {group}, or two parts show it"));
        }
        let explained = |message: Message| {
            let text = self.text(group, &message.key);
            (message, text)
        };
        messages.into_iter().map(explained).collect()
    }

    fn advice(&mut self, group: &str, key: &str) -> Option<toml::Value> {
        let found = self.advice.take(group, key);
        if found.is_none() {
            self.problems.push(format!("{}: [{group}] has no {key:?}", advice::FILE));
        }
        found
    }

    pub fn text(&mut self, group: &str, key: &str) -> String {
        let found = self.advice(group, key).unwrap_or_else(|| String::new().into());
        found.as_str().unwrap_or_else(|| panic!("{}: [{group}] {key}", advice::FILE)).trim().to_owned()
    }

    /// Pairs of texts.
    fn pairs(&mut self, group: &str, key: &str) -> Vec<(String, String)> {
        let found = self.advice(group, key).unwrap_or_else(|| toml::Value::Array(Vec::new()));
        found.try_into().unwrap_or_else(|error| panic!("{}: [{group}] {key}: {error}", advice::FILE))
    }
}

/// A list: messages are too long for a table.
pub fn messages(reference: &mut Reference, groups: &[&str]) -> String {
    let mut list = String::new();
    for group in groups {
        for (message, advice) in reference.explained(group) {
            write!(list, "- `{}`", message.text).unwrap();
            if !message.note.is_empty() {
                write!(list, " ({})", message.note).unwrap();
            }
            list += "\n";
            if !advice.is_empty() {
                writeln!(list, "  - {advice}").unwrap();
            }
        }
    }
    list
}

/// A table of short texts.
pub fn table(reference: &mut Reference, arguments: &[&str]) -> String {
    let [group, columns @ ..] = arguments else { panic!("table GROUP COLUMN COLUMN") };
    let columns: Vec<_> = columns.iter().map(|column| column.replace('_', " ")).collect();
    let mut table = format!("| {} |\n|---|---|\n", columns.join(" | "));
    for (message, advice) in reference.explained(group) {
        writeln!(table, "| `{}` | {advice} |", message.text).unwrap();
    }
    table
}

pub fn classes(reference: &mut Reference) -> String {
    let mut table = String::from("| class | when | what to do |\n|---|---|---|\n");
    for class in FailureClass::ALL {
        for (when, advice) in reference.pairs("class", class.as_str()) {
            writeln!(table, "| `{}` | {when} | {advice} |", class.as_str()).unwrap();
        }
    }
    table
}

pub fn exit_statuses(reference: &mut Reference) -> String {
    let mut table = String::from("| status | of | what it means | what to do |\n|---|---|---|---|\n");
    let agent = read("agent/src/exit.rs");
    let numbers = agent.lines().filter_map(|line| line.split_once(": u8 = ")?.1.split_once(';'));
    let mut of_the_agent: Vec<&str> = numbers.map(|(status, _)| status).collect();
    of_the_agent.sort_by_key(|status| status.parse::<u8>().unwrap());
    for status in of_the_agent {
        for (meaning, advice) in reference.pairs("exit-agent", status) {
            writeln!(table, "| {status} | `trove-couchdb-agent` | {meaning} | {advice} |").unwrap();
        }
    }
    for (status, meaning) in command_line::meanings() {
        let advice = reference.text("exit-tool", &status);
        writeln!(table, "| {status} | `trove-couchdb` | {meaning} | {advice} |").unwrap();
    }
    table
}

pub fn checks(reference: &mut Reference) -> String {
    let mut table = String::from("| check | what it looks at | if it is not ok |\n|---|---|---|\n");
    for check in doctor::checks() {
        let advice = reference.text("check", check.id);
        writeln!(table, "| `{}` | {} | {advice} |", check.id, check.about).unwrap();
    }
    table
}
