//! Text from files and environment variables: removes what editors and shells
//! add, and refuses anything but UTF-8.
//!
//! Shared by the agent and its tool, because both must read the same password from the same file.

/// U+FEFF. Windows editors write it at the start of a file as an encoding mark; it is not part of the text.
pub const BYTE_ORDER_MARK: char = '\u{feff}';

/// Why bytes are not text. The error contains none of the bytes: they may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// UTF-16: every other byte of ASCII text is zero.
    #[error("it is UTF-16, not UTF-8; save it as UTF-8 (`iconv -f UTF-16 -t UTF-8`)")]
    Utf16,
    /// A single-byte encoding such as Latin-1.
    #[error(
        "line {line} has a character that is not UTF-8, as in a file saved as Latin-1; save it as UTF-8 \
         (`iconv -f LATIN1 -t UTF-8`)"
    )]
    NotUtf8 {
        /// The line, counted from 1.
        line: usize,
    },
}

/// The text of a file, including a byte order mark.
pub fn decode(bytes: Vec<u8>) -> Result<String, NotText> {
    if is_utf16(&bytes) {
        return Err(NotText::Utf16);
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let before = str::from_utf8(before).unwrap_or_default();
        NotText::NotUtf8 { line: before.matches('\n').count() + 1 }
    })
}

/// Detects a byte order mark, or a zero as one of the first two bytes, as in ASCII text.
fn is_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=0xff, ..] | [1..=0xff, 0, ..])
}

/// A secret without trailing line breaks (as from `$(cat file; echo)`) and without a byte order
/// mark. Blanks are part of the secret.
pub fn secret(text: &str) -> &str {
    let end = |c: char| matches!(c, '\r' | '\n' | BYTE_ORDER_MARK);
    text.trim_start_matches(BYTE_ORDER_MARK).trim_end_matches(end)
}

/// The secret in the first line of a file or of standard input.
pub fn secret_line(text: &str) -> &str {
    secret(text.trim_start_matches(BYTE_ORDER_MARK).split('\n').next().unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn what_an_editor_or_a_shell_adds_is_no_part_of_a_secret() {
        for text in
            ["p w", "p w\n", "p w\r\n", "p w\n\n", "\u{feff}p w", "\u{feff}p w\r\n", "p w\u{feff}\n", "p w\r"]
        {
            assert_eq!(secret(text), "p w", "{text:?}");
            assert_eq!(secret_line(text), "p w", "{text:?}");
        }
        assert_eq!(secret(" p\tw "), " p\tw ", "blanks belong to it");
        assert_eq!(secret("a\nb\n"), "a\nb");
        assert_eq!(secret_line("a\nb\n"), "a");
        assert_eq!(secret_line("\nb"), "");
        assert_eq!(secret_line("\u{feff}\n"), "");
    }

    #[test]
    fn what_is_no_utf8_is_named_with_its_line_and_not_with_its_bytes() {
        assert_eq!(decode("ä\nb".into()), Ok("ä\nb".to_owned()));
        assert_eq!(decode(Vec::new()), Ok(String::new()));
        assert_eq!(decode(b"a".to_vec()), Ok("a".to_owned()));
        let utf16 =
            |text: &str, order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
        for text in ["\u{feff}[broker]", "[broker]"] {
            assert_eq!(decode(utf16(text, u16::to_le_bytes)), Err(NotText::Utf16));
            assert_eq!(decode(utf16(text, u16::to_be_bytes)), Err(NotText::Utf16));
        }
        assert_eq!(decode(b"[a]\n# Passw\xf6rter\n".to_vec()), Err(NotText::NotUtf8 { line: 2 }));
    }
}
