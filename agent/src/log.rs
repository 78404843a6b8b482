//! Log lines to standard error, where systemd's journal takes them from, or to the journal itself.
//!
//! Every line says which instance it is about, and what a command brings about also whose request it is: spans, which
//! are there whatever is filtered. What is logged can be changed while the agent runs ([`Control`]).
//!
//! lapin and hyper can print whole messages, which hold users' passwords when Trove speaks in clear: whatever
//! filter is configured, only this agent's own crates say more than warnings, and lapin says nothing (its
//! errors come back as values). A panic is logged with its place and without its text for the same reason.

use std::{
    io, panic,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{Level, Metadata, Span, error, error_span, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    filter::{FilterFn, Targets, filter_fn},
    layer::SubscriberExt,
    reload,
    util::{SubscriberInitExt, TryInitError},
};
use trove_couchdb_config::{LogFormat, LogSettings};
use trove_couchdb_protocol::trove::LogFilter;

use crate::trace;

/// Our own crates, whose lines hold no secrets, and the audit log.
const OURS: [&str; 6] = [
    "trove_couchdb_agent",
    "trove_couchdb_client",
    "trove_couchdb_guest",
    "trove_couchdb_protocol",
    "trove_couchdb_system",
    AUDIT,
];

/// Crates that a filter may also name as parts of the agent: to operators they are, and that is how they are documented.
const PARTS: [(&str, &str); 3] = [
    ("trove_couchdb_agent::couch", "trove_couchdb_client"),
    ("trove_couchdb_agent::transport", "trove_couchdb_guest"),
    ("trove_couchdb_agent::system", "trove_couchdb_system"),
];

/// The target of audit lines (`audit::TARGET`). They are no matter of taste: a filter that keeps the log short lets them
/// through, unless it names them.
const AUDIT: &str = "audit";

/// The target of the spans that say what a line is about.
const CONTEXT: &str = "trove_couchdb_agent::context";

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `log.format` is `journal`, and there is none.
    #[error("systemd's journal can't be reached ({0}); set log.format to \"text\" or \"json\"")]
    Journal(#[source] io::Error),
    /// A second logger.
    #[error(transparent)]
    Twice(#[from] TryInitError),
}

/// Changes what is logged. Clones change the same.
#[derive(Debug, Clone)]
pub struct Control {
    configured: Arc<Mutex<LogFilter>>,
    /// None where nothing is logged, as in a test.
    handle: Option<reload::Handle<Targets, Registry>>,
}

impl Control {
    /// For a process without a logger: takes every filter and changes nothing.
    pub fn without_a_log(configured: LogFilter) -> Self {
        Self { configured: Arc::new(Mutex::new(configured)), handle: None }
    }

    /// From now on this is logged, or what the configuration says; returns what is in force.
    pub fn set(&self, filter: Option<&LogFilter>) -> LogFilter {
        let configured = self.configured.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let filter = filter.unwrap_or(&configured);
        // It fails only when the logger is gone, and that is never taken away.
        if let Some(Err(error)) = self.handle.as_ref().map(|handle| handle.reload(targets(filter))) {
            error!(%error, "The log's filter can't be changed.");
        }
        filter.clone()
    }

    /// The configuration was read again, and says this.
    pub fn configure(&self, filter: &LogFilter) {
        filter.clone_into(&mut self.configured.lock().unwrap_or_else(PoisonError::into_inner));
        self.set(None);
    }
}

/// Whether [`init`] would find what it writes to.
pub fn check(settings: &LogSettings) -> Result<(), LogError> {
    match settings.format {
        LogFormat::Json | LogFormat::Text => Ok(()),
        LogFormat::Journal => tracing_journald::layer().map(drop).map_err(LogError::Journal),
    }
}

/// Installs the logger, what takes spans beside it if anything does, and the panic hook. Once per process.
pub fn init(settings: &LogSettings, export: Option<&trace::Export>) -> Result<Control, LogError> {
    let (filter, handle) = reload::Layer::new(targets(&settings.filter));
    let to_stderr = || tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        LogFormat::Json => to_stderr().json().boxed(),
        LogFormat::Text => to_stderr().boxed(),
        LogFormat::Journal => {
            // Without a prefix: INSTANCE=, REQUEST_ID= and METHOD= are what one would search for.
            let journal = tracing_journald::layer().map_err(LogError::Journal)?;
            journal.with_field_prefix(None).with_syslog_identifier("trove-couchdb-agent".to_owned()).boxed()
        }
    };
    let lines = layer.with_filter(filter).with_filter(discretion());
    tracing_subscriber::registry().with(lines).with(export.map(trace::Export::layer)).try_init()?;
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(place, "A part of the agent panicked.");
    }));
    Ok(Control { configured: Arc::new(Mutex::new(settings.filter.clone())), handle: Some(handle) })
}

