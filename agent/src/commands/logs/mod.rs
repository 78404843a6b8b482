//! `guest_log_list`, `guest_log_action`: the logs that users of Trove can read.

use futures_util::FutureExt;
use serde_json::Value;
use trove_couchdb_protocol::{
    DecodeError, Field,
    trove::{Caller, Method},
};

use super::{Arguments, Command, Decode, Entry, Guest, Needs, Run, RunError, Running, entry};
use crate::guest_logs::{LogName, Wanted};

pub(super) const COMMANDS: &[Entry] =
    &[entry::<GuestLogAction>(Method::GuestLogAction), entry::<GuestLogList>(Method::GuestLogList)];

/// `guest_log_list`: all logs that the user may see.
#[derive(Debug, Clone, PartialEq, Eq)]
struct GuestLogList(Caller);

impl Decode for GuestLogList {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self(args.caller()))
    }
}

impl Command for GuestLogList {
    fn method(&self) -> Method {
        Method::GuestLogList
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move { guest.guest_logs.list(&self.0).await.map_err(RunError::GuestLog) }.boxed()
    }
}

/// `guest_log_action`: shows one log, after it was enabled, disabled, published or discarded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct GuestLogAction {
    log: LogName,
    wanted: Wanted,
    caller: Caller,
}

impl Decode for GuestLogAction {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let name = args.required("log_name")?;
        let log = LogName::from_name(name.text()?);
        let wanted = |argument: &str| Ok(args.optional_as(argument, truth)?.unwrap_or_default());
        Ok(Self {
            log: log.ok_or_else(|| name.wrong("the name of a log: couchdb or guest"))?,
            wanted: Wanted {
                enable: wanted("enable")?,
                disable: wanted("disable")?,
                publish: wanted("publish")?,
                discard: wanted("discard")?,
            },
            caller: args.caller(),
        })
    }
}

/// Trove's clients send 1, and others true.
fn truth(field: &Field<'_>) -> Result<bool, DecodeError> {
    match field.value() {
        Value::Number(number) if number.as_u64() == Some(0) => Ok(false),
        Value::Number(number) if number.as_u64() == Some(1) => Ok(true),
        _ => field.flag(),
    }
}

impl Command for GuestLogAction {
    fn method(&self) -> Method {
        Method::GuestLogAction
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        let acted = async move { guest.guest_logs.act(&self.caller, self.log, self.wanted).await };
        acted.map(|acted| acted.map_err(RunError::GuestLog)).boxed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    #![allow(clippy::needless_pass_by_value)] // `json!(…)` as an argument reads best without a borrow

    use serde_json::json;

    use super::*;
    use crate::commands::tests::typed;

    #[test]
    fn flags_are_numbers_truths_or_absent() {
        let wanted = |args: Value| typed::<GuestLogAction>(&args).map(|action| action.wanted);
        let nothing = json!({"log_name": "couchdb", "enable": null, "disable": 0, "publish": false});
        assert_eq!(wanted(nothing).unwrap(), Wanted::default());
        let all = json!({"log_name": "guest", "enable": 1, "disable": true, "publish": 1, "discard": 1});
        assert_eq!(
            wanted(all).unwrap(),
            Wanted { enable: true, disable: true, publish: true, discard: true }
        );
        for bad in [json!("1"), json!(2), json!(-1), json!([1]), json!(1.5)] {
            assert!(wanted(json!({"log_name": "couchdb", "publish": bad})).is_err());
        }
    }

    #[test]
    fn only_the_two_logs_are_known() {
        for name in [
            json!(""),
            json!("general"),
            json!("../couchdb"),
            json!("couchdb/"),
            json!("Couchdb"),
            json!("couchdb\0"),
            json!(5),
            json!(null),
            json!("x".repeat(100_000)),
        ] {
            let told = typed::<GuestLogAction>(&json!({ "log_name": name })).unwrap_err().to_string();
            assert!(told.starts_with("`log_name` ") && told.len() < 100, "{told}");
        }
    }
}
