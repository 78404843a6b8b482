//! Tests every event in every state.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::couch::{Degraded, Impairment};

fn stop(boot: &str) -> Stop {
    Stop { boot_id: Some(boot.to_owned()), across_reboots: false }
}

fn required(reason: &str) -> RestartRequired {
    RestartRequired { reason: reason.to_owned(), boot_id: Some("b1".to_owned()) }
}

fn building(id: &str) -> Stage {
    Stage::Building { id: id.to_owned() }
}

fn failed(id: &str, reason: &str) -> Stage {
    Stage::Failed { id: id.to_owned(), reason: reason.to_owned() }
}

/// The stage after an event; `None` if the event is impossible.
fn stage_after(before: &Stage, event: &Event) -> Option<Stage> {
    let server = Server::Stopped(stop("b1"));
    let state = GuestState { stage: before.clone(), server, restart_required: Some(required("chttpd.port")) };
    let after = next(&state, event.clone()).ok()?;
    assert_eq!((after.server, after.restart_required), (state.server, state.restart_required), "{event:?}");
    Some(after.stage)
}

#[test]
fn a_stage_follows_from_its_events_only() {
    let [new, one, fail, settling, ready] =
        [Stage::New, building("1"), failed("1", "why"), Stage::Settling, Stage::Ready];
    let begins = Event::PrepareBegins { id: "2".to_owned() };
    let fails = Event::PrepareFailed { id: "2".to_owned(), reason: "no".to_owned() };
    let refused = |id: &str| Event::PrepareRefused { id: id.to_owned(), reason: "no".to_owned() };
    let interrupted = Event::PrepareInterrupted { reason: "no".to_owned() };
    let (was_one, was_two) = (Some(failed("1", "no")), Some(failed("2", "no")));
    let is_ready = Event::WrittenByOperator(Stage::Ready);
    let is_new = Event::WrittenByOperator(Stage::New);
    let (again, done) = (Some(building("1")), Some(Stage::Settling));
    let same = |stage: &Stage| Some(stage.clone());
    // In the order of the stages above.
    for (event, after) in [
        (begins, [Some(building("2")), again.clone(), again, None, None]),
        (Event::PrepareDone, [None, done, None, same(&settling), same(&ready)]),
        (fails, [was_two.clone(), was_one.clone(), was_one.clone(), None, None]),
        (refused("1"), [was_one.clone(), was_one.clone(), None, None, None]),
        (refused("2"), [was_two, None, None, None, None]),
        (interrupted, [None, was_one, None, None, None]),
        (Event::Settled, [None, None, None, same(&ready), None]),
        (is_ready, [same(&ready), same(&ready), same(&ready), same(&settling), same(&ready)]),
        (is_new, [same(&new), same(&one), same(&fail), same(&settling), same(&ready)]),
    ] {
        for (stage, after) in [&new, &one, &fail, &settling, &ready].into_iter().zip(after) {
            assert_eq!(stage_after(stage, &event), after, "{stage:?}, {event:?}");
        }
    }
}

/// CouchDB's process after an event; `None` if the event is impossible.
fn server_after(server: &Server, event: &Event) -> Option<Server> {
    let state = GuestState { server: server.clone(), ..building("1").into() };
    let after = next(&state, event.clone()).ok()?;
    assert_eq!((after.stage, after.restart_required), (state.stage, None), "{event:?}");
    Some(after.server)
}

#[test]
fn a_process_follows_from_its_events_only() {
    let (run, maintained, stopped) = (Server::Running, Server::Maintenance, Server::Stopped(stop("b1")));
    let stopping = Server::Stopping { stop: stop("b2"), before: Some(stop("b1")) };
    let starting = Server::Restarting { before: Some(stop("b1")), ends: None };
    let all = [&run, &maintained, &stopping, &stopped, &starting];
    let is = |server: &Server| Some(server.clone());
    let begun = |before| Some(Server::Stopping { stop: stop("b2"), before });
    let starts = |before| Some(Server::Restarting { before, ends: None });
    let (is_run, is_stopped) = (is(&run), is(&stopped));
    let held = || Some(stop("b1"));
    let done = Ended::Done { changed: true };
    let stopped_now = Some(Server::Stopped(stop("b2")));
    let as_it_is = all.map(is);
    let [_, _, is_stopping, _, is_starting] = as_it_is.clone();
    let runs = [is_run.clone(), is_run.clone(), is_stopping.clone(), is_run.clone(), is_starting.clone()];
    let text = || "why".to_owned();
    let in_maintenance =
        [is(&maintained), is(&maintained), is_stopping.clone(), is(&maintained), is_starting.clone()];
    let is_down = [is_run.clone(), is_run.clone(), is_stopping, is_stopped.clone(), is_starting];
    // In the order of the servers above.
    for (event, after) in [
        (Event::StopBegins(stop("b2")), [begun(None), begun(None), None, begun(held()), None]),
        (Event::StartBegins, [starts(None), starts(None), None, starts(held()), None]),
        (Event::StopEnded(done), [None, None, stopped_now.clone(), None, None]),
        (Event::StopEnded(Ended::Unknown), [None, None, stopped_now, None, None]),
        (Event::StopEnded(Ended::Refused), [None, None, is_stopped.clone(), None, None]),
        (Event::StartEnded(done), [None, None, None, None, is_run]),
        (Event::StartEnded(Ended::Unknown), [None, None, None, None, is_stopped.clone()]),
        (Event::StartEnded(Ended::Refused), [None, None, None, None, is_stopped]),
        (Event::Seen(Health::Healthy), runs.clone()),
        (Event::Seen(Health::NoLogin(text())), runs.clone()),
        (Event::Seen(Health::Degraded(Degraded { by: Impairment::DiskFull, reason: text() })), runs),
        (Event::Seen(Health::Maintenance(text())), in_maintenance),
        (Event::Seen(Health::Down(text())), is_down),
        (Event::Seen(Health::Slow(text())), as_it_is.clone()),
        (Event::Seen(Health::Failing(text())), as_it_is.clone()),
        (Event::Seen(Health::Unknown), as_it_is),
    ] {
        for (server, after) in all.into_iter().zip(after) {
            assert_eq!(server_after(server, &event), after, "{server:?}, {event:?}");
        }
    }
}

#[test]
fn an_agent_that_starts_knows_what_holds_in_this_boot() {
    let starts = |server, boot: &str| {
        let state =
            GuestState { server, restart_required: Some(required("chttpd.port")), ..GuestState::default() };
        let after = next(&state, Event::AgentStarts { boot_id: Some(boot.to_owned()) }).unwrap();
        (after.server, after.restart_required.is_some())
    };
    assert_eq!(starts(Server::Stopped(stop("b1")), "b1"), (Server::Stopped(stop("b1")), true));
    assert_eq!(starts(Server::Stopped(stop("b1")), "b2"), (Server::Running, false));
    let lasting = Stop { across_reboots: true, ..stop("b1") };
    assert_eq!(starts(Server::Stopped(lasting.clone()), "b2"), (Server::Stopped(lasting), false));
}

#[test]
fn what_can_not_happen_says_what_is_in_its_way() {
    let state = GuestState { server: Server::Restarting { before: None, ends: None }, ..Stage::Ready.into() };
    let error = next(&state, Event::StopBegins(stop("b1"))).unwrap_err();
    let text = "the guest is ready and CouchDB is restarting, which excludes a stop of CouchDB; try again when that has ended";
    assert_eq!(error.to_string(), text);
}
