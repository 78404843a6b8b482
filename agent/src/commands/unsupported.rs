//! Every method of the guest API that the agent does not serve: refused at once, with what its user can do.

use futures_util::{FutureExt, future, future::BoxFuture};
use trove_couchdb_protocol::trove::Method;

use super::{Command, Guest, Needs, Run, RunError, Running};

/// A method that is not served.
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

    /// A guest that was rebuilt on an empty disk says so to Trove, which would wait for it until its own time limit.
    fn on_failure<'a>(&'a self, guest: &'a Guest, id: &'a str, reason: &'a str) -> BoxFuture<'a, ()> {
        match self.0 {
            Method::Rebuild => guest.preparation.refuse(id, reason).boxed(),
            _ => future::ready(()).boxed(),
        }
    }
}

/// Why a method is refused, and what its user can do. Trove shows 255 characters.
pub(super) fn refusal(method: Method) -> String {
    let advice = match method {
        Method::CreateBackup | Method::PreCreateBackup => {
            "no backup was made; replicate the databases to another CouchDB instead"
        }
        Method::PreUpgrade => {
            "CouchDB was not upgraded and goes on as before; reset the instance's status, and create a new instance of the \
             new version instead"
        }
        Method::Rebuild => {
            "nothing was restored; if the server's disk was replaced, what was on it is gone: look before you use the \
             instance"
        }
        Method::ResizeFs => "the file system has its old size; grow it on the instance",
        Method::Restart => {
            "nothing was done and CouchDB goes on; reboot the instance, or restart couchdb.service on it"
        }
        Method::StartDbWithConfChanges => "it applies no configuration; remove what is in config.template",
        Method::StopDb => "CouchDB was not stopped; systemd stops it when the server goes down",
        Method::UpdateOverrides | Method::ApplyOverrides => "it applies no configuration; detach the group",
        _ => return format!("{} is not supported by the CouchDB guest agent", method.name()),
    };
    format!("{} is not supported by the CouchDB guest agent: {advice}", method.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trove's limit for the message of a fault (`trove/instance/models.py`, `save_instance_fault`).
    const SHOWN: usize = 255;

    #[test]
    fn a_refusal_is_shown_whole_and_says_what_became_of_it() {
        for method in Method::ALL {
            let text = refusal(*method);
            assert!(text.len() <= SHOWN && text.starts_with(method.name()), "{text}");
        }
    }
}
