//! One configuration option of CouchDB: its name, the values that it takes, and when a change takes effect.

use crate::{ServerVersion, configuration::terms};

/// An option that the agent may set.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigOption {
    /// `section.key`, as on CouchDB 3.5.
    pub name: &'static str,
    /// The values that it takes.
    pub kind: Kind,
    /// When a change takes effect.
    pub applies: Applies,
    /// The first version that has it.
    pub since: ServerVersion,
    /// The first version on which it has no effect any more.
    pub until: Option<ServerVersion>,
    /// What it does, as a sentence.
    pub about: &'static str,
}

/// When a change of an option takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// At once.
    Live,
    /// When CouchDB restarts.
    Restart,
}

/// The values of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Whole {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// One of some words.
    Word(&'static [&'static str]),
    /// Some of these words, with commas between them.
    Words(&'static [&'static str]),
    /// Any text of one line.
    Text,
    /// The name of an HTTP header.
    Header,
    /// Fields of user documents, with commas between them.
    Fields,
    /// An IP address, or `any`.
    Address,
    /// A path or URL.
    Place,
    /// The authentication handlers, as Erlang tuples.
    Handlers,
    /// Rules for passwords, as an Erlang list.
    PasswordRules,
}

/// The longest text. CouchDB has no limit.
const LONGEST: usize = 2_000;

/// The version in which the options of `[chttpd_auth]` moved there from `[couch_httpd_auth]`.
const MOVED: ServerVersion = ServerVersion { major: 3, minor: 2 };

/// The section of logins, and the older one that 3.2 and later read where the first has no value.
const LOGIN: &str = "chttpd_auth";
const OLD_LOGIN: &str = "couch_httpd_auth";

/// What makes CouchDB ignore the hash of a user: fields of its document that no other user may read.
const OF_THE_HASH: [&str; 7] =
    ["password", "password_scheme", "password_sha", "pbkdf2_prf", "iterations", "salt", "derived_key"];

/// An option of this and later versions that applies at once.
pub(super) const fn live(
    name: &'static str,
    kind: Kind,
    since: (u32, u32),
    about: &'static str,
) -> ConfigOption {
    let since = ServerVersion { major: since.0, minor: since.1 };
    ConfigOption { name, kind, applies: Applies::Live, since, until: None, about }
}

/// An option that applies when CouchDB restarts.
pub(super) const fn restart(
    name: &'static str,
    kind: Kind,
    since: (u32, u32),
    about: &'static str,
) -> ConfigOption {
    ConfigOption { applies: Applies::Restart, ..live(name, kind, since, about) }
}

pub(super) const fn whole(min: u64, max: u64) -> Kind {
    Kind::Whole { min, max }
}

impl ConfigOption {
    /// The part of the name before the dot.
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(section, _)| section)
    }

    /// The part of the name after the dot.
    pub fn key(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(_, key)| key)
    }

    /// The section in which this version of CouchDB has the option.
    pub fn section_on(&self, version: ServerVersion) -> &'static str {
        match self.section() {
            LOGIN if version < MOVED => OLD_LOGIN,
            // Only the HTTP server of 1.x reads it, which has no other.
            "chttpd" if !version.has_nodes() && self.key() == "require_valid_user" => OLD_LOGIN,
            section => section,
        }
    }

    /// Whether it has an effect on this version of CouchDB.
    pub fn is_of(&self, version: ServerVersion) -> bool {
        version >= self.since && self.until.is_none_or(|until| version < until)
    }

    /// Whether this is its name, or its name before CouchDB 3.2.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name
            || (self.section() == LOGIN && name.split_once('.') == Some((OLD_LOGIN, self.key())))
    }

    /// The text as CouchDB stores it, or what it must be instead.
    pub(super) fn value(&self, text: &str) -> Result<String, String> {
        let text = text.trim();
        self.kind.check(text)?;
        Ok(text.to_owned())
    }
}

impl Kind {
    /// The type by which Trove checks a value (`data_type` in trove/configuration/service.py).
    pub fn trove(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Whole { .. } => "integer",
            _ => "string",
        }
    }

    /// The values in words, for documentation and errors.
    pub fn expected(self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Whole { min, max } => format!("a whole number from {min} to {max}"),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Words(words) => format!("some of {}, with commas between them", words.join(", ")),
            Self::Text => "text of one line, without \" ;\"".to_owned(),
            Self::Header => "the name of an HTTP header".to_owned(),
            Self::Fields => {
                "names of fields with commas between them, none of those that hold the password's hash".to_owned()
            }
            Self::Address => "an IP address, or any".to_owned(),
            Self::Place => "a path on this server, such as /_utils/".to_owned(),
            Self::Handlers => format!("Erlang tuples with commas between them, of {}", terms::handlers()),
            Self::PasswordRules => {
                "an Erlang list of regular expressions, such as [{\".{10,}\", \"At least 10 characters.\"}, \"\\\\d+\"]"
                    .to_owned()
            }
        }
    }

    fn check(self, text: &str) -> Result<(), String> {
        let listed = |words: &[&str]| {
            let mut named = text.split(',').map(str::trim);
            named.all(|word| words.contains(&word))
        };
        let is_good = match self {
            Self::Bool => matches!(text, "true" | "false"),
            Self::Whole { min, max } => {
                is_number(text) && text.parse().is_ok_and(|number| (min..=max).contains(&number))
            }
            Self::Word(words) => words.contains(&text),
            Self::Words(words) => listed(words),
            Self::Text => true,
            Self::Header => text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
            Self::Fields => {
                text.split(',').map(str::trim).all(|field| !field.is_empty() && !OF_THE_HASH.contains(&field))
            }
            Self::Address => text == "any" || text.parse::<std::net::IpAddr>().is_ok(),
            Self::Place => {
                text.starts_with('/') && !text.starts_with("//") && !text.contains(char::is_whitespace)
            }
            Self::Handlers => terms::are_handlers(text),
            Self::PasswordRules => terms::are_password_rules(text),
        };
        if is_good && is_storable(text) { Ok(()) } else { Err(self.expected()) }
    }
}

/// The number exactly as CouchDB's `list_to_integer` and Rust read it.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether CouchDB reads this text from its ini file as it was written: it stores Latin-1, takes blanks and a
/// semicolon for the beginning of a comment (`config.erl`), and an empty text for none.
fn is_storable(text: &str) -> bool {
    let is_comment = [" ;", "\t;"].iter().any(|begin| text.contains(begin)) || text.starts_with(';');
    let is_latin = text.chars().all(|c| u32::from(c) <= 0xff && !c.is_control());
    !text.is_empty() && text.len() <= LONGEST && is_latin && !is_comment
}

#[cfg(test)]
#[path = "option_tests.rs"]
mod tests;
