//! `prepare`: turns an empty CouchDB into the database that a user ordered.
//!
//! ```text
//! check -> format -> move -> mount -> secure -> configuration -> databases -> users -> root -> prepared
//! ```
//!
//! `check` refuses a request before anything is changed. `format`, `move` and `mount` [provide](volume) the data
//! volume, if one is ordered and the image has none. `secure` waits for bootstrap: without an `os_admin`
//! the agent can do nothing else, and CouchDB would be open to everyone. Every step may be repeated after an
//! interruption, so the whole command may. The agent therefore stores only which request began it, not how
//! far it got.
//!
//! The Python guest logs a database or user that it cannot create, and reports the instance as healthy
//! (trove/guestagent/datastore/manager.py, `_prepare`). This agent fails instead, because the user ordered
//! it.

mod arguments;
mod demands;
mod failure;
mod volume;

use futures_util::{FutureExt, future, future::BoxFuture};
use serde_json::{Value, json};
use trove_couchdb_protocol::{DecodeError, HostPattern, trove::Method};

use super::{
    Arguments, Command, CommandEntry, ConfigurationError, Decoded, Duration, Guest, Needs, Run, RunError,
    Running, Scope, Scopes, configuration::Ordered, users,
};
use crate::{
    couch::{CommandError, Couch, CreateDatabases, NewAccount, TenantDatabase},
    guest::TransitionError,
};

use arguments::Prepare;
pub(super) use arguments::says_nothing;
use demands::Demand;
pub use demands::ImageBrings;
pub use failure::PrepareError;
pub(super) use failure::StepFailure;
use failure::{PrepareStep, Problem};
use volume::Plan;

pub(super) const COMMANDS: &[CommandEntry] = &[CommandEntry { method: Method::Prepare, decode }];

/// Never fails: a `prepare` that cannot be decoded must still end the creation of its instance, with a
/// reason.
#[allow(clippy::unnecessary_wraps)] // the type of every decoder in the table
fn decode(args: &Arguments<'_>) -> Decoded {
    match arguments::read(args) {
        Ok(prepare) => Ok(Box::new(prepare)),
        Err(error) => Ok(Box::new(MalformedPrepare(error))),
    }
}

/// Everything in the guest.
fn everything() -> Scopes {
    Scopes::writing([Scope::AllUsers, Scope::AllDatabases, Scope::Root, Scope::Configuration])
}

impl Command for Prepare {
    fn method(&self) -> Method {
        Method::Prepare
    }

    /// CouchDB's process only for the volume: an operator may start a CouchDB that is waited for.
    fn scopes(&self) -> Scopes {
        if self.demands.iter().any(Demand::is_volume) {
            return everything().and_writing([Scope::Server, Scope::Volume]);
        }
        everything()
    }

    /// CouchDB may still be starting.
    fn duration(&self) -> Duration {
        Duration::Long
    }

    fn about(&self) -> Value {
        let databases: Vec<_> = self.databases.iter().map(ToString::to_string).collect();
        let users: Vec<_> = self.users.iter().map(|user| user.name.to_string()).collect();
        json!({"databases": databases, "users": users, "root": self.root_password.is_some()})
    }

    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a> {
        async move { carry_out(guest, self, run).await.map_err(RunError::Prepare) }.boxed()
    }

    fn hosts(&self) -> Vec<&HostPattern> {
        self.users.iter().map(|user| &user.host).collect()
    }

    fn on_failure<'a>(&'a self, guest: &'a Guest, id: &'a str, reason: &'a str) -> BoxFuture<'a, ()> {
        report_failure(guest, id, reason)
    }
}

/// Reports the failure to Trove, which would otherwise wait until its timeout.
fn report_failure<'a>(guest: &'a Guest, id: &'a str, reason: &'a str) -> BoxFuture<'a, ()> {
    guest.lifecycle.fail_prepare(id, reason).boxed()
}

/// `prepare` with invalid arguments. It is refused, and the instance is reported as failed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MalformedPrepare(DecodeError);

impl Command for MalformedPrepare {
    fn method(&self) -> Method {
        Method::Prepare
    }

    fn scopes(&self) -> Scopes {
        everything()
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, _: &'a Guest, _: Run<'a>) -> Running<'a> {
        let error = PrepareError { step: PrepareStep::Check, problem: self.0.clone().into() };
        future::ready(Err(RunError::Prepare(error))).boxed()
    }

    fn on_failure<'a>(&'a self, guest: &'a Guest, id: &'a str, reason: &'a str) -> BoxFuture<'a, ()> {
        report_failure(guest, id, reason)
    }
}

/// Names that the policy permits.
struct Checked {
    databases: Vec<TenantDatabase>,
    accounts: Vec<NewAccount>,
    configuration: Ordered,
}

