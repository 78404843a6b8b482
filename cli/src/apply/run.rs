//! Carries a plan out, one command after the other, and tells at once what was done.

use std::collections::BTreeMap;

use serde_json::json;
use trove_couchdb_protocol::{Secret, UserName};

use super::{
    diff,
    file::File,
    plan::{Plan, Step},
};
use crate::{
    client::{CallError, Connection},
    exit::CliError,
    output::{Report, write_out},
    verbs::Session,
};

/// The passwords that a plan needs, and whether nobody knows them yet.
pub(super) type Passwords = BTreeMap<UserName, (Secret, bool)>;

/// Gets all passwords of a plan together, so that none is found missing halfway.
pub(super) fn passwords(plan: &Plan, file: &File) -> Result<Passwords, CliError> {
    let mut passwords = Passwords::new();
    for step in &plan.steps {
        if let Step::CreateUser(name, _) | Step::SetPassword(name) = step {
            passwords.insert(name.clone(), file.password(name)?);
        }
    }
    Ok(passwords)
}

/// Carries the steps out until one fails.
pub(super) async fn run(session: &Session<'_>, plan: &Plan, passwords: &Passwords) -> Result<(), CliError> {
    let mut done = Vec::new();
    let mut failure = None;
    for step in &plan.steps {
        let password = password_of(step, passwords);
        let new = password.filter(|(_, new)| *new).map(|(secret, _)| secret);
        announce(session, step, new)?;
        match carry_out(session.agent, step, password.map(|(secret, _)| secret)).await {
            Ok(()) => done.push(step.document("done", new)),
            Err(error) => {
                done.push(step.document("failed", new));
                failure = Some((step, error));
                break;
            }
        }
    }
    let (count, all) = (done.len() - usize::from(failure.is_some()), plan.steps.len());
    if !session.output.is_table() {
        session.output.show_as(&json!({ "steps": done, "kept": plan.kept }), "", "")?;
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

/// A password that nobody knows is shown before it is set: whatever happens then, it is not lost.
fn announce(session: &Session<'_>, step: &Step, new: Option<&Secret>) -> Result<(), CliError> {
    let (Some(secret), Some(name)) = (new, user_of(step)) else { return Ok(()) };
    if session.output.is_table() {
        return write_out(&format!("password of {:?}: {}\n", name.as_str(), secret.expose()));
    }
    Ok(())
}

fn user_of(step: &Step) -> Option<&UserName> {
    match step {
        Step::CreateUser(name, _) | Step::SetPassword(name) => Some(name),
        _ => None,
    }
}

fn password_of<'a>(step: &Step, passwords: &'a Passwords) -> Option<&'a (Secret, bool)> {
    user_of(step).and_then(|name| passwords.get(name))
}

async fn carry_out(agent: &Connection, step: &Step, password: Option<&Secret>) -> Result<(), CallError> {
    let nothing = Secret::new("");
    match step {
        Step::CreateDatabase(name) => agent.create_database(name).await,
        Step::CreateUser(name, access) => {
            let databases: Vec<_> = access.iter().cloned().collect();
            // Without a password the agent refuses; `passwords` has seen to it that there is one.
            agent.create_user(name, password.unwrap_or(&nothing), &databases).await
        }
        Step::SetPassword(name) => agent.update_user(name, None, password).await,
        Step::Grant(name, access) => agent.grant(name, &access.iter().cloned().collect::<Vec<_>>()).await,
        Step::Revoke(name, database) => agent.revoke(name, database).await,
        Step::DeleteUser(name) => agent.delete_user(name).await,
        Step::DeleteDatabase(name) => agent.delete_database(name).await,
    }
}