/// What every line of the process is about; of the highest level, as a filter leaves spans out as it does lines.
pub fn instance_span(guest_id: &str) -> Span {
    error_span!(target: CONTEXT, "agent", instance = guest_id)
}

/// What the lines of one command are about.
pub fn command_span(request_id: Option<&str>) -> Span {
    error_span!(target: CONTEXT, "command", request_id = request_id.map(trace::short_id))
}

/// The filter in the form of its library; it has been checked.
fn targets(filter: &LogFilter) -> Targets {
    let filter = filter.as_str().parse();
    let targets: Targets = filter.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let targets = with_parts(targets);
    let names_audit = targets.iter().any(|(target, _)| target == AUDIT);
    let targets = if names_audit { targets } else { targets.with_target(AUDIT, LevelFilter::INFO) };
    targets.with_target(CONTEXT, LevelFilter::ERROR).with_target(trace::TARGET, LevelFilter::OFF)
}

/// What a filter says of the agent, or of a part of it, holds for the crate of that part, unless the filter names the crate.
fn with_parts(targets: Targets) -> Targets {
    let named: Vec<(String, LevelFilter)> =
        targets.iter().map(|(target, level)| (target.to_owned(), level)).collect();
    PARTS.iter().fold(targets, |targets, (part, krate)| {
        let naming = named.iter().filter(|(target, _)| part.starts_with(target.as_str()));
        let level = naming.max_by_key(|(target, _)| target.len());
        match level {
            Some((_, level)) if !named.iter().any(|(target, _)| target == krate) => {
                targets.with_target(*krate, *level)
            }
            _ => targets,
        }
    })
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
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn targets_of(filter: &str) -> Targets {
        targets(&filter.parse().unwrap())
    }

    #[test]
    fn audit_lines_pass_a_filter_that_does_not_name_them() {
        assert!(targets_of("error").would_enable(AUDIT, &Level::INFO));
        assert!(targets_of("off").would_enable(AUDIT, &Level::INFO));
        assert!(!targets_of("info,audit=off").would_enable(AUDIT, &Level::INFO));
        assert!(!targets_of("error").would_enable("trove_couchdb_agent", &Level::INFO));
    }

    #[test]
    fn what_a_line_is_about_passes_every_filter() {
        for filter in ["off", "error", "trove_couchdb_agent=off", "audit=info"] {
            assert!(targets_of(filter).would_enable(CONTEXT, &Level::ERROR), "{filter}");
            assert!(may_speak(CONTEXT, Level::ERROR));
        }
    }

    #[test]
    fn spans_for_a_collector_are_none_of_the_logs() {
        for filter in ["trace", "trove_couchdb_agent=trace", "trove_couchdb_agent::span=trace"] {
            assert!(!targets_of(filter).would_enable(trace::TARGET, &Level::INFO), "{filter}");
        }
    }

    #[test]
    fn a_crate_is_named_as_the_part_of_the_agent_that_it_is() {
        let client_says =
            |filter: &str, level| targets_of(filter).would_enable("trove_couchdb_client::http", &level);
        assert!(client_says("info,trove_couchdb_agent::couch=debug", Level::DEBUG));
        assert!(client_says("warn,trove_couchdb_agent=debug", Level::DEBUG));
        assert!(!client_says("debug,trove_couchdb_agent=debug,trove_couchdb_agent::couch=warn", Level::INFO));
        assert!(!client_says("trove_couchdb_agent=debug,trove_couchdb_client=warn", Level::INFO));
        assert!(!client_says("warn,trove_couchdb_agent::transport=debug", Level::INFO));
    }

    #[test]
    fn without_a_filter_of_its_own_the_configured_one_counts() {
        let control = Control::without_a_log("warn".parse().unwrap());
        assert_eq!(control.set(Some(&"debug".parse().unwrap())).as_str(), "debug");
        assert_eq!(control.set(None).as_str(), "warn");
        control.configure(&"error".parse().unwrap());
        assert_eq!(control.set(None).as_str(), "error");
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
