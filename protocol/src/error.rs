//! Why a message could not be read.
//!
//! A [`DecodeError`] appears in the agent's log and, as the text of a failure, in the response to the user.
//! Each message names the field and the problem but never the value, which may be a password.
//! [`DecodeError::kind`] is the metrics label.

use crate::{
    cipher::CipherError,
    json::Fault,
    limits::{self, MAX_NAMES, MAX_VALUES},
    names::NameError,
    quote::printable,
};

/// Everything that can be wrong with a message, from its envelope to its arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON: bad syntax, nested too deeply, a lone surrogate, or a number out of range.
    #[error("the {part} is not JSON that can be read: {problem} (line {line}, column {column})")]
    NotJson {
        /// What was being read: `envelope`, `message`, …
        part: &'static str,
        /// The error text of `serde_json`.
        problem: String,
        /// Line at which reading stopped, counted from 1.
        line: usize,
        /// Column at which reading stopped, counted from 1.
        column: usize,
    },
    /// JSON, but not an object with the two fields of an envelope.
    #[error(
        "the body is no oslo.messaging envelope: it must have `oslo.version` and `oslo.message` once each, as text"
    )]
    NoEnvelope,
    /// An object with a repeated key. JSON readers differ in which value they use.
    #[error("the {part} has the key `{key}` twice in one object")]
    RepeatedKey {
        /// What was being read.
        part: &'static str,
        /// The key.
        key: String,
    },
    /// More values than the agent accepts.
    #[error("the {part} holds more than {MAX_VALUES} values; ask for fewer things at once")]
    TooManyValues {
        /// What was being read.
        part: &'static str,
    },
    /// More users and databases than one command may name.
    #[error(
        "the command names {named} users and databases, and at most {MAX_NAMES} are accepted; send several commands"
    )]
    TooManyNames {
        /// The number of names in the command.
        named: usize,
    },
    /// The envelope's version is not 2.0.
    #[error("the envelope's version {} is not supported, only 2.0 is", printable(.0))]
    EnvelopeVersion(String),
    /// A required field is absent or null.
    #[error("`{field}` is missing or null")]
    Missing {
        /// The path of the field, such as `users[0]._name`.
        field: String,
    },
    /// A field has the wrong type.
    #[error("`{field}` must be {expected}")]
    WrongType {
        /// The path of the field.
        field: String,
        /// The expected type, with its article: `a list`, `text`, …
        expected: &'static str,
    },
    /// An invalid user or database name.
    #[error("`{field}`: {source}")]
    Name {
        /// The path of the field.
        field: String,
        /// The rule that the name breaks. Boxed to keep the `Result`s of this crate small.
        source: Box<NameError>,
    },
    /// An encrypted value that this guest cannot read.
    #[error("`{field}` {source}")]
    Cipher {
        /// The argument, or `context`.
        field: String,
        /// Why it cannot be read.
        source: CipherError,
    },
    /// The body exceeds the size limit. Only the reply address is read from it.
    #[error("the message has {size} bytes, at most {limit} are accepted")]
    TooLarge {
        /// Bytes.
        size: usize,
        /// Bytes.
        limit: usize,
    },
    /// The decompressed body exceeds the size limit. Decompression stopped there.
    #[error("the message has more than {limit} bytes when it is decompressed; no more are accepted")]
    TooLargeInflated {
        /// Bytes.
        limit: usize,
    },
    /// The body is not in the compression that the message header names.
    #[error("the message is said to be compressed with zlib (application/x-gzip), and can't be decompressed")]
    NotInflated,
    /// An unsupported compression, with the name from the message header.
    #[error(
        "the message is compressed ({}), and only application/x-gzip is read; set kombu_compression of \
         [oslo_messaging_rabbit] to gzip on the control plane, or take it out", printable(.0)
    )]
    Compression(String),
    /// A method that no version of Trove's guest API has.
    #[error("the guest API has no method {}", printable(.0))]
    UnknownMethod(String),
    /// An RPC version that does not have the form `1.3`.
    #[error("RPC version {} is not supported, this guest serves 1.0 to {}", printable(.0), limits::served())]
    UnsupportedVersion(String),
}

