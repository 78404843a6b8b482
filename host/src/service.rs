//! The verbs: request a change from the service manager, then wait until the desired state is reached or the
//! deadline passes.
//!
//! ```text
//! check -> change, unless nothing is to be done -> check until the state is reached and stable -> report it
//! ```
//!
//! The manager's success report is not sufficient: systemd also reports success for a CouchDB that exits a
//! moment later, and a container that was not restarted still runs. So a start counts if the service still
//! runs after `service.settle`, and a restart only if its instance is also new. One change runs at a time.

use std::time::Duration;

use tokio::time::{self, Instant};
use trove_couchdb_protocol::host::{
    HostError, Observed, ServiceName, ServiceReport, State, Verb, Wanted, Within,
};

use crate::{
    backend::{self, Answered, Backend, POLL},
    changes::Changes,
    policy::ServicePolicy,
};

/// How long a service may appear failed before a start is aborted: its pid file may be written late.
const FAILED_FOR_GOOD: Duration = Duration::from_secs(2);

/// The time limit for a last check after the deadline.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// Executes a verb of `[service]` that the policy permits.
///
/// # Errors
/// [`HostError`]: what the service manager says, or that the state was not reached in time.
pub async fn perform(
    service: &ServicePolicy,
    verb: &Verb,
    within: Option<Within>,
    changes: &Changes,
) -> Result<ServiceReport, HostError> {
    perform_on(&*backend::of(service), service, verb, within, changes).await
}

async fn perform_on(
    backend: &dyn Backend,
    service: &ServicePolicy,
    verb: &Verb,
    within: Option<Within>,
    changes: &Changes,
) -> Result<ServiceReport, HostError> {
    let limit = within.map_or(service.timeout, |within| within.duration().min(service.timeout));
    let deadline = Deadline { backend, service, limit, at: Instant::now() + limit };
    let (observed, has_changed) = match verb {
        Verb::ServiceWait(Wanted::Running) => (deadline.until_runs(None, false).await?, false),
        Verb::ServiceWait(Wanted::Stopped) => (deadline.until_stopped().await?, false),
        Verb::ServiceStart => {
            let _change = changes.begin(verb)?;
            deadline.start().await?
        }
        Verb::ServiceStop => {
            let _change = changes.begin(verb)?;
            deadline.stop().await?
        }
        Verb::ServiceRestart => {
            let _change = changes.begin(verb)?;
            (deadline.restart().await?, true)
        }
        _ => (deadline.look("known").await?, false),
    };
    Ok(ServiceReport { service: service.name.clone(), observed, changed: has_changed })
}

/// A service with a deadline.
struct Deadline<'a> {
    backend: &'a dyn Backend,
    service: &'a ServicePolicy,
    limit: Duration,
    at: Instant,
}

impl Deadline<'_> {
    async fn start(&self) -> Result<(Observed, bool), HostError> {
        let before = self.look("running").await?;
        if before.state == State::Running {
            return Ok((before, false));
        }
        self.carry_out(self.backend.start(), "running").await?;
        Ok((self.until_runs(None, true).await?, true))
    }

    async fn stop(&self) -> Result<(Observed, bool), HostError> {
        let before = self.look("stopped").await?;
        if before.state.is(Wanted::Stopped) {
            return Ok((before, false));
        }
        self.carry_out(self.backend.stop(), "stopped").await?;
        Ok((self.until_stopped().await?, true))
    }

    async fn restart(&self) -> Result<Observed, HostError> {
        let before = self.look("running").await?;
        let Some(step) = self.backend.restart() else {
            // After the service was stopped, a running service must be a new instance.
            self.stop().await?;
            self.carry_out(self.backend.start(), "running").await?;
            return self.until_runs(None, true).await;
        };
        self.carry_out(step, "running").await?;
        self.until_runs(before.instance.as_deref(), true).await
    }

    /// Waits until the service runs stably and is not the old instance. Returns an error if a started service
    /// has failed.
    async fn until_runs(&self, old: Option<&str>, was_started: bool) -> Result<Observed, HostError> {
        let mut failed_since = None;
        loop {
            let observed = self.look("running").await?;
            let is_new = old.is_none_or(|old| observed.instance.as_deref() != Some(old));
            match observed.state {
                State::Running if is_new => {
                    self.pause(self.service.settle, "running").await?;
                    let later = self.look("running").await?;
                    if later.state == State::Running && later.instance == observed.instance {
                        return Ok(later);
                    }
                    failed_since = None;
                }
                State::Failed if was_started => {
                    let since = *failed_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= FAILED_FOR_GOOD {
                        return Err(late(&self.service.name, "running", self.taken(), Some(observed)));
                    }
                }
                _ => failed_since = None,
            }
            self.pause(POLL, "running").await?;
        }
    }

    async fn until_stopped(&self) -> Result<Observed, HostError> {
        loop {
            let observed = self.look("stopped").await?;
            if observed.state.is(Wanted::Stopped) {
                return Ok(observed);
            }
            self.pause(POLL, "stopped").await?;
        }
    }

    async fn look(&self, wanted: &str) -> Result<Observed, HostError> {
        match time::timeout_at(self.at, self.backend.look()).await {
            Ok(observed) => Ok(observed?),
            Err(_elapsed) => Err(late(&self.service.name, wanted, self.limit, None)),
        }
    }

    async fn carry_out(&self, change: Answered<'_, ()>, wanted: &str) -> Result<(), HostError> {
        match time::timeout_at(self.at, change).await {
            Ok(done) => Ok(done?),
            Err(_elapsed) => Err(self.is_over(wanted).await),
        }
    }

    /// Waits for `pause`, or until the deadline if that comes first.
    async fn pause(&self, pause: Duration, wanted: &str) -> Result<(), HostError> {
        if Instant::now() + pause < self.at {
            time::sleep(pause).await;
            return Ok(());
        }
        time::sleep_until(self.at).await;
        Err(self.is_over(wanted).await)
    }

    async fn is_over(&self, wanted: &str) -> HostError {
        let observed = time::timeout(LAST_LOOK, self.backend.look()).await;
        late(&self.service.name, wanted, self.limit, observed.ok().and_then(Result::ok))
    }

    fn taken(&self) -> Duration {
        self.limit.saturating_sub(self.at.saturating_duration_since(Instant::now()))
    }
}

fn late(service: &ServiceName, wanted: &str, after: Duration, observed: Option<Observed>) -> HostError {
    let (service, wanted) = (service.clone(), wanted.to_owned());
    HostError::Late { service, wanted, seconds: after.as_secs(), observed }
}

#[cfg(test)]
mod tests;
