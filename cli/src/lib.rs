//! The operator's tool for trove-couchdb-agent, as a library.
//!
//! ```text
//! args ─► transport ─► client ─► the agent (socket, or RabbitMQ)
//!   └───► verbs, apply, credentials, doctor ─► Report ─► output (table, JSON, YAML, values)
//! ```
//!
//! - [`client`] is the caller's side of the wire; [`transport`] selects the
//!   socket or RabbitMQ from the command line.
//! - [`verbs`] runs Trove's commands, [`apply`] a file of them; [`credentials`] shows connection URLs.
//! - [`doctor`] checks each link separately with the agent's own code, also while the agent is down.
//! - [`broker_user`] prints the commands that create a RabbitMQ account for one instance, and runs none.
//! - [`progress`] shows progress on a terminal.
//! - Only [`prompt`] asks the operator, and only [`output`] shows results.

// Short texts for people, built once: a single expression is clearer than a series of writes.
#![allow(clippy::format_push_string, clippy::format_collect)]

pub mod apply;
// The comments there are the text of `--help`, where a backtick would be printed.
#[allow(clippy::doc_markdown)]
pub mod args;
mod broker_user;
pub mod client;
mod completions;
mod couch;
mod credentials;
pub mod doctor;
pub mod exit;
mod manual;
pub mod output;
mod progress;
pub mod prompt;
pub mod transport;
pub mod verbs;

use args::{Cli, DoctorArgs, Global, Verb};
use exit::{CliError, Code};
use output::Output;
use prompt::Consent;
use verbs::Session;

/// Runs the command line.
pub async fn run(cli: &Cli) -> Result<Code, CliError> {
    let Cli { global, verb } = cli;
    let output = Output::new(&global.output);
    let report = match verb {
        Verb::Completions(args) => completions::completions(args),
        Verb::Man(args) => manual::man(args)?,
        Verb::Doctor(args) => return examine(global, args, output).await,
        Verb::BrokerUser(args) => {
            broker_user::show(global, args, output)?;
            return Ok(Code::Done);
        }
        _ => return ask_the_agent(global, verb, output).await,
    };
    output.show(&report)?;
    Ok(Code::Done)
}

async fn examine(global: &Global, args: &DoctorArgs, output: Output) -> Result<Code, CliError> {
    if args.list {
        output.show(&doctor::list())?;
        return Ok(Code::Done);
    }
    if global.transport.is_broker() {
        return Err(CliError::usage("the doctor looks at the machine it runs on")
            .advise("run it on the instance; over RabbitMQ there is `status`"));
    }
    let examination = doctor::examine(global).await;
    if let Some(path) = &args.bundle {
        doctor::write_bundle(path, global, &examination, output).await?;
        output.note(&format!("The archive is {}; all known secrets are removed.", path.display()));
    }
    doctor::show(&examination, output)
}

async fn ask_the_agent(global: &Global, verb: &Verb, output: Output) -> Result<Code, CliError> {
    let agent = transport::connect(global).await?;
    let session = Session { agent: &agent, output, consent: Consent { given: global.yes } };
    let result = carry_out(&session, global, verb).await;
    agent.close().await;
    result
}

async fn carry_out(session: &Session<'_>, global: &Global, verb: &Verb) -> Result<Code, CliError> {
    let report = match verb {
        Verb::Apply(args) => return apply::apply(session, args).await,
        Verb::Export => Some(apply::export(session).await?),
        Verb::Credentials(args) => {
            credentials::show(session, global, args).await?;
            None
        }
        verb => verbs::run(session, verb).await?,
    };
    if let Some(report) = report {
        session.output.show(&report)?;
    }
    Ok(Code::Done)
}
