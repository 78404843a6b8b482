//! `stop_db`, `restart`, `start_db_with_conf_changes`, `reset_configuration`: Trove's commands on the server
//! process. The agent answers them but carries out almost none.
//!
//! Trove's taskmanager completes most actions whatever the guest answers. For the others, the answer makes
//! sure that no instance stays in a transient state. docs/control-plane.md has the table, and
//! `tests/control_plane/test_lifecycle.py` runs it against a real taskmanager.

use futures_util::{FutureExt, future, future::BoxFuture};
use serde_json::Value;
use tracing::info;
use trove_couchdb_protocol::{
    DecodeError,
    trove::{Method, UserAction},
};

use super::{
    Arguments, Command, Decode, Entry, Guest, Needs, Run, RunError, Running, entry, prepare::says_nothing,
};

pub(super) const COMMANDS: &[Entry] = &[
    entry::<StopDb>(Method::StopDb),
    entry::<Restart>(Method::Restart),
    entry::<StartDb>(Method::StartDbWithConfChanges),
    entry::<ResetConfiguration>(Method::ResetConfiguration),
];

/// The server was down, and systemd starts CouchDB: waits until CouchDB runs.
async fn is_running(guest: &Guest) -> Result<Value, RunError> {
    guest.couch.prove_login().await?;
    Ok(Value::Null)
}

/// `stop_db`: sent before an instance is deleted, rebooted or resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StopDb {
    /// Whether it has the form of Trove 12 and 13, with `do_not_start_on_reboot`.
    pub(super) old_form: bool,
    /// The user's action.
    pub(super) action: UserAction,
}

impl StopDb {
    /// Does not stop CouchDB: systemd stops it when the server goes down.
    ///
    /// Trove 14 to 26 leave an instance in RESIZE for good if this fails before a resize or a migration. The
    /// server goes down next whatever the answer is, so the agent agrees. Trove 12 and 13 would then wait for
    /// the status `shutdown`, which the agent never reports; with a failure their action fails at once.
    fn answer(self) -> Result<Value, RunError> {
        if self.old_form || !self.action.depends_on_stop_db() {
            return Err(RunError::Unsupported(Method::StopDb));
        }
        info!("The server may go down: systemd stops CouchDB with it.");
        Ok(Value::Null)
    }
}

impl Decode for StopDb {
    /// Trove 14 and later do not send the argument (version 1.1 of the guest API).
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self { old_form: args.optional("do_not_start_on_reboot").is_some(), action: args.action })
    }
}

impl Command for StopDb {
    fn method(&self) -> Method {
        Method::StopDb
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            guest.lifecycle.note_control_plane(self.old_form).await;
            self.answer()
        }
        .boxed()
    }
}

/// `restart`: requested by the user, or sent when the server is up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Restart {
    /// The user's action.
    pub(super) action: UserAction,
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

    fn needs(&self) -> Needs {
        if self.action.restarts_the_server() { Needs::CouchDb } else { Needs::Nothing }
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            if !self.action.restarts_the_server() {
                return Err(RunError::Unsupported(self.method()));
            }
            let running = is_running(guest).await?;
            guest.lifecycle.tell_again();
            Ok(running)
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
pub(super) struct StartDb {
    /// Whether the request contains a configuration.
    pub(super) configured: bool,
    /// The user's action.
    pub(super) action: UserAction,
}

impl StartDb {
    fn is_served(self) -> bool {
        !self.configured && self.action.depends_on_stop_db()
    }
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

    fn needs(&self) -> Needs {
        if self.is_served() { Needs::CouchDb } else { Needs::Nothing }
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            if !self.is_served() {
                return Err(RunError::Unsupported(self.method()));
            }
            is_running(guest).await
        }
        .boxed()
    }
}

/// `reset_configuration`: restores the configuration of the old flavor when a resize is reverted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ResetConfiguration {
    /// The user's action.
    pub(super) action: UserAction,
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

    /// The agent never applies a configuration, so the old flavor's configuration is still in force.
    fn run<'a>(&'a self, _: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            if !self.action.depends_on_stop_db() {
                return Err(RunError::Unsupported(self.method()));
            }
            Ok(Value::Null)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_db_fails_unless_that_would_leave_the_instance_in_a_transient_state() {
        let stop_db = |old_form, action| StopDb { old_form, action }.answer();
        for action in [UserAction::Resize, UserAction::Migrate] {
            assert_eq!(stop_db(false, action), Ok(Value::Null));
            assert_eq!(stop_db(true, action), Err(RunError::Unsupported(Method::StopDb)));
        }
        for action in [UserAction::Reboot, UserAction::Other] {
            assert_eq!(stop_db(false, action), Err(RunError::Unsupported(Method::StopDb)));
        }
    }
}
