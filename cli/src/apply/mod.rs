//! `apply` and `export`: users, databases and access as a file.
//!
//! ```text
//! file ──► Wanted ─┐
//!                  ├─► plan (pure) ──► diff (shown) ──► run (one command for each step)
//! agent ─► Present ┘
//! ```
//!
//! Each step is one command of Trove's, and the plan is made anew from what is there: so a run that was cut short at any
//! point is finished by the next one, and a run on the described state has nothing to do.

mod diff;
mod export;
mod file;
mod plan;
mod present;
mod run;

use serde_json::{Value, json};

use crate::{
    args::ApplyArgs,
    exit::{CliError, Code},
    output::Report,
    verbs::Session,
};

pub use file::{Wanted, WantedUser};
pub use plan::{Plan, Present, Step, plan};

/// Brings the agent's CouchDB to the state that the file describes.
pub async fn apply(session: &Session<'_>, args: &ApplyArgs) -> Result<Code, CliError> {
    let file = file::read(&args.file)?;
    if !args.dry_run {
        session.consent.possible("applying a file")?;
    }
    let present = present::observe(session.agent).await?;
    let plan = plan(&present, &file.wanted, args.prune);
    let passwords = run::passwords(&plan, &file)?;
    if plan.steps.is_empty() {
        session.output.show_as(
            &json!({ "steps": [], "kept": plan.kept }),
            &diff::of(&plan, session.output),
            "",
        )?;
        return Ok(Code::Done);
    }
    if args.dry_run {
        let document = json!({ "steps": documents(&plan, "pending"), "kept": plan.kept });
        session.output.show_as(&document, &diff::of(&plan, session.output), &diff::bare(&plan))?;
        return Ok(if args.exit_code { Code::Attention } else { Code::Done });
    }
    if session.output.is_table() {
        crate::output::write_out(&diff::of(&plan, session.output))?;
    }
    session.consent.ask(&diff::question(&plan))?;
    run::run(session, &plan, &passwords).await?;
    Ok(Code::Done)
}

/// The present state as a file for [`apply`].
pub async fn export(session: &Session<'_>) -> Result<Report, CliError> {
    let present = present::observe(session.agent).await?;
    if session.output.is_table() {
        Ok(Report::Text(export::text(&present)))
    } else {
        Ok(export::record(&present))
    }
}

/// The steps for programs, each with what became of it.
fn documents(plan: &Plan, outcome: &str) -> Vec<Value> {
    plan.steps.iter().map(|step| step.document(outcome, None)).collect()
}
