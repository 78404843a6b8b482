//! A plan for people, one line for each step: `+` added, `~` changed, `-` removed.

use anstyle::{AnsiColor, Style};
use trove_couchdb_protocol::DatabaseName;

use super::plan::{Access, Plan, Step};
use crate::output::{Output, printable};

const ADDED: Style = AnsiColor::Green.on_default();
const CHANGED: Style = AnsiColor::Yellow.on_default();
const REMOVED: Style = AnsiColor::Red.on_default();

/// The whole plan.
pub(super) fn of(plan: &Plan, output: Output) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        let (sign, style) = sign(step);
        text += &format!("{}\n", output.paint(style, &format!("{sign} {}", printable(&describe(step)))));
    }
    if plan.steps.is_empty() && !output.is_quiet() {
        text += "Nothing to do: everything is as the file describes it.\n";
    }
    if !plan.kept.is_empty() && !output.is_quiet() {
        text += "Not in the file, and kept (--prune removes what it can):\n";
        text.extend(plan.kept.iter().map(|kept| format!("    {}\n", printable(kept))));
    }
    text
}

/// The plan for scripts: sign, what, name, databases.
pub(super) fn bare(plan: &Plan) -> String {
    plan.steps.iter().map(|step| format!("{}\t{}\n", sign(step).0, describe(step))).collect()
}

/// What the operator is asked before anything is done.
pub(super) fn question(plan: &Plan) -> String {
    let lost = plan.steps.iter().filter(|step| step.is_destructive()).count();
    let steps = match plan.steps.len() {
        1 => "this change".to_owned(),
        count => format!("these {count} changes"),
    };
    match lost {
        0 => format!("Make {steps}?"),
        _ => format!("Make {steps}, of which {lost} can't be undone?"),
    }
}

fn sign(step: &Step) -> (char, Style) {
    match step {
        Step::CreateDatabase(_) | Step::CreateUser(..) => ('+', ADDED),
        Step::SetPassword(_) | Step::Grant(..) | Step::Revoke(..) => ('~', CHANGED),
        Step::DeleteUser(_) | Step::DeleteDatabase(_) => ('-', REMOVED),
    }
}

/// A step in words.
pub(super) fn describe(step: &Step) -> String {
    match step {
        Step::CreateDatabase(name) | Step::DeleteDatabase(name) => format!("database {:?}", name.as_str()),
        Step::CreateUser(name, access) if access.is_empty() => format!("user {:?}", name.as_str()),
        Step::CreateUser(name, access) => format!("user {:?} with access to {}", name.as_str(), list(access)),
        Step::SetPassword(name) => format!("user {:?}: new password", name.as_str()),
        Step::Grant(name, access) => format!("user {:?}: access to {} added", name.as_str(), list(access)),
        Step::Revoke(name, database) => {
            format!("user {:?}: access to {:?} removed", name.as_str(), database.as_str())
        }
        Step::DeleteUser(name) => format!("user {:?}", name.as_str()),
    }
}

fn list(access: &Access) -> String {
    access.iter().map(DatabaseName::as_str).collect::<Vec<_>>().join(", ")
}
