//! What to tell the conductor: a pure decision from the guest's stage and CouchDB's health.

use std::time::{Duration, Instant};

use trove_couchdb_protocol::trove::ServiceStatus;

use crate::{couch::Health, preparation::Stage};

/// What has been heard of the guest's stage, and since when.
#[derive(Debug)]
pub(super) struct Voice {
    assume_prepared: bool,
    settling: Duration,
    stage: Stage,
    since: Option<Instant>,
}

impl Voice {
    /// Silent until a stage is heard, unless the guest is taken for prepared: then the truth is told, whatever becomes
    /// of a `prepare`.
    ///
    /// After a `prepare` the probe may still say what it saw before it, and after a reboot CouchDB may take long to
    /// start. Trove would take a `shutdown` for a failed creation, so the guest goes on being built until it is seen
    /// healthy, for the time `settling`.
    pub(super) fn new(assume_prepared: bool, settling: Duration) -> Self {
        Self { assume_prepared, settling, stage: Stage::Awaited, since: None }
    }

    /// Takes note of the guest's stage.
    pub(super) fn hear(&mut self, stage: Stage, now: Instant) {
        self.since = Some(now);
        self.stage = stage;
    }

    /// Trove can be told again; what it did not hear of before does not count.
    pub(super) fn is_heard_again(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// The status to tell, if any.
    pub(super) fn status(&self, health: &Health, now: Instant) -> Option<ServiceStatus> {
        match &self.stage {
            _ if self.assume_prepared => status_of(health),
            Stage::Awaited => None,
            Stage::Building { .. } => Some(ServiceStatus::Building),
            Stage::Failed { .. } => Some(ServiceStatus::FailedToSpawn),
            Stage::Settling if !self.has_settled(health, now) => Some(ServiceStatus::Building),
            Stage::Settling | Stage::Prepared => status_of(health),
        }
    }

    /// Whether a guest that was settling need not any more.
    pub(super) fn has_settled(&self, health: &Health, now: Instant) -> bool {
        self.stage == Stage::Settling && (*health == Health::Healthy || self.lasted(now) >= self.settling)
    }

    fn lasted(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

fn status_of(health: &Health) -> Option<ServiceStatus> {
    match health {
        Health::Unknown => None,
        Health::Healthy => Some(ServiceStatus::Healthy),
        // Trove refuses every command on a guest that is neither running nor healthy, also those that make room.
        Health::Slow(_) | Health::NoLogin(_) | Health::Degraded(_) => Some(ServiceStatus::Running),
        Health::Down(_) => Some(ServiceStatus::Shutdown),
        Health::Failing(_) => Some(ServiceStatus::Crashed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLING: Duration = Duration::from_secs(600);

    fn silent() -> Voice {
        Voice::new(false, SETTLING)
    }

    fn building() -> Stage {
        Stage::Building { id: "one".to_owned() }
    }

    fn failed() -> Stage {
        Stage::Failed { id: "one".to_owned(), reason: "why".to_owned() }
    }

    fn down() -> Health {
        Health::Down("refused".to_owned())
    }

    #[test]
    fn nothing_is_said_before_prepare_and_the_truth_after_it() {
        let now = Instant::now();
        let mut voice = silent();
        assert_eq!(voice.status(&down(), now), None);
        voice.hear(Stage::Awaited, now);
        assert_eq!(voice.status(&Health::Healthy, now), None);
        voice.hear(building(), now);
        assert_eq!(voice.status(&down(), now), Some(ServiceStatus::Building));
        voice.hear(failed(), now);
        assert_eq!(voice.status(&Health::Healthy, now), Some(ServiceStatus::FailedToSpawn));
        let mut assuming = Voice::new(true, SETTLING);
        assert_eq!(assuming.status(&down(), now), Some(ServiceStatus::Shutdown));
        assuming.hear(failed(), now);
        assert_eq!(assuming.status(&Health::Healthy, now), Some(ServiceStatus::Healthy));
    }

    #[test]
    fn a_stale_look_at_couchdb_does_not_end_a_creation_that_went_well() {
        let now = Instant::now();
        let mut voice = silent();
        voice.hear(Stage::Settling, now);
        assert_eq!(voice.status(&down(), now), Some(ServiceStatus::Building));
        assert_eq!(voice.status(&Health::Unknown, now), Some(ServiceStatus::Building));
        assert!(!voice.has_settled(&down(), now));
        assert_eq!(voice.status(&Health::Healthy, now), Some(ServiceStatus::Healthy));
        assert!(voice.has_settled(&Health::Healthy, now));
        assert_eq!(voice.status(&down(), now + SETTLING), Some(ServiceStatus::Shutdown));
        assert!(voice.has_settled(&down(), now + SETTLING));
        // What passed while nobody could be told does not count.
        voice.is_heard_again(now + SETTLING);
        assert_eq!(voice.status(&down(), now + SETTLING), Some(ServiceStatus::Building));
        // A guest that was seen healthy has nothing to settle.
        voice.hear(Stage::Prepared, now);
        assert_eq!(voice.status(&down(), now), Some(ServiceStatus::Shutdown));
        assert!(!voice.has_settled(&Health::Healthy, now));
    }
}
