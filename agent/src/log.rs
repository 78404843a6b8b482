//! Writes log lines to standard error, which systemd forwards to the journal, or directly to the journal.
//!
//! Every line names the instance, and every line of a command names its request. Both come from spans, which
//! no filter suppresses. The filter can be changed at run time ([`Control`]).
//!
//! lapin and hyper can print whole messages, which contain users' passwords if Trove does not encrypt them.
//! So only the agent's own crates may log below WARN, whatever the filter, and lapin may not log at all (it
//! returns its errors as values). For the same reason a panic is logged with its location but without its
//! message.

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

/// The agent's own crates, whose lines hold no secrets, and the audit log.
const OURS: [&str; 6] = [
    "trove_couchdb_agent",
    "trove_couchdb_client",
    "trove_couchdb_guest",
    "trove_couchdb_protocol",
    "trove_couchdb_system",
    AUDIT,
];

/// Crates that a filter may also name as parts of the agent, which is how they are documented for operators.
const PARTS: [(&str, &str); 3] = [
    ("trove_couchdb_agent::couch", "trove_couchdb_client"),
    ("trove_couchdb_agent::transport", "trove_couchdb_guest"),
    ("trove_couchdb_agent::system", "trove_couchdb_system"),
];

/// The target of audit lines (`audit::TARGET`). A filter suppresses them only if it names them.
const AUDIT: &str = "audit";

/// The target of the spans that identify the instance and the request.
const CONTEXT: &str = "trove_couchdb_agent::context";

/// Why the logger could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `log.format` is `journal`, but there is no journal.
    #[error("systemd's journal can't be reached ({0}); set log.format to \"text\" or \"json\"")]
    Journal(#[source] io::Error),
    /// A logger is already installed.
    #[error(transparent)]
    Twice(#[from] TryInitError),
}

/// Changes the log filter. Clones change the same filter.
#[derive(Debug, Clone)]
pub struct Control {
    configured: Arc<Mutex<LogFilter>>,
    /// `None` without a logger, as in a test.
    handle: Option<reload::Handle<Targets, Registry>>,
}

impl Control {
    /// For a process without a logger: accepts every filter and has no effect.
    pub fn without_a_log(configured: LogFilter) -> Self {
        Self { configured: Arc::new(Mutex::new(configured)), handle: None }
    }

    /// Sets this filter, or the configured one if `None`. Returns the filter that is now in force.
    pub fn set(&self, filter: Option<&LogFilter>) -> LogFilter {
        let configured = self.configured.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let filter = filter.unwrap_or(&configured);
        // Fails only if the logger is gone, and it is never removed.
        if let Some(Err(error)) = self.handle.as_ref().map(|handle| handle.reload(targets(filter))) {
            error!(%error, "The log's filter can't be changed.");
        }
        filter.clone()
    }

    /// Sets a filter from a configuration that was read again.
    pub fn configure(&self, filter: &LogFilter) {
        filter.clone_into(&mut self.configured.lock().unwrap_or_else(PoisonError::into_inner));
        self.set(None);
    }
}

/// Whether [`init`] would reach its output.
pub fn check(settings: &LogSettings) -> Result<(), LogError> {
    match settings.format {
        LogFormat::Json | LogFormat::Text => Ok(()),
        LogFormat::Journal => tracing_journald::layer().map(drop).map_err(LogError::Journal),
    }
}

/// Installs the logger, the export of spans if there is one, and the panic hook. To be called once per
/// process.
pub fn init(settings: &LogSettings, export: Option<&trace::Export>) -> Result<Control, LogError> {
    let (filter, handle) = reload::Layer::new(targets(&settings.filter));
    let to_stderr = || tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        LogFormat::Json => to_stderr().json().boxed(),
        LogFormat::Text => to_stderr().boxed(),
        LogFormat::Journal => {
            // Without a prefix, because operators search for INSTANCE=, REQUEST_ID= and METHOD=.
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

/// The span around all lines of the process. It has the highest level, because filters apply to spans as
/// well.
pub fn instance_span(guest_id: &str) -> Span {
    error_span!(target: CONTEXT, "agent", instance = guest_id)
}

/// The span around the lines of one command.
pub fn command_span(request_id: Option<&str>) -> Span {
    error_span!(target: CONTEXT, "command", request_id = request_id.map(trace::short_id))
}

/// The filter in the form of `tracing_subscriber`. It was validated before.
fn targets(filter: &LogFilter) -> Targets {
    let filter = filter.as_str().parse();
    let targets: Targets = filter.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let targets = with_parts(targets);
    let names_audit = targets.iter().any(|(target, _)| target == AUDIT);
    let targets = if names_audit { targets } else { targets.with_target(AUDIT, LevelFilter::INFO) };
    targets.with_target(CONTEXT, LevelFilter::ERROR).with_target(trace::TARGET, LevelFilter::OFF)
}

/// Applies a level for the agent, or for a part of it, to the part's crate, unless the filter names the
/// crate.
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
