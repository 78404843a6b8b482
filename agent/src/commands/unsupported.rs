//! Refuses every method of the guest API that the agent does not serve, with advice for the user.

use futures_util::{FutureExt, future, future::BoxFuture};
use trove_couchdb_protocol::trove::Method;

use super::{Command, Guest, Needs, Run, RunError, Running};

/// A method that the agent does not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsupported(pub(super) Method);

impl Command for Unsupported {
    fn method(&self) -> Method {
        self.0
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, _: &'a Guest, _: Run<'a>) -> Running<'a> {
        future::ready(Err(RunError::Unsupported(self.0))).boxed()
    }

    /// Reports the failure of a rebuild, which Trove would otherwise await until its timeout. Before an
    /// upgrade Trove sets a status of its own, which the next heartbeat replaces.
    fn on_failure<'a>(&'a self, guest: &'a Guest, id: &'a str, reason: &'a str) -> BoxFuture<'a, ()> {
        match self.0 {
            Method::Rebuild => guest.lifecycle.refuse_prepare(id, reason).boxed(),
            Method::PreUpgrade => {
                guest.lifecycle.tell_again();
                future::ready(()).boxed()
            }
            _ => future::ready(()).boxed(),
        }
    }
}
