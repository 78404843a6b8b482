//! `service_status`, `service_start`, `service_stop`, `service_restart`, `service_wait`: control CouchDB's
//! process through `trove-couchdb-hostd`.
//!
//! Only operators of the machine may use them, over the local socket. `host.toml`, which belongs to root,
//! says what is allowed.

use std::marker::PhantomData;

use futures_util::FutureExt;
use serde_json::json;
use trove_couchdb_protocol::{
    DecodeError, Field,
    host::{ServiceName, Verb, Wanted, Within},
    trove::Method,
};

use super::process::{changing, end_of};
use crate::commands::{
    Arguments, Command, CommandEntry, Decode, Guest, Needs, Run, RunError, Running, Scope, Scopes, entry,
};

pub(in crate::commands) const COMMANDS: &[CommandEntry] = &[
    entry::<ServiceRequest<Status>>(Method::ServiceStatus),
    entry::<ServiceRequest<Start>>(Method::ServiceStart),
    entry::<ServiceRequest<Stop>>(Method::ServiceStop),
    entry::<ServiceRequest<Restart>>(Method::ServiceRestart),
    entry::<ServiceRequest<Wait>>(Method::ServiceWait),
];

/// Descriptions for error messages.
const SERVICE: &str = "a service's name: lower-case letters, digits, `.`, `_` and `-`";
const SECONDS: &str = "a whole number of seconds from 1 to 3600";
const STATE: &str = "running or stopped";

/// One of these methods.
trait Kind: std::fmt::Debug + Send + Sync + 'static {
    const METHOD: Method;

    fn verb(args: &Arguments<'_>) -> Result<Verb, DecodeError>;
}

/// Declares the kinds whose verb has no argument.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $method:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            struct $kind;

            impl Kind for $kind {
                const METHOD: Method = Method::$method;

                fn verb(_: &Arguments<'_>) -> Result<Verb, DecodeError> {
                    Ok(Verb::$method)
                }
            }
        )*
    };
}

kinds! {
    /// `service_status`: the state of CouchDB's process.
    Status = ServiceStatus;
    /// `service_start`
    Start = ServiceStart;
    /// `service_stop`
    Stop = ServiceStop;
    /// `service_restart`
    Restart = ServiceRestart;
}

/// `service_wait`: waits until CouchDB's process is in a state.
#[derive(Debug)]
struct Wait;

impl Kind for Wait {
    const METHOD: Method = Method::ServiceWait;

    fn verb(args: &Arguments<'_>) -> Result<Verb, DecodeError> {
        let state = args.required("state")?;
        let wanted = Wanted::from_word(state.text()?).ok_or_else(|| state.wrong(STATE))?;
        Ok(Verb::ServiceWait(wanted))
    }
}

/// A request to the helper.
#[derive(Debug)]
struct ServiceRequest<K> {
    verb: Verb,
    /// `None` for the service that `host.toml` names.
    service: Option<ServiceName>,
    /// At most `host.timeout`.
    within: Option<Within>,
    kind: PhantomData<K>,
}

impl<K: Kind> Decode for ServiceRequest<K> {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let service =
            |field: &Field<'_>| ServiceName::try_from(field.string()?).map_err(|_| field.wrong(SERVICE));
        let within = |field: &Field<'_>| {
            let seconds = field.whole_seconds().ok_or_else(|| field.wrong(SECONDS))?;
            Within::try_from(seconds).map_err(|_| field.wrong(SECONDS))
        };
        Ok(Self {
            verb: K::verb(args)?,
            service: args.optional_as("service", service)?,
            within: args.optional_as("within", within)?,
            kind: PhantomData,
        })
    }
}

impl<K: Kind> Command for ServiceRequest<K> {
    fn method(&self) -> Method {
        K::METHOD
    }

    /// One change at a time. Status and wait take no lock, so that an operator can watch a restart.
    fn scopes(&self) -> Scopes {
        if K::METHOD.only_reads() { Scopes::default() } else { Scopes::writing([Scope::Server]) }
    }

    fn needs(&self) -> Needs {
        Needs::Hostd
    }

    /// A restart that is repeated after a crash restarts CouchDB once more and reaches the same state.
    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a> {
        async move {
            let change = match self.verb {
                Verb::ServiceStop => Some(guest.lifecycle.begin_stop(false).await.map_err(changing)?),
                Verb::ServiceStart | Verb::ServiceRestart => {
                    Some(guest.lifecycle.begin_start().await.map_err(changing)?)
                }
                _ => None,
            };
            let asked = guest.host.ask(run.id, self.verb.clone(), self.service.clone(), self.within).await;
            if let Some(change) = change {
                change.ended(end_of(&asked)).await;
            }
            asked.map(|report| json!(report)).map_err(RunError::Host)
        }
        .boxed()
    }

    /// A broker account must not suffice to start and stop the server.
    fn is_local_only(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::Value;

    use super::*;
    use crate::commands::tests::{decoded, typed};

    #[test]
    fn a_service_a_time_and_a_state_may_be_named() {
        let all =
            typed::<ServiceRequest<Wait>>(&json!({"service": "couchdb", "within": 5, "state": "stopped"}))
                .unwrap();
        assert_eq!(all.verb, Verb::ServiceWait(Wanted::Stopped));
        assert_eq!((all.service.unwrap().as_str(), u64::from(all.within.unwrap())), ("couchdb", 5));
        let none = typed::<ServiceRequest<Restart>>(&json!({"service": null})).unwrap();
        assert_eq!((none.verb, none.service, none.within), (Verb::ServiceRestart, None, None));
    }

    #[test]
    fn nothing_else_may() {
        let refusal = |args: Value| typed::<ServiceRequest<Wait>>(&args).unwrap_err().to_string();
        for (args, field) in [
            (json!({}), "`state`"),
            (json!({"state": "failed"}), "`state` must be running or stopped"),
            (json!({"state": "running", "service": "../ssh"}), "`service` must be a service's name"),
            (json!({"state": "running", "service": ["ssh"]}), "`service`"),
            (json!({"state": "running", "within": 0}), "`within` must be a whole number of seconds"),
            (json!({"state": "running", "within": "x"}), "`within`"),
        ] {
            let text = refusal(args);
            assert!(text.contains(field), "{text}");
        }
    }

    #[test]
    fn changes_keep_their_order_and_looks_do_not_wait() {
        let [restart, stop] = ["service_restart", "service_stop"].map(|name| decoded(name, &json!({})));
        assert!(restart.scopes().conflicts_with(&stop.scopes()));
        let look = decoded("service_status", &json!({}));
        assert!(!restart.scopes().conflicts_with(&look.scopes()));
        assert!([&restart, &stop, &look].iter().all(|command| command.is_local_only()));
        assert!([&restart, &stop, &look].iter().all(|command| command.needs() == Needs::Hostd));
    }
}
