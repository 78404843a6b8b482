//! A configuration file in CouchDB's format, such as Trove's rendered `config.template`.

use trove_couchdb_protocol::Quoted;

use crate::configuration::{error::OptionError, values::Values};

/// The options that a file sets; `quoted` is a name as an error may repeat it.
///
/// # Errors
/// A line has another form, or an option is refused.
pub fn from_ini(text: &str, quoted: impl Fn(&str) -> Quoted) -> Result<Values, OptionError> {
    let mut values = Values::default();
    let mut section = String::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.trim().clone_into(&mut section);
            continue;
        }
        let not_ini = OptionError::NotIni { line: index + 1 };
        let Some((key, value)) = line.split_once('=').filter(|_| !section.is_empty()) else {
            return Err(not_ini);
        };
        // CouchDB reads a comment at the end of a line as such (`config.erl`).
        let value =
            [" ;", "\t;"].iter().fold(value, |value, begin| value.split(begin).next().unwrap_or_default());
        let name = format!("{section}.{}", key.trim());
        values.add(&name, value.trim(), quoted(&name))?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_is_read_as_couchdb_reads_it() {
        let text =
            "; a comment\n# another\n\n[log]\nlevel = info ; quiet\n[chttpd_auth]\n timeout=1200\n[ cors ]\n";
        let values = from_ini(text, |name| name.into()).unwrap();
        let pairs: Vec<_> = values.iter().map(|(option, value)| (option.name, value)).collect();
        assert_eq!(pairs, [("chttpd_auth.timeout", "1200"), ("log.level", "info")]);
        assert!(from_ini("", |name| name.into()).unwrap().is_empty());
    }

    #[test]
    fn what_it_may_not_hold_is_refused() {
        let refusal = |text: &str| from_ini(text, |name| name.into()).unwrap_err().to_string();
        assert_eq!(
            refusal("[log]\nlevel"),
            "line 2 of the configuration is neither a section nor \"key = value\""
        );
        assert!(refusal("level = info").starts_with("line 1"));
        assert!(refusal("[admins]\nroot = x").starts_with("admins can't be set"));
        assert!(refusal("[log]\nlevel = loud").starts_with("log.level must be one of"));
        assert_eq!(refusal("[log]\nlevel = info\nlevel = error"), "log.level is set twice");
    }
}
