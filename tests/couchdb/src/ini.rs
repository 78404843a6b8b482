//! The ini files of a `local.d`: read in alphabetical order. The last one is written, because a real CouchDB
//! stores values set over HTTP there.
//!
//! Callers: `node` at a start, and `keep`. The values are not interpreted here.

use std::fs;
use std::io::Error;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::options::StartError;

fn unreadable(path: &Path) -> impl FnOnce(Error) -> StartError {
    let path = path.to_owned();
    move |source| StartError::Ini { path, source }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, StartError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable(dir))? {
        let path = entry.map_err(unreadable(dir))?.path();
        if path.extension().is_some_and(|extension| extension == "ini") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads every `*.ini` of a `local.d` in alphabetical order.
pub(crate) fn read_dir(dir: &Path) -> Result<Vec<(String, String, String)>, StartError> {
    let mut values = Vec::new();
    for path in files(dir)? {
        values.extend(parse(&fs::read_to_string(&path).map_err(unreadable(&path))?));
    }
    Ok(values)
}

/// Parses an ini text: `[section]`, `key = value`, comments with a leading `;` or `#`.
pub(crate) fn parse(text: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut values = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=')
            && !line.starts_with([';', '#'])
        {
            values.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    values
}

/// Updates the last file of a `local.d`: adds changed values and removes deleted ones.
pub(crate) fn keep(dir: &Path, config: &mut Config) -> Result<(), Error> {
    let last = files(dir).map_err(Error::other)?.pop().unwrap_or_else(|| dir.join("local.ini"));
    let text = match fs::read_to_string(&last) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let mut fresh = text.clone();
    for (section, key, _) in parse(&text) {
        if config.get(&section, &key).is_none() {
            fresh = with(&fresh, &section, &key, None);
        }
    }
    for (section, key, value) in config.take_changes() {
        fresh = with(&fresh, &section, &key, Some(&value));
    }
    // Overwritten in place, as CouchDB does: owner and mode stay.
    if fresh == text { Ok(()) } else { fs::write(last, fresh) }
}

/// The text with this value, or without it if it is `None`.
fn with(text: &str, section: &str, key: &str, value: Option<&str>) -> String {
    let line = value.map(|value| format!("{key} = {value}"));
    let (mut lines, mut inside, mut after) = (Vec::new(), false, None);
    for old in text.lines() {
        if old.trim().starts_with('[') {
            inside = old.trim() == format!("[{section}]");
        }
        let named = old.split_once('=').is_some_and(|(name, _)| name.trim() == key);
        if !(inside && named) {
            lines.push(old.to_owned());
        }
        if inside {
            after = Some(lines.len());
        }
    }
    match (line, after) {
        (Some(line), Some(after)) => lines.insert(after, line),
        (Some(line), None) => lines.extend([format!("[{section}]"), line]),
        (None, _) => {}
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_value_is_put_into_its_section_replaced_there_and_taken_out() {
        let text = "; ours\n[admins]\nboss = x\n[log]\nboss = y\n";
        let more = with(text, "admins", "al", Some("z"));
        assert_eq!(more, "; ours\n[admins]\nboss = x\nal = z\n[log]\nboss = y\n");
        let other = with(text, "admins", "boss", Some("new"));
        assert_eq!(other, "; ours\n[admins]\nboss = new\n[log]\nboss = y\n");
        assert_eq!(with(text, "admins", "boss", None), "; ours\n[admins]\n[log]\nboss = y\n");
        assert_eq!(with("", "s", "k", Some("v")), "[s]\nk = v\n");
    }
}
