//! Names from outside: users, databases and the host part of a user.
//!
//! A [`UserName`] or [`DatabaseName`] exists only if CouchDB accepts the name and the name is not known to
//! break servers. The HTTP client puts names into URLs only through `percent_encoded` and `document_path`, so
//! a name can never become a path. These types validate the *form* of a name. The agent decides which names
//! are reserved (`root`, `os_admin`, `ignore_dbs`).

use std::{cmp::Ordering, fmt, hash, str::FromStr};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::quote::{Disclosure, quote};

/// Percent-encodes everything but RFC 3986's unreserved characters; `/` is encoded, too.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `CouchDB`'s prefix for the id of a user's document (`org.couchdb.user:alice`).
const USER_PREFIX: &str = "org.couchdb.user:";

/// The longest accepted user name, in bytes.
pub const MAX_USER_NAME: usize = 255;

/// The longest accepted database name, in bytes: `CouchDB` uses at most 238
/// of a file name's 255 bytes for it.
pub const MAX_DATABASE_NAME: usize = 238;

/// An invalid name and the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {subject} name {quoted} is not allowed: {rule}")]
pub struct NameError {
    subject: &'static str,
    quoted: String,
    rule: NameRule,
}

impl NameError {
    fn new(subject: &'static str, name: &str, rule: NameRule, disclosure: Disclosure) -> Self {
        Self { subject, quoted: quote(name, disclosure), rule }
    }

    /// The rule that the name breaks.
    pub fn rule(&self) -> NameRule {
        self.rule
    }
}

/// The rules for names; each text describes a valid name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameRule {
    /// The name is empty.
    #[error("it is empty")]
    Empty,
    /// The name is longer than the limit.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// A system database such as `_users`.
    #[error("names that begin with `_` belong to CouchDB's system databases")]
    SystemDatabase,
    /// CouchDB reserves such user names.
    #[error("user names must not begin with `_`")]
    LeadingUnderscore,
    /// The first character of a database name is not `a` to `z`.
    #[error("it must begin with a lower-case letter")]
    FirstLetter,
    /// A character that is not allowed in database names.
    #[error("only lower-case letters, digits and the characters `_ $ ( ) + - /` are possible")]
    DatabaseCharacter,
    /// A dot. CouchDB's files end in `.couch`, so names cannot contain dots.
    #[error("dots are not possible, CouchDB's own files end in `.couch`")]
    Dot,
    /// An empty path segment.
    #[error("it must not end with `/` nor hold `//`")]
    EmptySegment,
    /// A path segment such as `a/_b`.
    #[error("no part between slashes may begin with `_`")]
    UnderscoreSegment,
    /// A colon: `CouchDB` separates user and password with it (RFC 7617).
    #[error("user names must not hold a colon")]
    Colon,
    /// A Unicode control character.
    #[error("control characters are not possible")]
    ControlCharacter,
}

/// The code shared by both kinds of names.
///
/// Two names with the same text are equal, whatever their disclosure.
macro_rules! name_type {
    ($type:ident, $subject:literal, $check:ident) => {
        impl $type {
            /// Validates a name from a message; `disclosure` is
            /// [`Disclosure::Sealed`] if the name was decrypted.
            pub fn read(name: &str, disclosure: Disclosure) -> Result<Self, NameError> {
                match $check(name) {
                    Ok(()) => Ok(Self { text: name.to_owned(), disclosure }),
                    Err(rule) => Err(NameError::new($subject, name, rule, disclosure)),
                }
            }

            /// The exact name, for CouchDB and for results. In text for people use `{}` or `{:?}`, which mask
            /// a decrypted name that is not known to exist.
            pub fn as_str(&self) -> &str {
                &self.text
            }

            /// The same name after something with this name was found: it may be shown.
            #[must_use]
            pub fn known(&self) -> Self {
                Self { text: self.text.clone(), disclosure: Disclosure::Open }
            }

            /// An external text with this name masked, if the name must not be shown.
            pub fn kept_back_in(&self, text: &str) -> String {
                match self.disclosure {
                    Disclosure::Open => text.to_owned(),
                    Disclosure::Sealed => text.replace(&self.text, &self.to_string()),
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(name: String) -> Result<Self, NameError> {
                Self::read(&name, Disclosure::Open)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = NameError;

            fn try_from(name: &str) -> Result<Self, NameError> {
                Self::read(name, Disclosure::Open)
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::read(name, Disclosure::Open)
            }
        }

        /// The name, masked if it is sealed.
        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.disclosure {
                    Disclosure::Open => formatter.write_str(&self.text),
                    Disclosure::Sealed => formatter.write_str(&quote(&self.text, self.disclosure)),
                }
            }
        }

        /// The name in quotes, masked if it is sealed.
        impl fmt::Debug for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.disclosure {
                    Disclosure::Open => write!(formatter, "{:?}", self.text),
                    Disclosure::Sealed => formatter.write_str(&quote(&self.text, self.disclosure)),
                }
            }
        }

        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.text == other.text
            }
        }

        impl Eq for $type {}

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $type {
            fn cmp(&self, other: &Self) -> Ordering {
                self.text.cmp(&other.text)
            }
        }

        impl hash::Hash for $type {
            fn hash<H: hash::Hasher>(&self, state: &mut H) {
                self.text.hash(state);
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.text
            }
        }
    };
}

