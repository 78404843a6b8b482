//! `stop_db`, `restart`, `start_db_with_conf_changes`, `reset_configuration`: Trove's commands on CouchDB's
//! process. `trove-couchdb-hostd` carries them out.
//!
//! Without hostd the agent can't stop or start anything, and answers so that no instance stays in a transient
//! state: Trove's taskmanager completes most actions whatever the guest answers. docs/control-plane.md has the
//! table, and `tests/control_plane/test_lifecycle.py` runs it against a real taskmanager.

use futures_util::{FutureExt, future, future::BoxFuture};
use serde_json::Value;
use tracing::info;
use trove_couchdb_protocol::{
    DecodeError, Field,
    trove::{Method, UserAction},
};

use super::process;
use crate::commands::{
    Arguments, Command, CommandEntry, Decode, Guest, Needs, Run, RunError, Running, Scope, Scopes, entry,
    prepare::says_nothing,
};

pub(in crate::commands) const COMMANDS: &[CommandEntry] = &[
    entry::<StopDb>(Method::StopDb),
    entry::<Restart>(Method::Restart),
    entry::<StartDb>(Method::StartDbWithConfChanges),
    entry::<ResetConfiguration>(Method::ResetConfiguration),
];

/// Whether there is no hostd, by which the agent could stop and start CouchDB.
fn has_no_hostd(guest: &Guest) -> bool {
    guest.host.absence().is_some()
}

/// The server was down, and its init system starts CouchDB. An outage is retried as for every other command.
async fn runs(guest: &Guest) -> Result<(), RunError> {
    guest.couch.prove_login().await?;
    Ok(())
}

/// `stop_db`: sent before an instance is deleted, rebooted or resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) struct StopDb {
    /// Trove 12 and 13 send `do_not_start_on_reboot`, and no other version does.
    pub(in crate::commands) stays_down: Option<bool>,
    /// The user's action.
    pub(in crate::commands) action: UserAction,
}

impl StopDb {
    /// Without hostd CouchDB is not stopped: systemd stops it when the server goes down.
    ///
    /// Trove 14 to 26 leave an instance in RESIZE for good if this fails before a resize or a migration. The
    /// server goes down next whatever the answer is, so the agent agrees. Trove 12 and 13 would then wait for
    /// the status `shutdown`, which can't come; with a failure their action fails at once.
    fn without_hostd(self) -> Result<Value, RunError> {
        if self.stays_down.is_some() || !self.action.depends_on_stop_db() {
            return Err(RunError::Unsupported(Method::StopDb));
        }
        info!("The server may go down: systemd stops CouchDB with it.");
        Ok(Value::Null)
    }
}

impl Decode for StopDb {
    /// Trove 14 and later do not send the argument (version 1.1 of the guest API).
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let stays_down = args.optional_as("do_not_start_on_reboot", Field::flag)?;
        Ok(Self { stays_down, action: args.action })
    }
}

impl Command for StopDb {
    fn method(&self) -> Method {
        Method::StopDb
    }

    fn scopes(&self) -> Scopes {
        Scopes::writing([Scope::Server])
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a> {
        async move {
            guest.lifecycle.note_control_plane(self.stays_down.is_some()).await;
            if has_no_hostd(guest) {
                return self.without_hostd();
            }
            process::stop(guest, &run, self.stays_down == Some(true)).await?;
            Ok(Value::Null)
        }
        .boxed()
    }
}

/// `restart`: requested by the user, or sent when the server is up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) struct Restart {
    /// The user's action.
    pub(in crate::commands) action: UserAction,
}

impl Decode for Restart {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self { action: args.action })
    }
}

impl Command for Restart {
    fn method(&self) -> Method {
        Method::Restart
    }

    fn scopes(&self) -> Scopes {
        Scopes::writing([Scope::Server])
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    /// After a reboot CouchDB has just been started, so that it only has to run.
    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a> {
        async move {
            match (has_no_hostd(guest), self.action.restarts_the_server()) {
                (false, false) => process::restart(guest, &run).await?,
                (false, true) => process::start(guest, &run).await?,
                (true, true) => runs(guest).await?,
                (true, false) => return Err(RunError::Unsupported(self.method())),
            }
            guest.lifecycle.tell_again();
            Ok(Value::Null)
        }
        .boxed()
    }

    /// Trove set the status `restarting` and refuses all commands until the next heartbeat.
    fn on_failure<'a>(&'a self, guest: &'a Guest, _: &'a str, _: &'a str) -> BoxFuture<'a, ()> {
        guest.lifecycle.tell_again();
        future::ready(()).boxed()
    }
}

/// `start_db_with_conf_changes`: sent when the server has its new flavor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) struct StartDb {
    /// Whether the request contains a configuration.
    pub(in crate::commands) configured: bool,
    /// The user's action.
    pub(in crate::commands) action: UserAction,
}

impl Decode for StartDb {
    /// An empty template results in a configuration without content.
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let contents = args.optional("config_contents");
        let configured = contents.is_some_and(|contents| !says_nothing(contents.value()));
        Ok(Self { configured, action: args.action })
    }
}

impl Command for StartDb {
    fn method(&self) -> Method {
        Method::StartDbWithConfChanges
    }

    fn scopes(&self) -> Scopes {
        Scopes::writing([Scope::Server])
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a> {
        async move {
            if self.configured {
                return Err(RunError::Unsupported(self.method()));
            }
            match (has_no_hostd(guest), self.action.depends_on_stop_db()) {
                (false, _) => process::start(guest, &run).await?,
                (true, true) => runs(guest).await?,
                (true, false) => return Err(RunError::Unsupported(self.method())),
            }
            Ok(Value::Null)
        }
        .boxed()
    }
}

/// `reset_configuration`: restores the configuration of the old flavor when a resize is reverted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) struct ResetConfiguration {
    /// The user's action.
    pub(in crate::commands) action: UserAction,
}

impl Decode for ResetConfiguration {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self { action: args.action })
    }
}

impl Command for ResetConfiguration {
    fn method(&self) -> Method {
        Method::ResetConfiguration
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    /// The configuration of a flavor is never applied, so the old flavor's is still in force.
    fn run<'a>(&'a self, _: &'a Guest, _: Run<'a>) -> Running<'a> {
        let is_undone = self.action.depends_on_stop_db();
        let answer = if is_undone { Ok(Value::Null) } else { Err(RunError::Unsupported(self.method())) };
        future::ready(answer).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_db_fails_unless_that_would_leave_the_instance_in_a_transient_state() {
        let stop_db = |stays_down, action| StopDb { stays_down, action }.without_hostd();
        for action in [UserAction::Resize, UserAction::Migrate] {
            assert_eq!(stop_db(None, action), Ok(Value::Null));
            assert_eq!(stop_db(Some(true), action), Err(RunError::Unsupported(Method::StopDb)));
        }
        for action in [UserAction::Reboot, UserAction::Other] {
            assert_eq!(stop_db(None, action), Err(RunError::Unsupported(Method::StopDb)));
        }
    }
}
