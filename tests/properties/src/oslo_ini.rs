//! Trove's files: every assignment is on the line that it names, and no error quotes a line. Parsing ends in
//! bounded time, with settings or a readable error, and shows no secret.

use trove_couchdb_config::fuzzing::{assignments, settings};

/// Panics when the guarantee at the top of this file is broken.
pub fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match assignments(text) {
        Err(error) => {
            let other = assignments(&masked(text)).map(drop).map_err(|error| error.to_string());
            assert_eq!(other, Err(error.to_string()), "an error depends on what stands in the line");
            return;
        }
        Ok(found) => {
            let lines: Vec<String> =
                text.replace("\r\n", "\n").replace('\r', "\n").split('\n').map(str::to_owned).collect();
            let mut last = 0;
            for assignment in found {
                assert!(assignment.line > last, "out of order");
                last = assignment.line;
                let line = lines.get(assignment.line - 1).map(String::as_str).unwrap_or_default();
                assert!(line.trim_start().starts_with(&assignment.option) && !assignment.option.is_empty());
                let first = assignment.value.split('\n').next().unwrap_or_default();
                assert!(line.contains(first) && !assignment.section.is_empty());
                assert!(!assignment.option.contains(['=', ':']));
            }
        }
    }
    // Most damaged files are no complete configuration, so the required options are appended.
    let complete = format!(
        "{text}\n\n[DEFAULT]\nguest_id=7be4c2d7-7a5b-4d1e-8a65-1a49c5a0a0b1\ntransport_url=rabbit://u:planted-pw@h//\n\
         instance_rpc_encr_key=planted-key-0123456789abcdefghij\n"
    );
    let shown = match settings(&complete) {
        Ok(settings) => format!("{settings:?} {}", settings.warnings.join(" ")),
        Err(error) => error.to_string(),
    };
    // If the input itself contains one of the two, an error may show it.
    let copied = ["planted", "transport_url", "encr_key"].iter().any(|word| text.contains(word));
    assert!(copied || !shown.contains("planted"), "{shown}");
}

/// A different text of the same form.
fn masked(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { 'x' } else { c }).collect()
}
