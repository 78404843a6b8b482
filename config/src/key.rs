//! Configuration keys, and how the text of a layer becomes a value of a key's kind.

use config::{Value, ValueKind};

/// The prefix of the environment variables that set keys.
pub(crate) const ENVIRONMENT_PREFIX: &str = "TROVE_COUCHDB_";

/// RabbitMQ's group in oslo's files; its options may also appear in the query of a `transport_url`.
pub(crate) const RABBIT_GROUP: &str = "oslo_messaging_rabbit";

/// An option of an oslo.config file: its group and its name.
pub(crate) type OsloOption = (&'static str, &'static str);

/// One configuration key; `section!` generates it from a row.
#[derive(Debug)]
pub(crate) struct Key {
    /// `section.name`, as in the TOML file.
    pub(crate) name: &'static str,
    /// The name of earlier versions, as `section.name`; accepted with a warning.
    pub(crate) was: Option<&'static str>,
    pub(crate) kind: Kind,
    /// In the text form of the environment; `None` if the key is unset by default.
    pub(crate) default: Option<&'static str>,
    /// The options in the injected files: the current name, then the deprecated names in oslo's order.
    pub(crate) oslo: &'static [OsloOption],
    /// A text that counts as not set in oslo's files, where the agent has a better default.
    pub(crate) oslo_blank: Option<&'static str>,
    /// The description: the lines of the doc comment, each with its leading blank.
    pub(crate) doc: &'static str,
}

impl Key {
    /// A key with only a kind.
    pub(crate) const fn of(kind: Kind) -> Self {
        Self { name: "", was: None, kind, default: None, oslo: &[], oslo_blank: None, doc: "" }
    }

    pub(crate) fn section(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(section, _)| section)
    }

    pub(crate) fn leaf(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, leaf)| leaf)
    }

    /// The description for the documentation.
    pub(crate) fn about(&self) -> &'static str {
        self.doc.trim_start()
    }

    pub(crate) fn environment_variable(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name.replace('.', "__").to_uppercase())
    }
}

/// A TOML value is not of its key's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrongKind {
    pub(crate) problem: &'static str,
    /// What to write.
    pub(crate) advice: &'static str,
}

/// The type of a key's value; it determines how the text of a layer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// Text that is never shown.
    Secret,
    /// A path; `~/` stands for the home directory.
    Path,
    Flag,
    Count,
    /// A duration; fractions are allowed.
    Seconds,
    /// A share between 0 and 1.
    Fraction,
    /// Texts; separated by commas outside TOML, as in oslo's files.
    List,
}

impl Kind {
    /// The kind's name for the documentation.
    pub(crate) fn describe(self) -> &'static str {
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

    /// What is wrong with a TOML value of a different kind, and how to write it.
    fn expected(self) -> WrongKind {
        let (problem, advice) = match self {
            Self::Text | Self::Secret => ("must be a string", "put it in double quotes"),
            Self::Path => ("must be a path", "put it in double quotes"),
            Self::Flag => ("must be true or false", "write it without quotes"),
            Self::Count => ("must be a whole number", "write it without quotes, for example 16"),
            Self::Seconds => ("must be a number of seconds", "write it without quotes, for example 5"),
            Self::Fraction => ("must be a fraction", "write it without quotes, for example 0.1"),
            Self::List => ("must be a list of strings", "write it as [\"a\", \"b\"]"),
        };
        WrongKind { problem, advice }
    }

    /// Reads the text form of oslo files, the environment and the command line.
    ///
    /// `Ok(None)` means "not set". oslo.config treats an empty number as not set (`types.Number`); the agent
    /// treats every empty text as not set. The booleans are those of `types.Boolean`.
    pub(crate) fn read(self, text: &str) -> Result<Option<ValueKind>, &'static str> {
        let trimmed = text.trim();
        if trimmed.is_empty() && !matches!(self, Self::Flag | Self::List) {
            return Ok(None);
        }
        let whole = || number(trimmed).map(ValueKind::I64);
        let fraction = || number(trimmed).map(ValueKind::Float);
        let value = match self {
            Self::Text | Self::Secret | Self::Path => text.into(),
            Self::Flag => match trimmed.to_lowercase().as_str() {
                "true" | "1" | "on" | "yes" => true.into(),
                "false" | "0" | "off" | "no" => false.into(),
                _ => return Err("write true or false (1/0, yes/no and on/off do as well)"),
            },
            Self::Count => whole().ok_or("write a whole number, such as 16")?,
            Self::Seconds => {
                whole().or_else(fraction).ok_or("write a number of seconds, such as 30 or 0.5")?
            }
            Self::Fraction => fraction().ok_or("write a fraction, such as 0.1")?,
            // oslo keeps empty items between commas; no list of the agent needs them.
            Self::List => {
                let items = trimmed.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.collect::<Vec<_>>().into()
            }
        };
        Ok(Some(value))
    }

    /// Checks that a TOML value has this kind.
    pub(crate) fn accepts(self, value: &ValueKind) -> Result<(), WrongKind> {
        let is_text = |item: &Value| matches!(item.kind, ValueKind::String(_));
        match (self, value) {
            (Self::Text | Self::Secret | Self::Path, ValueKind::String(_))
            | (Self::Flag, ValueKind::Boolean(_))
            | (Self::Count | Self::Seconds | Self::Fraction, ValueKind::I64(_))
            | (Self::Seconds | Self::Fraction, ValueKind::Float(_)) => Ok(()),
            (Self::List, ValueKind::Array(items)) if items.iter().all(is_text) => Ok(()),
            _ => Err(self.expected()),
        }
    }
}

/// Python's `int` and `float` allow underscores between digits, so oslo's files may contain them.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.replace('_', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_oslo_config_reads_them() {
        // Expected values checked against oslo.config 10.7.0.
        let read = |kind: Kind, text: &str| kind.read(text);
        for yes in ["true", "TRUE", "1", "on", "Yes"] {
            assert_eq!(read(Kind::Flag, yes), Ok(Some(true.into())), "{yes}");
        }
        for no in ["no", "0", "off", "False"] {
            assert_eq!(read(Kind::Flag, no), Ok(Some(false.into())), "{no}");
        }
        for neither in ["", "y", "t", "2"] {
            assert!(read(Kind::Flag, neither).is_err(), "{neither}");
        }
        assert_eq!(read(Kind::Count, ""), Ok(None));
        assert_eq!(read(Kind::Count, "1_000"), Ok(Some(1000.into())));
        assert_eq!(read(Kind::Count, "+7"), Ok(Some(7.into())));
        for bad in ["x", "0x10", "1.5"] {
            assert!(read(Kind::Count, bad).is_err(), "{bad}");
        }
        assert_eq!(read(Kind::Seconds, "1e1"), Ok(Some(10.0.into())));
        let list = |items: &[&str]| Ok(Some(items.to_vec().into()));
        assert_eq!(read(Kind::List, ""), list(&[]));
        assert_eq!(read(Kind::List, "a,\nb,\nc"), list(&["a", "b", "c"]));
        assert_eq!(read(Kind::List, "a, b , c,"), list(&["a", "b", "c"]));
    }
}
