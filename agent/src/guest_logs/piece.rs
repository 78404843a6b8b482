//! Cuts a log into pieces of whole lines, without secrets.
//!
//! Clients decode a piece as UTF-8 and count its lines, so every piece is UTF-8 and ends with a newline. A line
//! that is being written is left for the next publication.

use std::io;

use trove_couchdb_guest::redact::Redactor;

use super::file::LogFile;

/// A part of the log, as it is published.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The end of its bytes in the file.
    pub(super) end: u64,
    pub(super) text: String,
    pub(super) lines: usize,
}

/// The piece that begins at `from`; `None` if there is no whole line. It has at most `longest` bytes of the file,
/// and ends at `end` if that is given.
pub(super) fn read(
    file: &LogFile,
    from: u64,
    end: Option<u64>,
    longest: usize,
    redactor: &Redactor,
) -> io::Result<Option<Piece>> {
    let longest = match end {
        Some(end) => usize::try_from(end.saturating_sub(from)).unwrap_or(longest),
        None => longest,
    };
    let mut bytes = file.read(from, longest)?;
    if end.is_none() {
        bytes.truncate(whole(&bytes, longest));
    }
    if bytes.is_empty() {
        return Ok(None);
    }
    let end = from.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    let text = String::from_utf8_lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes));
    let mut clean = redactor.redact(&text);
    clean.push('\n');
    let lines = clean.matches('\n').count();
    Ok(Some(Piece { end, text: clean, lines }))
}

/// The length of the whole lines. A line that is longer than a piece is cut, between two characters.
fn whole(bytes: &[u8], longest: usize) -> usize {
    match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(last) => last + 1,
        None if bytes.len() < longest => 0,
        None => {
            let is_start = |byte: &u8| byte & 0b1100_0000 != 0b1000_0000;
            let last = bytes.iter().rposition(is_start).filter(|last| *last > 0 && bytes.len() - last < 4);
            last.unwrap_or(bytes.len())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use trove_couchdb_protocol::Secret;

    use super::*;

    fn pieces(content: &[u8], longest: usize) -> Vec<Piece> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, content).unwrap();
        let file = LogFile::open(&path).unwrap();
        let mut redactor = Redactor::default();
        redactor.learn(&Secret::new("hunter2"));
        let mut found: Vec<Piece> = Vec::new();
        while let Some(next) =
            read(&file, found.last().map_or(0, |last| last.end), None, longest, &redactor).unwrap()
        {
            found.push(next);
        }
        found
    }

    fn piece(end: u64, text: &str, lines: usize) -> Piece {
        Piece { end, text: text.to_owned(), lines }
    }

    #[test]
    fn whole_lines_fill_a_piece_and_an_unfinished_one_waits() {
        assert_eq!(pieces(b"one\ntwo\nthree\nfo", 8), [piece(8, "one\ntwo\n", 2), piece(14, "three\n", 1)]);
        assert_eq!(pieces(b"", 8), []);
        assert_eq!(pieces(b"fo", 8), []);
        assert_eq!(pieces(b"\n\n", 8), [piece(2, "\n\n", 2)]);
    }

    #[test]
    fn a_line_longer_than_a_piece_is_cut_between_characters() {
        let long = "ab€cd€ef\n";
        let found = pieces(long.as_bytes(), 4);
        assert!(found.iter().all(|piece| !piece.text.contains('\u{fffd}')), "{found:?}");
        let joined: String = found.iter().map(|piece| piece.text.trim_end()).collect();
        assert_eq!(joined, long.trim_end());
        assert_eq!(found.last().unwrap().end, 13);
        // Not UTF-8 at all.
        let found = pieces(&[0x80; 10], 4);
        assert_eq!(found.iter().map(|piece| piece.end).collect::<Vec<_>>(), [4, 8]);
    }

    #[test]
    fn every_piece_is_utf_8_without_secrets() {
        let found = pieces(b"a \xff hunter2\n{\"password\":\"x\"}\n", 100);
        assert_eq!(found[0].text, "a \u{fffd} REDACTED\n{\"password\":\"REDACTED\"}\n");
    }
}