/// A user's name: any text without control characters, colon or leading `_`, at most [`MAX_USER_NAME`] bytes.
#[derive(Clone)]
pub struct UserName {
    text: String,
    disclosure: Disclosure,
}

name_type!(UserName, "user", check_user);

impl UserName {
    /// The id of the user's document in `_users`.
    pub fn document_id(&self) -> String {
        format!("{USER_PREFIX}{}", self.text)
    }

    /// The id of the user's document as one segment of a URL.
    pub fn document_path(&self) -> String {
        utf8_percent_encode(&self.document_id(), RESERVED).to_string()
    }
}

fn check_user(name: &str) -> Result<(), NameRule> {
    if name.is_empty() {
        return Err(NameRule::Empty);
    }
    if name.len() > MAX_USER_NAME {
        return Err(NameRule::TooLong(MAX_USER_NAME));
    }
    if name.starts_with('_') {
        return Err(NameRule::LeadingUnderscore);
    }
    if name.contains(':') {
        return Err(NameRule::Colon);
    }
    if name.contains(char::is_control) {
        return Err(NameRule::ControlCharacter);
    }
    Ok(())
}

/// A database's name: `CouchDB`'s own rule, without the legal names that break servers.
#[derive(Clone)]
pub struct DatabaseName {
    text: String,
    disclosure: Disclosure,
}

name_type!(DatabaseName, "database", check_database);

impl DatabaseName {
    /// The name as one segment of a URL: all but RFC 3986's unreserved characters are percent-encoded. A
    /// user's name has no such form, because a user may be called `..`.
    pub fn percent_encoded(&self) -> String {
        utf8_percent_encode(&self.text, RESERVED).to_string()
    }
}

/// The order of the checks decides which rule is reported if a name breaks several: the most helpful one.
fn check_database(name: &str) -> Result<(), NameRule> {
    let Some(first) = name.chars().next() else {
        return Err(NameRule::Empty);
    };
    if name.len() > MAX_DATABASE_NAME {
        return Err(NameRule::TooLong(MAX_DATABASE_NAME));
    }
    if first == '_' {
        return Err(NameRule::SystemDatabase);
    }
    if name.contains('.') {
        return Err(NameRule::Dot);
    }
    if !first.is_ascii_lowercase() {
        return Err(NameRule::FirstLetter);
    }
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_$()+-/".contains(c);
    if !name.chars().all(legal) {
        return Err(NameRule::DatabaseCharacter);
    }
    if name.ends_with('/') || name.contains("//") {
        return Err(NameRule::EmptySegment);
    }
    if name.split('/').any(|segment| segment.starts_with('_')) {
        return Err(NameRule::UnderscoreSegment);
    }
    Ok(())
}

/// The host part of a Trove user, as in `alice@10.0.0.%`. `CouchDB` cannot restrict by host, so the agent
/// only distinguishes it from "any".
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPattern(String);

impl HostPattern {
    /// Accepts any text as a pattern: the agent never evaluates it.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// True for Trove's default `%` and for an empty pattern: the user may connect from anywhere.
    pub fn is_any(&self) -> bool {
        matches!(self.0.as_str(), "" | "%")
    }

    /// The pattern as received.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for HostPattern {
    fn default() -> Self {
        Self::new("%")
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
