//! Log lines to standard error, where systemd's journal takes them from.
//!
//! lapin and hyper can print whole messages, which hold users' passwords when Trove speaks in clear: whatever
//! filter is configured, only this agent's own crates say more than warnings, and lapin says nothing (its
//! errors come back as values). A panic is logged with its place and without its text for the same reason.

use std::{io, panic};

use tracing::{Level, Metadata, error, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    filter::{FilterFn, Targets, filter_fn},
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

use crate::config::{LogFormat, LogSettings};

/// Our own crates, whose lines hold no secrets, and the audit log.
const OURS: [&str; 3] = ["trove_couchdb_agent", "trove_couchdb_protocol", AUDIT];

/// The target of audit lines (`audit::TARGET`). They are no matter of taste: a filter that keeps the log short lets them
/// through, unless it names them.
const AUDIT: &str = "audit";

/// Installs the logger and the panic hook. Once per process.
pub fn init(settings: &LogSettings) -> Result<(), TryInitError> {
    let targets = targets(&settings.filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        LogFormat::Json => lines.json().boxed(),
        LogFormat::Text => lines.boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(targets).with_filter(discretion())).try_init()?;
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(place, "A part of the agent panicked.");
    }));
    Ok(())
}

/// The filter was validated with the settings.
fn targets(filter: &str) -> Targets {
    let targets: Targets = filter.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let names_audit = targets.iter().any(|(target, _)| target == AUDIT);
    if names_audit { targets } else { targets.with_target(AUDIT, LevelFilter::INFO) }
}

fn discretion() -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    filter_fn(|metadata| may_speak(metadata.target(), *metadata.level()))
}

fn may_speak(target: &str, level: Level) -> bool {
    let krate = target.split("::").next().unwrap_or_default();
    OURS.contains(&krate) || (krate != "lapin" && level <= Level::WARN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audit_lines_pass_a_filter_that_does_not_name_them() {
        assert!(targets("error").would_enable(AUDIT, &Level::INFO));
        assert!(targets("off").would_enable(AUDIT, &Level::INFO));
        assert!(!targets("info,audit=off").would_enable(AUDIT, &Level::INFO));
        assert!(!targets("error").would_enable("trove_couchdb_agent", &Level::INFO));
    }

    #[test]
    fn only_our_own_crates_say_more_than_warnings() {
        assert!(may_speak("trove_couchdb_agent::dispatch", Level::TRACE));
        assert!(may_speak("hyper_util::client", Level::WARN));
        assert!(!may_speak("hyper_util::client", Level::INFO));
        assert!(!may_speak("trove_couchdb_agent_plugin", Level::DEBUG));
        assert!(!may_speak("lapin::returned_messages", Level::WARN), "it prints the message");
    }
}
