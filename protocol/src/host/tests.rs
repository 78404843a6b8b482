//! The exact wire format of `trove-couchdb-hostd`. One package installs both programs, but the old helper may
//! still run while the new agent starts.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, from_value, json, to_value};

use super::*;

fn request(value: Value) -> Result<Request, serde_json::Error> {
    from_value(value)
}

fn id() -> RequestId {
    RequestId::try_from("a1".to_owned()).unwrap()
}

#[test]
fn a_request_names_a_verb_and_at_most_a_service_and_a_time() {
    let all = request(json!({
        "id": "a1", "verb": {"service-wait": "stopped"}, "service": "couchdb", "within": 5,
    }));
    let expected = Request {
        id: id(),
        verb: Verb::ServiceWait(Wanted::Stopped),
        service: Some(ServiceName::try_from("couchdb".to_owned()).unwrap()),
        within: Some(Within::try_from(5).unwrap()),
    };
    assert_eq!(all.unwrap(), expected);
    let short = Request { id: id(), verb: Verb::ServiceRestart, service: None, within: None };
    assert_eq!(to_value(&short).unwrap(), json!({"id": "a1", "verb": "service-restart"}));
    assert_eq!(request(to_value(&short).unwrap()).unwrap(), short);
}

#[test]
fn unknown_requests_are_refused() {
    for bad in [
        json!({"id": "a1", "verb": "service-restart", "unit": "ssh.service"}),
        json!({"id": "a1", "verb": "service-reload"}),
        json!({"id": "a1", "verb": {"service-wait": "on-fire"}}),
        json!({"id": "a1", "verb": "service-wait"}),
        json!({"verb": "service-status"}),
        json!({"id": "", "verb": "service-status"}),
        json!({"id": "a b", "verb": "service-status"}),
        json!({"id": "a1", "verb": "service-status", "service": "../ssh"}),
        json!({"id": "a1", "verb": "service-status", "service": "-x"}),
        json!({"id": "a1", "verb": "service-status", "service": "Ssh"}),
        json!({"id": "a1", "verb": "service-status", "service": "a".repeat(65)}),
        json!({"id": "a1", "verb": {"volume-format": "/etc/passwd"}}),
        json!({"id": "a1", "verb": {"volume-format": "/dev/../etc/passwd"}}),
        json!({"id": "a1", "verb": {"volume-format": "/dev/"}}),
        json!({"id": "a1", "verb": {"volume-format": "/dev/a b"}}),
        json!({"id": "a1", "verb": "volume-format"}),
        json!({"id": "a1", "verb": "service-stop", "within": 0}),
        json!({"id": "a1", "verb": "service-stop", "within": 3601}),
        json!({"id": "a1", "verb": "service-stop", "within": 1.5}),
        json!([]),
    ] {
        assert!(request(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn every_verb_has_its_name() {
    let verbs = [
        Verb::ServiceStatus,
        Verb::ServiceStart,
        Verb::ServiceStop,
        Verb::ServiceRestart,
        Verb::ServiceWait(Wanted::Running),
        Verb::LogTail(Lines::REPORT),
        Verb::VolumeStatus,
        Verb::VolumeFormat(DevicePath::try_from("/dev/vdb".to_owned()).unwrap()),
        Verb::VolumeMoveData,
        Verb::VolumeMount,
        Verb::VolumeUnmount,
        Verb::VolumeGrow,
    ];
    let sections = [Section::Service, Section::CouchDb, Section::Volume];
    let named: usize = sections.map(|section| Verb::names_of(section).len()).iter().sum();
    assert_eq!(named, verbs.len());
    for verb in verbs {
        assert!(Verb::names_of(verb.section()).contains(&verb.name()), "{verb:?}");
        let wire = to_value(&verb).unwrap();
        let name = wire.as_str().or_else(|| wire.as_object()?.keys().next().map(String::as_str));
        assert_eq!(name, Some(verb.name()));
    }
}

#[test]
fn an_answer_is_done_or_failed() {
    let service = ServiceName::try_from("couchdb".to_owned()).unwrap();
    let observed = Observed {
        state: State::Running,
        detail: "active (running)".to_owned(),
        main_pid: Some(7),
        instance: Some("0f".to_owned()),
    };
    let report = ServiceReport { service: service.clone(), observed: observed.clone(), changed: true };
    let done = Answer { id: Some(id()), outcome: Ok(report).into() };
    let wire = json!({"id": "a1", "done": {
        "service": "couchdb", "state": "running", "detail": "active (running)", "main_pid": 7, "instance": "0f",
        "changed": true,
    }});
    assert_eq!(to_value(&done).unwrap(), wire);
    assert_eq!(from_value::<Answer<ServiceReport>>(wire).unwrap(), done);

    let late =
        HostError::Late { service, wanted: "stopped".to_owned(), seconds: 9, observed: Some(observed) };
    let text = "service couchdb is not stopped after 9 s: it is running (active (running)); look at its log";
    assert_eq!(late.to_string(), text);
    let failed = Answer { id: None, outcome: Outcome::Failed(late) };
    assert_eq!(from_value::<Answer<ServiceReport>>(to_value(&failed).unwrap()).unwrap(), failed);
}

#[test]
fn the_kind_of_an_error_is_its_kind_on_the_wire() {
    let text = || "x".to_owned();
    for error in [
        HostError::Forbidden { uid: 7 },
        HostError::Malformed { reason: text() },
        HostError::NotAllowed { what: text(), advice: text() },
        HostError::Policy { reason: text() },
        HostError::Busy { verb: text() },
        HostError::Overloaded { limit: 4 },
        HostError::Backend { backend: text(), reason: text() },
        HostError::Task { program: text(), reason: text() },
        HostError::Volume { reason: text() },
        HostError::Late {
            service: ServiceName::try_from(text()).unwrap(),
            wanted: text(),
            seconds: 1,
            observed: None,
        },
    ] {
        let wire = to_value(&error).unwrap();
        assert_eq!(wire.get("kind").and_then(Value::as_str), Some(error.kind()));
        assert_eq!(from_value::<HostError>(wire).unwrap(), error);
    }
}

#[test]
fn a_failed_service_is_stopped_and_a_changing_one_is_neither() {
    assert!(State::Running.is(Wanted::Running) && !State::Running.is(Wanted::Stopped));
    assert!(State::Failed.is(Wanted::Stopped) && State::Stopped.is(Wanted::Stopped));
    assert!(!State::Changing.is(Wanted::Running) && !State::Changing.is(Wanted::Stopped));
    assert_eq!(Wanted::from_word("stopped"), Some(Wanted::Stopped));
    assert_eq!(Wanted::from_word("failed"), None);
}

#[test]
fn times_are_cut_to_what_may_be_asked_for() {
    assert_eq!(Within::at_most(Duration::from_millis(10)).duration(), Duration::from_secs(1));
    assert_eq!(Within::at_most(Duration::from_secs(1_000_000)), Within::MAX);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(serde_json::from_slice::<Request>(&bytes));
        drop(serde_json::from_slice::<Answer<Value>>(&bytes));
    }

    #[test]
    fn names_that_are_accepted_are_words(text in ".{0,80}") {
        if let Ok(name) = ServiceName::try_from(text.clone()) {
            prop_assert!(!name.as_str().contains(['/', ' ', '\n', '\0']) && !name.as_str().starts_with('-'));
            prop_assert!((1..=64).contains(&text.len()));
        }
    }
}
