//! The environment layer: `TROVE_COUCHDB_<SECTION>__<KEY>`, for containers and one-off trials.
//!
//! The variables are handed in, never read from the process, so tests need no global state. An empty variable
//! counts as not set, because an `EnvironmentFile=` cannot remove one.

use std::ffi::OsString;

use crate::error::Mistake;
use crate::key::{ENVIRONMENT_PREFIX, Key};
use crate::keys;
use crate::layer::Layer;

/// Variables of `trove-couchdb`, in the same shell perhaps, and no misspelt keys (`cli/src/args/mod.rs`).
const OF_THE_TOOL: [&str; 2] = ["TROVE_COUCHDB_SOCKET", "TROVE_COUCHDB_TRANSPORT_URL"];

/// Reads every variable that starts with [`ENVIRONMENT_PREFIX`]; other variables are not ours to judge.
pub(crate) fn read(variables: &[(OsString, OsString)]) -> Layer {
    let mut layer = Layer::default();
    let utf8 = variables.iter().filter_map(|(name, value)| Some((name.to_str()?, value)));
    for (name, value) in utf8.filter(|(name, _)| !OF_THE_TOOL.contains(name)) {
        let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        let origin = format!("environment variable {name}");
        let dotted = rest.replacen("__", ".", 1).to_lowercase();
        match (keys::find(&dotted), value.to_str()) {
            (Some(_), Some("")) => {}
            (Some(key), Some(text)) => layer.read(key, &origin, text),
            (Some(key), None) => {
                let advice = "write it in UTF-8, or set it in the TOML file";
                layer.mistakes.push(Mistake::invalid(key.name, origin, "is not UTF-8", advice));
            }
            (None, _) => {
                let nearest = keys::nearest(&dotted).map(Key::environment_variable);
                let advice = nearest.map_or_else(
                    || "docs/configuration.md lists them all".to_owned(),
                    |name| format!("did you mean {name:?}?"),
                );
                layer.mistakes.push(Mistake::UnknownKey { origin, key: dotted, advice });
            }
        }
    }
    layer
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::ffi::OsStringExt;

    use super::*;
    use crate::layer::Values;

    fn read_one(name: &str, value: &str) -> Result<Values, Mistake> {
        read(&[(name.into(), value.into())]).whole()
    }

    #[test]
    fn a_variable_names_section_and_key() {
        let values = read_one("TROVE_COUCHDB_COUCHDB__IGNORE_DBS", "a, b").unwrap();
        let found = &values.0["couchdb.ignore_dbs"];
        assert_eq!(found.kind, vec!["a", "b"].into());
        assert_eq!(found.origin(), Some("environment variable TROVE_COUCHDB_COUCHDB__IGNORE_DBS"));
    }

    #[test]
    fn empty_variables_and_those_of_others_are_passed_over() {
        for (name, value) in [
            ("TROVE_COUCHDB_RPC__MAX_CONCURRENT", ""),
            ("PATH", "/bin"),
            ("TROVE_X", "1"),
            ("TROVE_COUCHDB_SOCKET", "/s"),
        ] {
            assert!(read_one(name, value).unwrap().0.is_empty(), "{name}");
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
