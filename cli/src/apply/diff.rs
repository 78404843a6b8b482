//! A plan for people, one line per step: `+` added, `~` changed, `-` removed.

use anstyle::{AnsiColor, Style};
use trove_couchdb_protocol::{DatabaseName, Secret};

use super::{
    plan::{ApplyStep, Plan},
    wanted::Access,
};
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
    for contradiction in &plan.contradictions {
        text += &format!("{}\n", output.paint(REMOVED, &format!("! {}", printable(contradiction))));
    }
    if plan.steps.is_empty() && !output.is_quiet() {
        let described = if plan.is_as_described() { ": everything is as the file describes it" } else { "" };
        text += &format!("Nothing to do{described}.\n");
    }
    if !plan.left_alone.is_empty() && !output.is_quiet() {
        text += "Not in the file, and kept (--prune removes what it can):\n";
        text.extend(plan.left_alone.iter().map(|left_alone| format!("    {}\n", printable(left_alone))));
    }
    if !plan.undescribed.is_empty() && !output.is_quiet() {
        text += "Access that a file can't describe, and that stays:\n";
        text.extend(plan.undescribed.iter().map(|access| format!("    {}\n", printable(access))));
    }
    text
}

/// The plan for scripts, one line per step.
pub(super) fn bare(plan: &Plan) -> String {
    plan.steps.iter().map(|step| bare_line(step, "pending", None)).collect()
}

/// A step for scripts: its outcome, its sign, its description, and a generated password.
pub(super) fn bare_line(step: &ApplyStep, outcome: &str, password: Option<&Secret>) -> String {
    let password = password.map(Secret::expose).unwrap_or_default();
    format!("{outcome}\t{}\t{}\t{password}\n", sign(step).0, describe(step))
}

/// The confirmation question.
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

fn sign(step: &ApplyStep) -> (char, Style) {
    match step {
        ApplyStep::CreateDatabase(_) | ApplyStep::CreateUser(..) => ('+', ADDED),
        ApplyStep::SetPassword(_) | ApplyStep::Grant(..) | ApplyStep::Revoke(..) => ('~', CHANGED),
        ApplyStep::DeleteUser(..) | ApplyStep::DeleteDatabase(_) => ('-', REMOVED),
    }
}

/// The description of a step.
pub(super) fn describe(step: &ApplyStep) -> String {
    match step {
        ApplyStep::CreateDatabase(name) | ApplyStep::DeleteDatabase(name) => {
            format!("database {:?}", name.as_str())
        }
        ApplyStep::CreateUser(name, access) if access.is_empty() => format!("user {:?}", name.as_str()),
        ApplyStep::CreateUser(name, access) => {
            format!("user {:?} with access to {}", name.as_str(), list(access))
        }
        ApplyStep::SetPassword(name) => format!("user {:?}: new password", name.as_str()),
        ApplyStep::Grant(name, access) => {
            format!("user {:?}: access to {} added", name.as_str(), list(access))
        }
        ApplyStep::Revoke(name, database) => {
            format!("user {:?}: access to {:?} removed", name.as_str(), database.as_str())
        }
        ApplyStep::DeleteUser(name, None) => format!("user {:?}", name.as_str()),
        ApplyStep::DeleteUser(name, Some(own)) => format!(
            "user {:?} and its {}, which CouchDB deletes with it (couch_peruser)",
            name.as_str(),
            own.describe()
        ),
    }
}

fn list(access: &Access) -> String {
    access.iter().map(DatabaseName::as_str).collect::<Vec<_>>().join(", ")
}
