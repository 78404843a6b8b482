//! What a configuration key is, and the table of all of them.
//!
//! The rows live beside the settings section that validates them (`settings/*.rs`); this file joins them and
//! finds a key by name. Every layer goes through [`find`], so a key that is not in the table cannot be set, and
//! the sample file and the documentation are compared with it by tests.

use ::config::{Value, ValueKind};

use super::settings::{
    audit, broker, couchdb, guest, heartbeat, host, local, log, metrics, prepare, rpc, trace,
};

/// The start of every environment variable that sets a key.
pub(super) const ENVIRONMENT_PREFIX: &str = "TROVE_COUCHDB_";

/// An option of an oslo.config file: its group and its name.
pub(super) type OsloOption = (&'static str, &'static str);

/// One configuration key.
#[derive(Debug)]
pub(super) struct Key {
    /// `section.name`, as in the TOML file.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// In the text form of the environment; `None` leaves the key unset.
    pub(super) default: Option<&'static str>,
    /// Where the injected files say it: the current name, then the deprecated ones in oslo's order.
    pub(super) oslo: &'static [OsloOption],
    /// The text by which oslo says "no opinion", where the agent has a better default.
    pub(super) oslo_blank: Option<&'static str>,
    /// What the key does and why one would change it; the documentation shows it.
    pub(super) about: &'static str,
}

impl Key {
    pub(super) const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, default: None, oslo: &[], oslo_blank: None, about }
    }

    pub(super) const fn default(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }

    pub(super) const fn oslo(mut self, options: &'static [OsloOption]) -> Self {
        self.oslo = options;
        self
    }

    pub(super) const fn oslo_blank(mut self, text: &'static str) -> Self {
        self.oslo_blank = Some(text);
        self
    }

    pub(super) fn section(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(section, _)| section)
    }

    pub(super) fn leaf(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, leaf)| leaf)
    }

    pub(super) fn environment_variable(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name.replace('.', "__").to_uppercase())
    }
}

/// The type of a key's value, which decides how a layer's text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Text that is never shown.
    Secret,
    /// A file name; `~/` stands for the home directory.
    Path,
    Flag,
    Count,
    /// A length of time; fractions are allowed.
    Seconds,
    /// A share between 0 and 1.
    Fraction,
    /// Texts; comma separated outside TOML, as oslo writes lists.
    List,
}

impl Kind {
    /// The kind in words, for documentation and error messages.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Secret => "text (secret)",
            Self::Path => "path",
            Self::Flag => "true or false",
            Self::Count => "whole number",
            Self::Seconds => "seconds",
            Self::Fraction => "fraction",
            Self::List => "list of texts",
        }
    }

    /// Reads the text form used by oslo files, the environment and the command line.
    ///
    /// `Ok(None)` means "not set": oslo.config takes an empty number so (`types.Number`), and an empty text
    /// means the same for every text of ours. The booleans are those of `types.Boolean`.
    pub(super) fn read(self, text: &str) -> Result<Option<ValueKind>, &'static str> {
        let trimmed = text.trim();
        if trimmed.is_empty() && !matches!(self, Self::Flag | Self::List) {
            return Ok(None);
        }
        let value = match self {
            Self::Text | Self::Secret | Self::Path => ValueKind::String(text.to_owned()),
            Self::Flag => match trimmed.to_lowercase().as_str() {
                "true" | "1" | "on" | "yes" => ValueKind::Boolean(true),
                "false" | "0" | "off" | "no" => ValueKind::Boolean(false),
                _ => return Err("write true or false (1/0, yes/no and on/off do as well)"),
            },
            Self::Count => ValueKind::I64(number(trimmed).ok_or("write a whole number, such as 16")?),
            Self::Seconds => match number(trimmed) {
                Some(whole) => ValueKind::I64(whole),
                None => {
                    ValueKind::Float(number(trimmed).ok_or("write a number of seconds, such as 30 or 0.5")?)
                }
            },
            Self::Fraction => ValueKind::Float(number(trimmed).ok_or("write a fraction, such as 0.1")?),
            // oslo keeps an empty item between two commas; no list of ours could use one.
            Self::List => trimmed
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .into(),
        };
        Ok(Some(value))
    }

    /// Whether a TOML value has this kind; the error says what to write.
    pub(super) fn accepts(self, value: &Value) -> Result<(), &'static str> {
        let (fits, advice) = match (self, &value.kind) {
            (Self::Text | Self::Secret | Self::Path, kind) => {
                (matches!(kind, ValueKind::String(_)), "write a text in double quotes")
            }
            (Self::Flag, kind) => {
                (matches!(kind, ValueKind::Boolean(_)), "write true or false, without quotes")
            }
            (Self::Count, kind) => {
                (matches!(kind, ValueKind::I64(_)), "write a whole number, without quotes")
            }
            (Self::Seconds, kind) => (
                matches!(kind, ValueKind::I64(_) | ValueKind::Float(_)),
                "write a number of seconds, without quotes",
            ),
            (Self::Fraction, kind) => {
                (matches!(kind, ValueKind::I64(_) | ValueKind::Float(_)), "write a fraction, such as 0.1")
            }
            (Self::List, ValueKind::Array(items)) => (
                items.iter().all(|item| matches!(item.kind, ValueKind::String(_))),
                "every item must be a text in double quotes",
            ),
            (Self::List, _) => (false, "write a list, such as [\"a\", \"b\"]"),
        };
        if fits { Ok(()) } else { Err(advice) }
    }
}

