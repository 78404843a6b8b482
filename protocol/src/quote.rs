//! How foreign text is repeated in error messages: short, on one line, with everything unprintable escaped.
//!
//! Error messages reach logs, and users through Trove's API; the text that caused them was written by somebody else. A
//! failure travels in clear, also from a guest with a key: an attacker who puts a recorded, encrypted password in the
//! place of a name must not read it in the answer. So text that was decrypted carries [`Disclosure::Sealed`] from the
//! moment it is read, and whatever quotes it shows its beginning and its length only.

use std::fmt;

/// How much of a text an error message may repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disclosure {
    /// The text was readable for anybody who could read the message.
    #[default]
    Open,
    /// The text was decrypted with the guest's key, and may be anything that was ever encrypted with it.
    Sealed,
}

/// Text from a message in the form in which an error may repeat it; the text itself is gone.
#[derive(Clone, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    /// In double quotes, as far as it may be repeated.
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

/// How much of an open text is repeated, in characters.
const SHOWN: usize = 40;

/// How much of a sealed text is repeated, in characters, and as one part of how many: a short one keeps most of its.
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
