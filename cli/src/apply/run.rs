//! Runs a plan, one command after the other, and reports each step immediately.

use std::collections::BTreeMap;

use serde_json::json;
use trove_couchdb_protocol::{Secret, UserName};

use super::{
    diff,
    file::{File, together},
    plan::{ApplyStep, Plan},
};
use crate::{
    client::{CallError, Connection},
    exit::CliError,
    output::{Report, write_out},
    progress::Bar,
    verbs::Session,
};

/// The passwords of a plan, and whether they were generated.
pub(super) type Passwords = BTreeMap<UserName, (Secret, bool)>;

/// Gets all passwords before the first change, so that none is found missing halfway.
pub(super) fn passwords(plan: &Plan, file: &File) -> Result<Passwords, CliError> {
    let mut passwords = Passwords::new();
    let mut missing = Vec::new();
    for step in &plan.steps {
        if let ApplyStep::CreateUser(name, ..) | ApplyStep::SetPassword(name) = step {
            match file.password(name) {
                Ok(password) => drop(passwords.insert(name.clone(), password)),
                Err(error) => missing.push(error),
            }
        }
    }
    if missing.len() > 1 {
        let texts: Vec<String> = missing.into_iter().map(|error| error.message).collect();
        return Err(CliError::usage(together(&texts)));
    }
    missing.pop().map_or(Ok(passwords), Err)
}

/// Runs the steps until one fails.
pub(super) async fn run(session: &Session<'_>, plan: &Plan, passwords: &Passwords) -> Result<(), CliError> {
    let mut done = Vec::new();
    let mut bare = String::new();
    let mut failure = None;
    let bar = Bar::new(plan.steps.len(), session.output.is_table() && !session.output.is_quiet());
    for step in &plan.steps {
        let password = password_of(step, passwords);
        let new = password.filter(|(_, new)| *new).map(|(secret, _)| secret);
        if new.is_some() {
            bar.clear();
            announce(session, step, new)?;
        }
        bar.at(done.len(), &diff::describe(step));
        let result = carry_out(session.agent, step, password.map(|(secret, _)| secret)).await;
        let outcome = if result.is_ok() { "done" } else { "failed" };
        done.push(step.document(outcome, new));
        bare += &diff::bare_line(step, outcome, new);
        if let Err(error) = result {
            failure = Some((step, error));
            break;
        }
    }
    drop(bar);
    let (count, all) = (done.len() - usize::from(failure.is_some()), plan.steps.len());
    if !session.output.is_table() {
        session.output.show_as(
            &json!({ "steps": done, "kept": plan.left_alone, "undescribed": plan.undescribed }),
            "",
            &bare,
        )?;
    }
    let Some((step, error)) = failure else {
        let message =
            if all == 1 { "The change is made.".to_owned() } else { format!("All {all} changes are made.") };
        return if session.output.is_table() {
            session.output.show(&Report::done(message, Vec::new()))
        } else {
            Ok(())
        };
    };
    let mut error = CliError::from(error);
    error.message = format!("{}: {}; {count} of {all} changes are made", diff::describe(step), error.message);
    error.advice = Some(match error.advice {
        Some(advice) => format!("{advice}. Then apply the file again: it goes on where this ended"),
        None => "apply the file again when that is repaired: it goes on where this ended".to_owned(),
    });
    Err(error)
}

/// Shows a generated password before it is set, so that it cannot be lost.
fn announce(session: &Session<'_>, step: &ApplyStep, new: Option<&Secret>) -> Result<(), CliError> {
    let (Some(secret), Some(name)) = (new, user_of(step)) else { return Ok(()) };
    if session.output.is_table() {
        return write_out(&format!("password of {:?}: {}\n", name.as_str(), secret.expose()));
    }
    Ok(())
}

fn user_of(step: &ApplyStep) -> Option<&UserName> {
    match step {
        ApplyStep::CreateUser(name, _) | ApplyStep::SetPassword(name) => Some(name),
        _ => None,
    }
}

fn password_of<'a>(step: &ApplyStep, passwords: &'a Passwords) -> Option<&'a (Secret, bool)> {
    user_of(step).and_then(|name| passwords.get(name))
}

async fn carry_out(agent: &Connection, step: &ApplyStep, password: Option<&Secret>) -> Result<(), CallError> {
    let nothing = Secret::new("");
    match step {
        ApplyStep::CreateDatabase(name) => agent.create_database(name).await,
        ApplyStep::CreateUser(name, access) => {
            let databases: Vec<_> = access.iter().cloned().collect();
            // The agent refuses an empty password; `passwords` guarantees that there is one.
            agent.create_user(name, password.unwrap_or(&nothing), &databases).await
        }
        ApplyStep::SetPassword(name) => agent.update_user(name, None, password).await,
        ApplyStep::Grant(name, access) => {
            agent.grant(name, &access.iter().cloned().collect::<Vec<_>>()).await
        }
        ApplyStep::Revoke(name, database) => agent.revoke(name, database).await,
        ApplyStep::DeleteUser(name, _) => agent.delete_user(name).await,
        ApplyStep::DeleteDatabase(name) => agent.delete_database(name).await,
    }
}
