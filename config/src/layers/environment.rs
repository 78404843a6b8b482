//! The environment layer: `TROVE_COUCHDB_<SECTION>__<KEY>`, for containers and one-off trials.
//!
//! The caller passes the variables, so tests need no global state. An empty variable counts as not set,
//! because an `EnvironmentFile=` cannot remove a variable.

use std::ffi::OsString;

use crate::key::{ENVIRONMENT_PREFIX, Key};
use crate::keys;
use crate::layers::Layers;

/// Variables of `trove-couchdb` (`cli/src/args/mod.rs`), which may be set in the
/// same shell; they are not misspelt keys.
const OF_THE_TOOL: [&str; 2] = ["TROVE_COUCHDB_SOCKET", "TROVE_COUCHDB_TRANSPORT_URL"];

/// Reads every variable that starts with [`ENVIRONMENT_PREFIX`] and ignores all others.
pub(crate) fn read(layers: &mut Layers, variables: &[(OsString, OsString)]) {
    let utf8 = variables.iter().filter_map(|(name, value)| Some((name.to_str()?, value)));
    for (name, value) in utf8.filter(|(name, _)| !OF_THE_TOOL.contains(name)) {
        let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        let origin = format!("environment variable {name}");
        let dotted = rest.replacen("__", ".", 1).to_lowercase();
        if value.is_empty() && keys::find(&dotted).is_some() {
            continue;
        }
        match (keys::named(layers, &dotted, &origin), value.to_str()) {
            (Some(key), Some(text)) => layers.read(key, &origin, text),
            (Some(key), None) => {
                layers.refuse(key, &origin, "is not UTF-8", "write it in UTF-8, or set it in the TOML file");
            }
            (None, _) => {
                let nearest = keys::nearest(&dotted).map(Key::environment_variable);
                layers.mistakes.push(keys::unknown_but_near(origin, &dotted, nearest));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn read_one(name: &str, value: impl Into<OsString>) -> Layers {
        let mut layers = Layers::default();
        read(&mut layers, &[(name.into(), value.into())]);
        layers
    }

    #[test]
    fn a_variable_names_section_and_key() {
        let layers = read_one("TROVE_COUCHDB_COUCHDB__IGNORE_DBS", "a, b");
        let found = layers.last("couchdb.ignore_dbs").unwrap();
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
            let layers = read_one(name, value);
            assert!(layers.values.is_empty() && layers.mistakes.is_empty(), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_no_secret_shown() {
        let not_utf8 = OsString::from_vec(b"pl\xffanted".to_vec());
        let cases = [
            (
                read_one("TROVE_COUCHDB_RPC__MAX_CONCURRENT", "many"),
                "environment variable TROVE_COUCHDB_RPC__MAX_CONCURRENT: rpc.max_concurrent cannot be \"many\"; \
                 write a whole number, such as 16",
            ),
            (
                read_one("TROVE_COUCHDB_GUEST__IDD", "planted"),
                "environment variable TROVE_COUCHDB_GUEST__IDD: there is no key \"guest.idd\"; \
                 did you mean \"TROVE_COUCHDB_GUEST__ID\"?",
            ),
            (
                read_one("TROVE_COUCHDB_GUEST__ENCRYPTION_KEY", not_utf8),
                "environment variable TROVE_COUCHDB_GUEST__ENCRYPTION_KEY: guest.encryption_key is not UTF-8; \
                 write it in UTF-8, or set it in the TOML file",
            ),
        ];
        for (layers, expected) in cases {
            assert_eq!(layers.mistakes[0].to_string(), expected);
        }
    }
}