/// Runs the command. It does nothing on a guest that is already prepared.
async fn carry_out(guest: &Guest, prepare: &Prepare, run: Run<'_>) -> Result<Value, PrepareError> {
    let (couch, lifecycle) = (&*guest.couch, &guest.lifecycle);
    lifecycle.note_control_plane(prepare.old_form).await;
    if lifecycle.current().await.stage.is_prepared() {
        return Ok(Value::Null);
    }
    let record = |error: TransitionError| {
        let text = error.to_string();
        let is_disk = matches!(error, TransitionError::NotWritten(_));
        PrepareError::at(PrepareStep::Record)(if is_disk {
            Problem::NotWritten(text)
        } else {
            Problem::Transition(text)
        })
    };
    let first = lifecycle.begin_prepare(run.id).await.map_err(record)?;
    run.enter(PrepareStep::Check.name()).await;
    let plan = volume::plan(guest, prepare, &run).await?;
    let Checked { databases, accounts, configuration } = check(couch, prepare, guest.image_brings, &plan)?;
    if let Plan::Provide(device) = plan {
        volume::provide(guest, device, &run).await?;
    }

    run.enter(PrepareStep::Secure.name()).await;
    // A separate request: without databases and users no other step would contact CouchDB.
    couch.prove_login().await.map_err(CommandError::from).map_err(PrepareError::at(PrepareStep::Secure))?;

    // Before there are users: it may say how passwords are hashed, and which are accepted.
    run.enter(PrepareStep::Configuration.name()).await;
    if !configuration.is_empty() {
        configuration.set(guest).await.map_err(PrepareError::at(PrepareStep::Configuration))?;
    }

    run.enter(PrepareStep::Databases.name()).await;
    let create = CreateDatabases { databases, command: &first };
    couch.create_databases(&create).await.map_err(PrepareError::at(PrepareStep::Databases))?;

    run.enter(PrepareStep::Users.name()).await;
    create_users(couch, accounts, &first, run.id).await.map_err(PrepareError::at(PrepareStep::Users))?;

    run.enter(PrepareStep::Root.name()).await;
    if let Some(password) = prepare.root_password.as_ref().filter(|password| !password.expose().is_empty()) {
        couch.enable_root(password).await.map_err(PrepareError::at(PrepareStep::Root))?;
    }
    run.enter(PrepareStep::Record.name()).await;
    lifecycle.end_prepare().await.map_err(record)?;
    Ok(Value::Null)
}

fn check(
    couch: &Couch,
    prepare: &Prepare,
    image_brings: ImageBrings,
    volume: &Plan,
) -> Result<Checked, PrepareError> {
    let met = |demand: &&Demand| match demand {
        Demand::Packages(_) => image_brings.packages,
        Demand::Volume(_) => *volume != Plan::Impossible,
        _ => false,
    };
    let unmet: Vec<Demand> = prepare.demands.iter().filter(|demand| !met(demand)).cloned().collect();
    if !unmet.is_empty() {
        return Err(PrepareError { step: PrepareStep::Check, problem: Problem::Demands(unmet) });
    }
    let databases =
        couch.policy().databases(prepare.databases.clone()).map_err(PrepareError::at(PrepareStep::Check))?;
    let accounts = users::accounts(couch, &prepare.users).map_err(PrepareError::at(PrepareStep::Check))?;
    let configuration = prepare.configuration.clone().map_err(ConfigurationError::from);
    let configuration = configuration.map_err(PrepareError::at(PrepareStep::Check))?;
    Ok(Checked { databases, accounts, configuration })
}

/// Users that an earlier `prepare` created belong to this one. If that was a different request, they get the
/// passwords of this one.
async fn create_users(
    couch: &Couch,
    accounts: Vec<NewAccount>,
    first: &str,
    id: &str,
) -> Result<(), CommandError> {
    if accounts.is_empty() {
        return Ok(());
    }
    couch.create_users(&accounts, first).await?;
    if first == id {
        return Ok(());
    }
    let passwords: Vec<_> = accounts.into_iter().map(|account| (account.user, account.password)).collect();
    couch.change_passwords(&passwords).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::commands::tests::{arguments, decoded};

    #[test]
    fn one_that_is_malformed_is_still_a_prepare() {
        let args = json!({"databases": [{"_name": "_users"}]});
        let error = arguments::read(&arguments(&args)).unwrap_err();
        assert!(error.to_string().contains("_users"), "{error}");
        let command = decoded("prepare", &args);
        assert_eq!(command.method(), Method::Prepare);
        assert!(format!("{command:?}").starts_with("MalformedPrepare"), "{command:?}");
    }
}
