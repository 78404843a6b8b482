//! Whether Trove has prepared this guest.
//!
//! Before `prepare` has run, a guest must be silent: the taskmanager would take a `shutdown` for a failed
//! creation. The Python guest keeps a file for the same purpose (trove/guestagent/datastore/service.py,
//! `prepare_end`).

use std::{io, path::Path};

use serde::Deserialize;

/// In the state directory. `prepare` writes it; an operator may, for a guest made by hand.
const FILE_NAME: &str = "prepared.json";

#[derive(Deserialize)]
struct Content {
    prepared: bool,
}

/// Reads `{"prepared": true}` from the state directory. No file means no.
///
/// # Errors
/// The file can't be read, or holds something else.
pub fn is_prepared(state_dir: &Path) -> io::Result<bool> {
    let text = match std::fs::read_to_string(state_dir.join(FILE_NAME)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let content: Content = serde_json::from_str(&text)?;
    Ok(content.prepared)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_a_clear_yes_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        assert!(!is_prepared(directory.path()).unwrap());
        for (content, expected) in [(r#"{"prepared": true}"#, true), (r#"{"prepared": false}"#, false)] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(is_prepared(directory.path()).unwrap(), expected);
        }
        std::fs::write(&path, "yes").unwrap();
        assert!(is_prepared(directory.path()).is_err());
    }
}
