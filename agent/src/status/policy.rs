//! What to report to the conductor: the [table](crate::guest::service_status), and how long a new guest may
//! settle.

use std::time::{Duration, Instant};

use crate::{
    couch::Health,
    guest::{
        GuestState, Stage,
        service_status::{self, Heartbeat},
    },
};

/// The latest state of the guest, and since when its stage counts.
#[derive(Debug)]
pub(super) struct StatusPolicy {
    assume_prepared: bool,
    settling: Duration,
    state: GuestState,
    since: Option<Instant>,
}

impl StatusPolicy {
    /// Reports nothing until it gets a state, unless the guest is assumed to be prepared. Then it reports
    /// CouchDB's real status, whatever the outcome of a `prepare`.
    ///
    /// After a `prepare` the last health check may be older than the `prepare`, and after a reboot CouchDB
    /// may start slowly. Trove takes a `shutdown` for a failed creation. So the guest is reported as building
    /// until it is seen healthy, for at most `settling`.
    pub(super) fn new(assume_prepared: bool, settling: Duration) -> Self {
        Self { assume_prepared, settling, state: GuestState::default(), since: None }
    }

    /// Records the guest's state.
    pub(super) fn hear(&mut self, state: GuestState, now: Instant) {
        if self.since.is_none() || self.state.stage != state.stage {
            self.since = Some(now);
        }
        self.state = state;
    }

    /// The broker is reachable again. The time to settle starts over, because Trove got no reports meanwhile.
    pub(super) fn is_heard_again(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// The heartbeat to send.
    pub(super) fn heartbeat(&self, health: &Health, now: Instant) -> Heartbeat {
        if self.assume_prepared {
            return service_status::of_server(&self.state.server, health);
        }
        service_status::heartbeat(&self.state, health, self.has_settled(health, now))
    }

    /// Whether settling is over.
    pub(super) fn has_settled(&self, health: &Health, now: Instant) -> bool {
        self.state.stage == Stage::Settling
            && (*health == Health::Healthy || self.lasted(now) >= self.settling)
    }

    fn lasted(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use trove_couchdb_protocol::trove::ServiceStatus;

    use super::*;
    use crate::guest::{Server, Stop};

    const SETTLING: Duration = Duration::from_secs(600);
    const BUILDING: Heartbeat = Heartbeat::Status(ServiceStatus::Building);
    const SHUTDOWN: Heartbeat = Heartbeat::Status(ServiceStatus::Shutdown);
    const HEALTHY: Heartbeat = Heartbeat::Status(ServiceStatus::Healthy);

    fn building() -> GuestState {
        Stage::Building { id: "one".to_owned() }.into()
    }

    fn failed() -> GuestState {
        Stage::Failed { id: "one".to_owned(), reason: "why".to_owned() }.into()
    }

    fn down() -> Health {
        Health::Down("refused".to_owned())
    }

    #[test]
    fn nothing_is_said_before_prepare_and_the_truth_after_it() {
        let now = Instant::now();
        let mut policy = StatusPolicy::new(false, SETTLING);
        assert_eq!(policy.heartbeat(&down(), now), Heartbeat::Silent);
        policy.hear(Stage::New.into(), now);
        assert_eq!(policy.heartbeat(&Health::Healthy, now), Heartbeat::Silent);
        policy.hear(building(), now);
        assert_eq!(policy.heartbeat(&down(), now), BUILDING);
        policy.hear(failed(), now);
        assert_eq!(policy.heartbeat(&Health::Healthy, now), Heartbeat::Status(ServiceStatus::FailedToSpawn));
        let mut assuming = StatusPolicy::new(true, SETTLING);
        assert_eq!(assuming.heartbeat(&down(), now), SHUTDOWN);
        assuming.hear(failed(), now);
        assert_eq!(assuming.heartbeat(&Health::Healthy, now), HEALTHY);
    }

    #[test]
    fn a_stale_look_at_couchdb_does_not_end_a_creation_that_went_well() {
        let now = Instant::now();
        let mut policy = StatusPolicy::new(false, SETTLING);
        policy.hear(Stage::Settling.into(), now);
        assert_eq!(policy.heartbeat(&down(), now), BUILDING);
        assert_eq!(policy.heartbeat(&Health::Unknown, now), BUILDING);
        assert!(!policy.has_settled(&down(), now));
        assert_eq!(policy.heartbeat(&Health::Healthy, now), HEALTHY);
        assert!(policy.has_settled(&Health::Healthy, now));
        assert_eq!(policy.heartbeat(&down(), now + SETTLING), SHUTDOWN);
        assert!(policy.has_settled(&down(), now + SETTLING));
        // Reporting the same state again does not restart settling.
        policy.hear(Stage::Settling.into(), now + SETTLING);
        assert!(policy.has_settled(&down(), now + SETTLING));
        // Time without a broker connection does not count.
        policy.is_heard_again(now + SETTLING);
        assert_eq!(policy.heartbeat(&down(), now + SETTLING), BUILDING);
        // A guest that was seen healthy no longer settles.
        policy.hear(Stage::Ready.into(), now);
        assert_eq!(policy.heartbeat(&down(), now), SHUTDOWN);
        assert!(!policy.has_settled(&Health::Healthy, now));
    }

    #[test]
    fn what_was_decided_about_the_process_counts_with_and_without_trove() {
        let now = Instant::now();
        for assume_prepared in [false, true] {
            let mut policy = StatusPolicy::new(assume_prepared, SETTLING);
            let mut with = |server| {
                policy.hear(GuestState { server, ..Stage::Ready.into() }, now);
                [Health::Healthy, Health::Failing("500".to_owned())]
                    .map(|health| policy.heartbeat(&health, now))
            };
            let stopped = Server::Stopped(Stop { boot_id: None, across_reboots: false });
            assert_eq!(with(stopped), [SHUTDOWN; 2]);
            assert_eq!(with(Server::Restarting { before: None, ends: None }), [Heartbeat::Alive; 2]);
            assert_eq!(with(Server::Running), [HEALTHY, Heartbeat::Status(ServiceStatus::Crashed)]);
        }
    }
}
