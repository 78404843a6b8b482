//! Stops, starts and restarts CouchDB's process through `trove-couchdb-hostd`, for Trove's commands.
//!
//! The guest's state records the change before the helper is asked, so that the heartbeat never calls a
//! deliberate stop a crash. A start counts when CouchDB answers the agent's login, not when its process runs.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{self, Instant},
};
use tracing::warn;
use trove_couchdb_protocol::host::{HostError, Lines, LogTail, ServiceReport, Verb};

use crate::{
    commands::{Guest, NotBack, Run, RunError},
    couch::CommandError,
    guest::{Ended, Lifecycle, TransitionError},
    host::{Host, HostFailure},
    system::boot_id,
};

/// How long a started CouchDB may take until it answers: it opens its databases first.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// The interval between requests to a CouchDB that is starting.
const POLL: Duration = Duration::from_millis(250);

/// The longest end of a log in an answer: Trove stores it with the fault, and shows it in one line.
const MAX_LOG: usize = 1500;

/// Stops CouchDB on purpose. The heartbeat says `shutdown` until it is started again or the machine is
/// rebooted; with `across_reboots` also after that.
pub(in crate::commands) async fn stop(
    guest: &Guest,
    run: &Run<'_>,
    across_reboots: bool,
) -> Result<(), RunError> {
    let change = guest.lifecycle.begin_stop(across_reboots).await.map_err(changing)?;
    let asked = guest.host.ask(run.id, Verb::ServiceStop, None, None).await;
    change.ended(end_of(&asked)).await;
    guest.lifecycle.tell_again();
    asked.map(drop).map_err(RunError::Host)
}

/// Stops a CouchDB again that a reboot has started although Trove wanted it to stay down: Trove 12 to 19 may
/// send `do_not_start_on_reboot` before a resize.
pub async fn stay_stopped(lifecycle: &Lifecycle, host: Host, background: &mut JoinSet<()>) -> Host {
    let server = lifecycle.last_known().server;
    let Some(stop) = server.stop().filter(|stop| stop.across_reboots && stop.boot_id != boot_id()) else {
        return host;
    };
    // Before the first health check, which would take a running CouchDB for the end of the stop.
    let Ok(change) = lifecycle.begin_stop(stop.across_reboots).await else { return host };
    let helper = host.clone();
    background.spawn(async move {
        let asked = helper.ask("stay-stopped", Verb::ServiceStop, None, None).await;
        change.ended(end_of(&asked)).await;
        if let Err(failure) = asked {
            warn!(reason = %failure, "CouchDB was to stay stopped after the reboot, and can't be stopped.");
        }
        // Never return: the agent exits if one of its tasks ends.
        std::future::pending::<()>().await;
    });
    host
}

/// Starts CouchDB unless it runs, and waits until it answers.
pub(in crate::commands) async fn start(guest: &Guest, run: &Run<'_>) -> Result<(), RunError> {
    begin(guest, run, Verb::ServiceStart).await
}

/// Restarts CouchDB and waits until it answers.
pub(super) async fn restart(guest: &Guest, run: &Run<'_>) -> Result<(), RunError> {
    begin(guest, run, Verb::ServiceRestart).await
}

async fn begin(guest: &Guest, run: &Run<'_>, verb: Verb) -> Result<(), RunError> {
    let change = guest.lifecycle.begin_start().await.map_err(changing)?;
    let asked = guest.host.ask(run.id, verb, None, None).await;
    let end = end_of(&asked);
    let result = match asked {
        Ok(_) => until_it_answers(guest, run).await,
        Err(failure) if is_down(&failure) => Err(not_back(guest, run, failure.to_string()).await),
        Err(failure) => Err(RunError::Host(failure)),
    };
    change.ended(end).await;
    // Trove has set a status of its own, and shows it until the next heartbeat.
    guest.lifecycle.tell_again();
    result
}

/// Waits until a CouchDB that was just started answers the agent's login.
async fn until_it_answers(guest: &Guest, run: &Run<'_>) -> Result<(), RunError> {
    let deadline = Instant::now() + ANSWERS_WITHIN;
    loop {
        let error = match guest.couch.prove_login().await {
            Ok(()) => return Ok(()),
            Err(error) => CommandError::from(error),
        };
        if !error.is_outage() && !error.is_transient() {
            return Err(RunError::Command(error));
        }
        if Instant::now() >= deadline {
            let seconds = ANSWERS_WITHIN.as_secs();
            let reason = format!("its process runs, but it does not answer after {seconds} s ({error})");
            return Err(not_back(guest, run, reason).await);
        }
        time::sleep(POLL).await;
    }
}

async fn not_back(guest: &Guest, run: &Run<'_>, reason: String) -> RunError {
    let log = match guest.host.log_tail(run.id, Lines::REPORT).await {
        Ok(tail) => format!("The end of its log: {}", end_of_log(&guest.redactor.redact(&joined(&tail)))),
        Err(failure) => format!("Its log can't be read: {failure}"),
    };
    RunError::NotBack(NotBack { reason, log })
}

/// One line; the place that tells most is the last one.
fn joined(tail: &LogTail) -> String {
    let sources = tail.sources.iter().map(|source| match &source.error {
        Some(error) => format!("[{}: {error}]", source.name),
        None => format!("[{}] {}", source.name, source.lines.join(" | ")),
    });
    sources.collect::<Vec<_>>().join(" ")
}

/// The last characters, at most [`MAX_LOG`].
fn end_of_log(text: &str) -> String {
    let skipped = text.chars().count().saturating_sub(MAX_LOG);
    let end: String = text.chars().skip(skipped).collect();
    if skipped == 0 { end } else { format!("… {end}") }
}

/// Whether the helper tried, and CouchDB's process is not up.
fn is_down(failure: &HostFailure) -> bool {
    matches!(failure, HostFailure::Refused(HostError::Backend { .. } | HostError::Late { .. }))
}

#[allow(clippy::needless_pass_by_value)] // for `map_err`
pub(super) fn changing(error: TransitionError) -> RunError {
    RunError::Changing(error.to_string())
}

/// How a change ended, for the guest's state.
pub(super) fn end_of(asked: &Result<ServiceReport, HostFailure>) -> Ended {
    match asked {
        Ok(report) => Ended::Done { changed: report.changed },
        Err(failure) if failure.may_have_taken_effect() => Ended::Unknown,
        Err(_) => Ended::Refused,
    }
}

#[cfg(test)]
mod tests {
    use trove_couchdb_protocol::host::LogSource;

    use super::*;

    #[test]
    fn a_report_has_every_source_and_the_end_of_the_log() {
        let source = |name: &str, lines: &[&str], error: Option<&str>| LogSource {
            name: name.to_owned(),
            lines: lines.iter().map(ToString::to_string).collect(),
            error: error.map(str::to_owned),
        };
        let sources =
            vec![source("/var/log/couchdb.log", &[], Some("no")), source("the journal", &["a", "b"], None)];
        assert_eq!(joined(&LogTail { sources }), "[/var/log/couchdb.log: no] [the journal] a | b");
        let long = "x".repeat(MAX_LOG) + "end";
        let end = end_of_log(&long);
        assert!(end.starts_with("… x") && end.ends_with("xend") && end.chars().count() == MAX_LOG + 2);
    }
}