/// Python's `int` and `float` allow underscores between digits, so oslo's files may hold them.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.replace('_', "").parse().ok()
}

/// Every key, section by section, in the order of the documentation.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    [
        guest::KEYS,
        broker::KEYS,
        local::KEYS,
        couchdb::KEYS,
        host::KEYS,
        prepare::KEYS,
        rpc::KEYS,
        heartbeat::KEYS,
        audit::KEYS,
        log::KEYS,
        metrics::KEYS,
        trace::KEYS,
    ]
    .into_iter()
    .flatten()
}

/// The key called `section.name`.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

/// What to write in the place of a key that does not exist; `name` is as it was written, with its section if it has one.
pub(super) fn advice(name: &str) -> String {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    let sections: Vec<String> =
        all().filter(|key| key.leaf() == leaf).map(|key| format!("[{}]", key.section())).collect();
    match (sections.as_slice(), nearest(name)) {
        ([], None) => "docs/configuration.md lists them all".to_owned(),
        ([], Some(key)) => format!("did you mean {:?}?", key.name),
        // The section is misspelt, if the key is in any.
        (_, Some(key)) if name.contains('.') && key.leaf() == leaf && is_alike(key.section(), name) => {
            format!("did you mean {:?}?", key.name)
        }
        (some, _) => format!("{leaf} belongs in the section {}", some.join(" or ")),
    }
}

fn is_alike(section: &str, name: &str) -> bool {
    let written = name.split('.').next().unwrap_or(name);
    !has_section(written) && strsim::normalized_damerau_levenshtein(section, written) >= ALIKE
}

/// Below this share of equal letters a suggestion is more confusing than none.
const ALIKE: f64 = 0.6;

/// Whether a section of this name exists.
pub(super) fn has_section(name: &str) -> bool {
    all().any(|key| key.section() == name)
}

/// The known key that looks most like `name`, if any does: a misspelling, or a key put in the wrong section.
pub(super) fn nearest(name: &str) -> Option<&'static Key> {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    all()
        .map(|key| {
            let whole = strsim::normalized_damerau_levenshtein(key.name, name);
            let last = strsim::normalized_damerau_levenshtein(key.leaf(), leaf);
            // The whole name decides between two keys with the same last part.
            (key, whole.max(last * 0.99))
        })
        .filter(|(_, alike)| *alike >= ALIKE)
        .max_by(|(_, left), (_, right)| left.total_cmp(right))
        .map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_unique_and_lie_in_a_section() {
        let mut seen = std::collections::BTreeSet::new();
        for key in all() {
            assert!(seen.insert(key.name), "{} is in the table twice", key.name);
            assert_eq!(key.name.matches('.').count(), 1, "{}", key.name);
        }
    }

    #[test]
    fn texts_are_read_as_oslo_config_reads_them() {
        // Expected values checked against oslo.config 10.7.0.
        let read = |kind: Kind, text: &str| kind.read(text);
        for yes in ["true", "TRUE", "1", "on", "Yes"] {
            assert_eq!(read(Kind::Flag, yes), Ok(Some(ValueKind::Boolean(true))), "{yes}");
        }
        for no in ["no", "0", "off", "False"] {
            assert_eq!(read(Kind::Flag, no), Ok(Some(ValueKind::Boolean(false))), "{no}");
        }
        for neither in ["", "y", "t", "2"] {
            assert!(read(Kind::Flag, neither).is_err(), "{neither}");
        }
        assert_eq!(read(Kind::Count, ""), Ok(None));
        assert_eq!(read(Kind::Count, "1_000"), Ok(Some(ValueKind::I64(1000))));
        assert_eq!(read(Kind::Count, "+7"), Ok(Some(ValueKind::I64(7))));
        for bad in ["x", "0x10", "1.5"] {
            assert!(read(Kind::Count, bad).is_err(), "{bad}");
        }
        assert_eq!(read(Kind::Seconds, "1e1"), Ok(Some(ValueKind::Float(10.0))));
        let list =
            |items: &[&str]| Ok(Some(items.iter().map(ToString::to_string).collect::<Vec<_>>().into()));
        assert_eq!(read(Kind::List, ""), list(&[]));
        assert_eq!(read(Kind::List, "a,\nb,\nc"), list(&["a", "b", "c"]));
        assert_eq!(read(Kind::List, "a, b , c,"), list(&["a", "b", "c"]));
    }

    #[test]
    fn nearest_finds_misspellings_and_wrong_sections_but_does_not_guess() {
        let name = |wrong| nearest(wrong).map(|key| key.name);
        assert_eq!(name("broker.transprot_url"), Some("broker.transport_url"));
        assert_eq!(name("brokr.heartbeat"), Some("broker.heartbeat"));
        assert_eq!(name("rpc.request_timeout"), Some("couchdb.request_timeout"));
        assert_eq!(name("ignore_users"), Some("couchdb.ignore_users"));
        assert_eq!(name("colour.of_the_sky"), None);
    }
}
