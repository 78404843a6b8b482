//! How foreign text is repeated in error messages: short, on one line, with everything unprintable escaped.
//!
//! Error messages reach logs, and users through Trove's API; the text that caused them was written by somebody else.
//! Used by [`crate::names`] and [`crate::error`]; never for the values of arguments, which may be passwords.

/// How much of a text is repeated, in characters.
const SHOWN: usize = 40;

/// The text in double quotes, cut after [`SHOWN`] characters.
pub(crate) fn quote(text: &str) -> String {
    format!("\"{}\"", printable(text))
}

/// The text without quotes, cut after [`SHOWN`] characters.
pub(crate) fn printable(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_and_escaped() {
        assert_eq!(quote("alice"), "\"alice\"");
        assert_eq!(quote("a\r\n\u{1b}[31m\"\\"), r#""a\r\n\u{1b}[31m\"\\""#);
        assert_eq!(printable(&"é".repeat(41)), format!("{}…", "é".repeat(40)));
        assert_eq!(printable(&"é".repeat(40)), "é".repeat(40));
    }
}
