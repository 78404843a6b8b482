//! Quotes untrusted text in error messages: shortened, on one line, with unprintable characters escaped.
//!
//! Error messages reach logs and, through Trove's API, users. A failure travels in clear even if the
//! guest has a key: an attacker who replaces a name with a recorded, encrypted password must not read
//! the password in the answer. So decrypted text has [`Disclosure::Sealed`] from the start, and a quote
//! shows only its beginning and its length.

use std::fmt;

/// How much of a text an error message may repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disclosure {
    /// The text was in clear in the message.
    #[default]
    Open,
    /// The text was decrypted with the guest's key, so it may be a recorded secret.
    Sealed,
}

/// Text from a message in the form that an error may repeat. It does not contain the original text.
#[derive(Clone, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    /// The text in double quotes, as far as it may be repeated.
    pub fn new(text: &str, disclosure: Disclosure) -> Self {
        Self(quote(text, disclosure))
    }
}

impl From<&str> for Quoted {
    fn from(text: &str) -> Self {
        Self::new(text, Disclosure::Open)
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Quoted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The maximum number of characters shown of an open text.
const SHOWN: usize = 40;

/// The maximum number of characters shown of a sealed text, of which at most a third is shown.
const SHOWN_OF_SEALED: usize = 3;
const PART_OF_SEALED: usize = 3;

/// The text in double quotes, as far as it may be repeated.
pub(crate) fn quote(text: &str, disclosure: Disclosure) -> String {
    match disclosure {
        Disclosure::Open => format!("\"{}\"", printable(text)),
        Disclosure::Sealed => sealed(text),
    }
}

/// The text without quotes, cut after [`SHOWN`] characters.
pub(crate) fn printable(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn sealed(text: &str) -> String {
    let length = text.chars().count();
    let beginning = text.chars().take(SHOWN_OF_SEALED.min(length / PART_OF_SEALED));
    let plural = if length == 1 { "" } else { "s" };
    format!(
        "\"{}…\" ({length} character{plural})",
        beginning.flat_map(char::escape_debug).collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_and_escaped() {
        assert_eq!(quote("alice", Disclosure::Open), "\"alice\"");
        assert_eq!(quote("a\r\n\u{1b}[31m\"\\", Disclosure::Open), r#""a\r\n\u{1b}[31m\"\\""#);
        assert_eq!(printable(&"é".repeat(41)), format!("{}…", "é".repeat(40)));
        assert_eq!(printable(&"é".repeat(40)), "é".repeat(40));
    }

    #[test]
    fn of_sealed_text_the_beginning_and_the_length_are_shown() {
        let sealed = |text| quote(text, Disclosure::Sealed);
        assert_eq!(sealed("S3cret-canary"), "\"S3c…\" (13 characters)");
        assert_eq!(sealed("é\n\"éé\"é\"é"), "\"é\\n\\\"…\" (9 characters)");
        assert_eq!(sealed("shop"), "\"s…\" (4 characters)");
        assert_eq!((sealed("a"), sealed("")), ("\"…\" (1 character)".into(), "\"…\" (0 characters)".into()));
    }
}
