//! `[heartbeat]`: how often the conductor hears from this guest.

use std::time::Duration;

use crate::config::error::ConfigError;
use crate::config::inputs::Section;
use crate::config::keys::{Key, Kind};

pub(in crate::config) const KEYS: &[Key] = &[
    Key::new(
        "heartbeat.interval",
        Kind::Seconds,
        "Time between two status reports. Trove shows an instance as failed when it has heard nothing for \
         agent_heartbeat_expiry (90 s).",
    )
    .default("30")
    .oslo(&[("DEFAULT", "report_interval")]),
    Key::new(
        "heartbeat.jitter",
        Kind::Fraction,
        "The share of the interval by which each report may come early or late, so that the guests of one \
         cloud do not report in step.",
    )
    .default("0.1"),
    Key::new(
        "heartbeat.assume_prepared",
        Kind::Flag,
        "Report the status although Trove never sent `prepare`: for a guest that was made by hand. Otherwise an \
         early report makes Trove take the instance for ready.",
    )
    .default("false"),
];

/// Status reports to the conductor.
#[derive(Debug, Clone)]
pub struct HeartbeatSettings {
    /// Time between two reports; at least one second, at most an hour.
    pub interval: Duration,
    /// The share of the interval by which a report may come early or late: 0 to 0.5.
    pub jitter: f64,
    /// Whether to report without having seen `prepare`.
    pub assume_prepared: bool,
}

impl HeartbeatSettings {
    pub(super) fn from_input(input: Section<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            interval: input.seconds("interval", 1.0..=3600.0)?,
            jitter: input.fraction("jitter", 0.0..=0.5)?,
            assume_prepared: input.flag("assume_prepared")?,
        })
    }
}
