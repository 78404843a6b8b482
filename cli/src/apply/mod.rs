//! `apply` and `export`: users, databases and access as a file.
//!
//! ```text
//! file ──► Wanted ─┐
//!                  ├─► plan (pure) ──► diff (shown) ──► run (one command for each step)
//! agent ─► Present ┘
//! ```
//!
//! Each step is one of Trove's commands, and every run plans from the current state. So the next run finishes
//! an interrupted run, and a run on the described state changes nothing.

mod diff;
mod export;
mod file;
mod plan;
mod present;
mod reader;
mod run;
mod wanted;

use serde_json::{Value, json};

use crate::{
    args::ApplyArgs,
    exit::{CliError, Code},
    output::Report,
    verbs::Session,
};

pub use plan::{ApplyStep, Plan, Present, plan};
pub use wanted::{Wanted, WantedUser};

/// Changes the agent's CouchDB to the state that the file describes.
pub async fn apply(session: &Session<'_>, args: &ApplyArgs) -> Result<Code, CliError> {
    let file = file::read(&args.file)?;
    if !args.dry_run {
        session.consent.possible("apply a file")?;
    }
    let wanted = &file.wanted;
    if args.prune && !args.allow_empty && wanted.databases.is_empty() && wanted.users.is_empty() {
        return Err(empty("the file has neither databases nor users, so --prune would delete everything"));
    }
    let present = present::observe(session.agent, args.prune.then_some(wanted)).await?;
    let plan = plan(&present, wanted, args.prune);
    if !args.allow_empty {
        refuse_to_empty(&plan, wanted)?;
    }
    let passwords = run::passwords(&plan, &file)?;
    let document = |steps: Vec<Value>| json!({ "steps": steps, "kept": plan.left_alone, "undescribed": plan.undescribed });
    if plan.steps.is_empty() {
        session.output.show_as(&document(Vec::new()), &diff::of(&plan, session.output), "")?;
        // Without --prune a file lists what must exist, and other objects may exist.
        let as_described = plan.undescribed.is_empty() && (!args.prune || plan.left_alone.is_empty());
        return Ok(if args.exit_code && !as_described { Code::Attention } else { Code::Done });
    }
    if args.dry_run {
        let document = document(documents(&plan, "pending"));
        session.output.show_as(&document, &diff::of(&plan, session.output), &diff::bare(&plan))?;
        return Ok(if args.exit_code { Code::Attention } else { Code::Done });
    }
    if let Some(contradiction) = plan.contradictions.first() {
        return Err(CliError::new(Code::Failed, format!("{contradiction}; nothing was done")).advise(
            "set delete_dbs of [couch_peruser] to false in CouchDB, or take the database out of the file",
        ));
    }
    if session.output.is_table() {
        crate::output::write_out(&diff::of(&plan, session.output))?;
    }
    session.consent.ask(&diff::question(&plan))?;
    run::run(session, &plan, &passwords).await?;
    Ok(Code::Done)
}

/// A forgotten list, or one that a broken generator left out, must not delete everything.
fn refuse_to_empty(plan: &Plan, wanted: &Wanted) -> Result<(), CliError> {
    let count = |is_it: fn(&ApplyStep) -> bool| plan.steps.iter().filter(|step| is_it(step)).count();
    let databases = count(|step| matches!(step, ApplyStep::DeleteDatabase(_)));
    let users = count(|step| matches!(step, ApplyStep::DeleteUser(..)));
    if wanted.databases.is_empty() && databases > 0 {
        return Err(empty(&format!("the file has no databases, so --prune would delete all {databases}")));
    }
    if wanted.users.is_empty() && users > 0 {
        return Err(empty(&format!("the file has no users, so --prune would delete all {users}")));
    }
    Ok(())
}

fn empty(what: &str) -> CliError {
    CliError::usage(format!("{what}; nothing was done")).advise("--allow-empty, if that is what you want")
}

/// The current state as a file for [`apply`].
pub async fn export(session: &Session<'_>) -> Result<Report, CliError> {
    let present = present::observe(session.agent, None).await?;
    if session.output.is_table() {
        Ok(Report::Text(export::text(&present)))
    } else {
        Ok(export::record(&present))
    }
}

/// The steps for programs, each with its outcome.
fn documents(plan: &Plan, outcome: &str) -> Vec<Value> {
    plan.steps.iter().map(|step| step.document(outcome, None)).collect()
}
