//! Tests of the criteria for success, with a service manager that always reports success and one that never
//! answers.

#![allow(clippy::unwrap_used)]

use futures_util::{FutureExt, future};

use std::sync::Mutex;

use super::*;
use crate::policy::Policy;

/// A service manager with a script: each check returns the next state, and the last state stays.
#[derive(Debug)]
struct Scripted {
    looks: Mutex<Vec<(State, u32)>>,
    done: Mutex<Vec<&'static str>>,
    has_restart: bool,
    hangs: bool,
}

impl Scripted {
    fn new(looks: &[(State, u32)]) -> Self {
        let looks = Mutex::new(looks.iter().rev().copied().collect());
        Self { looks, done: Mutex::default(), has_restart: true, hangs: false }
    }

    fn note(&self, what: &'static str) -> Answered<'_, ()> {
        self.done.lock().unwrap().push(what);
        if self.hangs { future::pending().boxed() } else { future::ready(Ok(())).boxed() }
    }

    fn done(&self) -> Vec<&'static str> {
        self.done.lock().unwrap().clone()
    }
}

impl Backend for Scripted {
    fn look(&self) -> Answered<'_, Observed> {
        let mut looks = self.looks.lock().unwrap();
        let (state, instance) = if looks.len() > 1 { looks.pop() } else { looks.last().copied() }.unwrap();
        let observed =
            Observed { state, detail: String::new(), main_pid: None, instance: Some(instance.to_string()) };
        future::ready(Ok(observed)).boxed()
    }

    fn start(&self) -> Answered<'_, ()> {
        self.note("start")
    }

    fn stop(&self) -> Answered<'_, ()> {
        self.note("stop")
    }

    fn restart(&self) -> Option<Answered<'_, ()>> {
        self.has_restart.then(|| self.note("restart"))
    }
}

fn policy() -> ServicePolicy {
    let policy: Policy = crate::policy::tests::SYSTEMD.parse().unwrap();
    ServicePolicy { timeout: Duration::from_secs(3), settle: Duration::from_millis(20), ..policy.service }
}

async fn perform(backend: &Scripted, verb: Verb) -> Result<ServiceReport, HostError> {
    perform_on(backend, &policy(), &verb, None, &Changes::default()).await
}

use State::{Changing, Failed, Running, Stopped};

#[tokio::test]
async fn what_is_so_already_is_left_alone() {
    let running = Scripted::new(&[(Running, 1)]);
    let report = perform(&running, Verb::ServiceStart).await.unwrap();
    assert!(!report.changed && report.observed.state == Running && running.done().is_empty());
    for state in [Stopped, Failed] {
        let stopped = Scripted::new(&[(state, 1)]);
        let report = perform(&stopped, Verb::ServiceStop).await.unwrap();
        assert!(!report.changed && report.observed.state == state && stopped.done().is_empty());
    }
}

#[tokio::test]
async fn a_start_counts_when_the_service_goes_on_running() {
    let backend = Scripted::new(&[
        (Stopped, 0),
        (Changing, 1),
        (Running, 1),
        (Changing, 1),
        (Running, 2),
        (Running, 2),
    ]);
    let report = perform(&backend, Verb::ServiceStart).await.unwrap();
    assert_eq!((report.changed, report.observed.instance.as_deref()), (true, Some("2")));
    assert_eq!(backend.done(), ["start"]);
}

#[tokio::test]
async fn a_service_that_crashes_again_and_again_never_counts_as_started() {
    let mut looks = vec![(Stopped, 0)];
    looks.extend((1..500).map(|instance| (Running, instance)));
    let error = perform(&Scripted::new(&looks), Verb::ServiceStart).await.unwrap_err();
    assert!(matches!(error, HostError::Late { seconds: 3, .. }), "{error}");
}

#[tokio::test]
async fn one_that_failed_for_good_is_not_waited_for() {
    let before = Instant::now();
    let error = perform(&Scripted::new(&[(Stopped, 0), (Failed, 1)]), Verb::ServiceStart).await.unwrap_err();
    assert!(error.to_string().contains("service couchdb is not running after 2 s: it is failed"), "{error}");
    assert!(before.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_restart_counts_when_the_instance_is_a_new_one() {
    let lying = Scripted::new(&[(Running, 1)]);
    let error = perform(&lying, Verb::ServiceRestart).await.unwrap_err();
    assert!(matches!(error, HostError::Late { .. }), "{error}");
    let honest = Scripted::new(&[(Running, 1), (Running, 1), (Changing, 1), (Running, 2)]);
    let report = perform(&honest, Verb::ServiceRestart).await.unwrap();
    assert_eq!((report.changed, report.observed.instance.as_deref()), (true, Some("2")));
}

#[tokio::test]
async fn a_manager_without_restart_is_seen_to_stop_first() {
    let looks = [(Running, 1), (Running, 1), (Running, 1), (Stopped, 1), (Running, 2)];
    let backend = Scripted { has_restart: false, ..Scripted::new(&looks) };
    perform(&backend, Verb::ServiceRestart).await.unwrap();
    assert_eq!(backend.done(), ["stop", "start"]);
}

#[tokio::test]
async fn a_manager_that_hangs_costs_the_deadline_and_no_more() {
    let before = Instant::now();
    let hangs = Scripted { hangs: true, ..Scripted::new(&[(Running, 1)]) };
    let changes = Changes::default();
    let within = Some(Within::at_most(Duration::from_secs(1)));
    let error = perform_on(&hangs, &policy(), &Verb::ServiceStop, within, &changes).await.unwrap_err();
    assert!(
        error.to_string().starts_with("service couchdb is not stopped after 1 s: it is running"),
        "{error}"
    );
    assert!(before.elapsed() < Duration::from_secs(3));
    assert!(changes.begin(&Verb::ServiceStop).is_ok(), "the turn was given back");
}

#[tokio::test]
async fn the_policys_limit_is_the_longest() {
    let within = Some(Within::MAX);
    let backend = Scripted::new(&[(Running, 1)]);
    let wait = Verb::ServiceWait(Wanted::Stopped);
    let error = perform_on(&backend, &policy(), &wait, within, &Changes::default()).await.unwrap_err();
    assert!(matches!(error, HostError::Late { seconds: 3, .. }), "{error}");
}

#[tokio::test]
async fn a_second_change_is_refused_and_a_look_is_not() {
    let changes = Changes::default();
    let hangs = Scripted { hangs: true, ..Scripted::new(&[(Running, 1)]) };
    let policy = policy();
    let first = perform_on(&hangs, &policy, &Verb::ServiceRestart, None, &changes);
    let meanwhile = async {
        time::sleep(Duration::from_millis(300)).await;
        let second = perform_on(&hangs, &policy, &Verb::ServiceStop, None, &changes).await;
        assert_eq!(second, Err(HostError::Busy { verb: "service-restart".to_owned() }));
        let look = perform_on(&hangs, &policy, &Verb::ServiceStatus, None, &changes).await.unwrap();
        assert_eq!(look.observed.state, Running);
    };
    let (first, ()) = tokio::join!(first, meanwhile);
    assert!(matches!(first, Err(HostError::Late { .. })));
}