impl DecodeError {
    /// The kind of error, from a fixed set; used as a metrics label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => "not_json",
            Self::NoEnvelope => "no_envelope",
            Self::RepeatedKey { .. } => "repeated_key",
            Self::TooManyValues { .. } => "too_many_values",
            Self::TooManyNames { .. } => "too_many_names",
            Self::EnvelopeVersion(_) => "envelope_version",
            Self::Missing { .. } => "missing_field",
            Self::WrongType { .. } => "wrong_type",
            Self::Name { .. } => "name",
            Self::Cipher { .. } => "cipher",
            Self::TooLarge { .. } | Self::TooLargeInflated { .. } => "too_large",
            Self::NotInflated => "not_inflated",
            Self::Compression(_) => "compression",
            Self::UnknownMethod(_) => "unknown_method",
            Self::UnsupportedVersion(_) => "unsupported_version",
        }
    }

    /// `serde_json` quotes the payload in data errors, so their text is
    /// replaced. Its syntax errors are fixed texts.
    pub(crate) fn not_json(part: &'static str, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let problem = if error.is_data() {
            "it has another shape".to_owned()
        } else {
            let text = error.to_string();
            text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text).to_owned()
        };
        Self::NotJson { part, problem, line, column }
    }

    pub(crate) fn unreadable(part: &'static str, fault: Fault) -> Self {
        match fault {
            Fault::Syntax(error) => Self::not_json(part, &error),
            Fault::RepeatedKey(key) => Self::RepeatedKey { part, key: printable(&key) },
            Fault::TooManyValues => Self::TooManyValues { part },
        }
    }

    /// Field names can come from the message, so they are cut and escaped here.
    pub(crate) fn missing(field: &str) -> Self {
        Self::Missing { field: printable(field) }
    }

    pub(crate) fn wrong_type(field: &str, expected: &'static str) -> Self {
        Self::WrongType { field: printable(field), expected }
    }

    pub(crate) fn name(field: &str, source: NameError) -> Self {
        Self::Name { field: printable(field), source: Box::new(source) }
    }

    pub(crate) fn cipher(field: &str, source: CipherError) -> Self {
        Self::Cipher { field: printable(field), source }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::names::UserName;

    #[test]
    fn messages_say_what_is_wrong_and_where() {
        let name = DecodeError::name("users[0]._name", UserName::try_from("_a").unwrap_err());
        assert_eq!(
            name.to_string(),
            "`users[0]._name`: the user name \"_a\" is not allowed: user names must not begin with `_`"
        );
        assert_eq!(DecodeError::missing("users").to_string(), "`users` is missing or null");
        assert_eq!(DecodeError::wrong_type("limit", "a list").to_string(), "`limit` must be a list");
        assert_eq!(
            DecodeError::UnsupportedVersion("x\ny".into()).to_string(),
            "RPC version x\\ny is not supported, this guest serves 1.0 to 1.3"
        );
    }

    #[test]
    fn json_errors_keep_nothing_of_the_text() {
        let error = serde_json::from_str::<Vec<u8>>("\"hunter2\"").unwrap_err();
        assert!(error.to_string().contains("hunter2"), "the reason for this rule");
        assert!(!DecodeError::not_json("message", &error).to_string().contains("hunter2"));
        for (text, problem) in [
            (r#"{"hunter2": "hunter2"#.to_owned(), "EOF while parsing a string"),
            (r#"["hunter2" "hunter2"]"#.to_owned(), "expected `,` or `]`"),
            (r#"["hunter2\ud800"]"#.replace("\\\\", "\\"), "unexpected end of hex escape"),
            ("[".repeat(200), "recursion limit exceeded"),
            ("9".repeat(400), "number out of range"),
        ] {
            let error = serde_json::from_str::<serde_json::Value>(&text).unwrap_err();
            let shown = DecodeError::not_json("message", &error).to_string();
            assert!(shown.contains(problem) && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn field_names_from_outside_are_cut_and_escaped() {
        let text = DecodeError::cipher(&"\u{7}x".repeat(500), CipherError::Undecipherable).to_string();
        assert!(text.len() < 400 && !text.contains(char::is_control), "{text}");
    }
}
