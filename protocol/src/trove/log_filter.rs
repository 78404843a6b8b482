//! The argument of `set_log_filter` and the value of `log.filter`.

use std::str::FromStr;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The longest accepted filter, in bytes.
const MAX_BYTES: usize = 1000;

/// A log filter: a level, or `target=level`, separated by commas. Validated; in the syntax of
/// `tracing_subscriber::filter::Targets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; use off, error, warn, info, debug or trace, or target=level")]
pub struct LogFilterError {
    /// The invalid part, and what is wrong with it.
    pub problem: String,
}

impl LogFilterError {
    /// What to write instead.
    pub const ADVICE: &str = "use off, error, warn, info, debug or trace, or target=level";
}

impl LogFilter {
    /// The filter as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the filter sets a level for exactly this target.
    pub fn names(&self, target: &str) -> bool {
        self.0.split(',').any(|part| part.split_once('=').is_some_and(|(named, _)| named == target))
    }
}

impl FromStr for LogFilter {
    type Err = LogFilterError;

    /// `Targets` takes an unknown bare word for a target, so without this check a
    /// misspelt level would silence the log.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |problem: String| LogFilterError { problem };
        if text.len() > MAX_BYTES {
            return Err(invalid(format!("a filter of more than {MAX_BYTES} bytes")));
        }
        let shown = |part: &str| part.chars().take(60).collect::<String>();
        let mut directives = Vec::new();
        for directive in text.split(',').map(str::trim) {
            let (target, level) = directive.split_once('=').unwrap_or(("all", directive));
            let is_target = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-');
            let part = if level == directive { String::new() } else { format!("{:?}: ", shown(directive)) };
            if target.is_empty() || !target.chars().all(is_target) {
                return Err(invalid(format!("{part}{:?} is not a target", shown(target))));
            }
            if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
                return Err(invalid(format!("{part}{:?} is not a level", shown(level))));
            }
            directives.push(directive);
        }
        Ok(Self(directives.join(",")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn levels_and_targets_are_filters() {
        for good in ["info", "OFF", "info,trove_couchdb_agent::couch=debug"] {
            assert_eq!(good.parse::<LogFilter>().unwrap().as_str(), good);
        }
        assert_eq!(" warn, audit=off ".parse::<LogFilter>().unwrap().as_str(), "warn,audit=off");
        for bad in ["", "inof", "info,", "=info", "a=b=c", "x y=info", "info,\u{1b}[31m=warn"] {
            assert!(bad.parse::<LogFilter>().is_err(), "{bad:?}");
        }
        let error = |text: &str| text.parse::<LogFilter>().unwrap_err().to_string();
        assert_eq!(
            error("info, bogus=xx"),
            format!("\"bogus=xx\": \"xx\" is not a level; {}", LogFilterError::ADVICE)
        );
        assert_eq!(error("inof"), format!("\"inof\" is not a level; {}", LogFilterError::ADVICE));
        assert_eq!(
            error("a b=info"),
            format!("\"a b=info\": \"a b\" is not a target; {}", LogFilterError::ADVICE)
        );
        assert!(LEVELS.iter().all(|level| LogFilterError::ADVICE.contains(level)));
        assert!("a=info,".repeat(1000).parse::<LogFilter>().is_err());
    }
}
