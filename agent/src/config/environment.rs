//! The environment layer: `TROVE_COUCHDB_<SECTION>__<KEY>`, for containers and one-off trials.
//!
//! The variables are handed in, never read from the process, so tests need no global state. An empty variable
//! counts as not set, because an `EnvironmentFile=` cannot remove one.

use std::ffi::OsString;

use super::error::ConfigError;
use super::fragment::Layer;
use super::keys::{self, ENVIRONMENT_PREFIX, Key};

/// Variables of `trove-couchdb`, in the same shell perhaps, and no misspelt keys (`cli/src/args/mod.rs`).
const OF_THE_TOOL: [&str; 2] = ["TROVE_COUCHDB_SOCKET", "TROVE_COUCHDB_TRANSPORT_URL"];

/// Reads every variable that starts with [`ENVIRONMENT_PREFIX`]; other variables are not ours to judge.
pub(super) fn read(variables: &[(OsString, OsString)]) -> Layer {
    let Layer { mut fragment, mut mistakes } = Layer::default();
    for (name, value) in variables {
        let Some((name, rest)) =
            name.to_str().and_then(|name| Some((name, name.strip_prefix(ENVIRONMENT_PREFIX)?)))
        else {
            continue;
        };
        if OF_THE_TOOL.contains(&name) {
            continue;
        }
        let origin = format!("environment variable {name}");
        let dotted = rest.replacen("__", ".", 1).to_lowercase();
        let Some(key) = keys::find(&dotted) else {
            let nearest = keys::nearest(&dotted).map(Key::environment_variable);
            let advice = nearest.map_or_else(
                || "docs/configuration.md lists them all".to_owned(),
                |name| format!("did you mean {name:?}?"),
            );
            mistakes.push(ConfigError::UnknownKey { origin, key: dotted, advice });
            continue;
        };
        let read = match value.to_str() {
            Some("") => Ok(()),
            Some(text) => fragment.read(key, &origin, text),
            None => {
                let advice = "write it in UTF-8, or set it in the TOML file";
                Err(ConfigError::invalid(key, &origin, "is not UTF-8", advice))
            }
        };
        mistakes.extend(read.err());
    }
    Layer { fragment, mistakes }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::ffi::OsStringExt;

    use ::config::{Source, ValueKind};

    use super::*;
    use crate::config::fragment::Fragment;

    fn read_one(name: &str, value: &str) -> Result<Fragment, ConfigError> {
        read(&[(name.into(), value.into())]).whole()
    }

    #[test]
    fn a_variable_names_section_and_key() {
        let fragment = read_one("TROVE_COUCHDB_COUCHDB__IGNORE_DBS", "a, b").unwrap();
        let value = &fragment.collect().unwrap()["couchdb.ignore_dbs"];
        assert_eq!(value.kind, ValueKind::from(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(value.origin(), Some("environment variable TROVE_COUCHDB_COUCHDB__IGNORE_DBS"));
    }

    #[test]
    fn empty_variables_and_those_of_others_are_passed_over() {
        for (name, value) in [
            ("TROVE_COUCHDB_RPC__MAX_CONCURRENT", ""),
            ("PATH", "/bin"),
            ("TROVE_X", "1"),
            ("TROVE_COUCHDB_SOCKET", "/s"),
        ] {
            assert!(read_one(name, value).unwrap().collect().unwrap().is_empty(), "{name}");
        }
    }

    #[test]
    fn an_unknown_variable_is_an_error_that_names_the_nearest() {
        let error = read_one("TROVE_COUCHDB_GUEST__IDD", "x").unwrap_err().to_string();
        assert_eq!(
            error,
            "environment variable TROVE_COUCHDB_GUEST__IDD: there is no key \"guest.idd\"; \
             did you mean \"TROVE_COUCHDB_GUEST__ID\"?"
        );
    }

    #[test]
    fn a_value_that_is_not_utf8_is_refused_without_being_shown() {
        let value = OsString::from_vec(b"pl\xffanted".to_vec());
        let read = read(&[("TROVE_COUCHDB_GUEST__ENCRYPTION_KEY".into(), value)]);
        let error = read.whole().unwrap_err().to_string();
        assert!(error.contains("not UTF-8") && !error.contains("anted"), "{error}");
    }
}
