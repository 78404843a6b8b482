//! The table of all keys, and what to say about one that is not in it.
//!
//! Every layer goes through [`find`], so a key that is not in the table cannot be set.

use config::ValueKind;

use crate::broker_url;
use crate::error::Mistake;
use crate::key::{Key, Kind};
use crate::layer::{DEFAULT_ORIGIN, Layer, Values};
use crate::settings::KEYS;

/// Every key, section by section, in the order of the documentation.
pub(crate) fn all() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().copied().flatten()
}

/// The key called `section.name`.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

/// The lowest layer.
pub(crate) fn defaults() -> Layer {
    let mut layer = Layer::default();
    for (key, text) in all().filter_map(|key| Some((key, key.default?))) {
        layer.read(key, DEFAULT_ORIGIN, text);
    }
    layer
}

/// Whether a key of kind [`Kind::Secret`] is set to something that is worth hiding.
pub(crate) fn hold_a_secret(values: &Values) -> bool {
    let mut secrets = all().filter(|key| key.kind == Kind::Secret);
    secrets.any(|key| match values.0.get(key.name).map(|found| &found.kind) {
        Some(ValueKind::String(text)) if key.name == broker_url::KEY => broker_url::holds_a_password(text),
        found => found.is_some(),
    })
}

/// The error for a key that does not exist; `name` is as it was written, with its section if it has one.
pub(crate) fn unknown(origin: String, name: &str) -> Mistake {
    Mistake::UnknownKey { origin, key: name.to_owned(), advice: advice(name) }
}

/// What to write in its place.
fn advice(name: &str) -> String {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    let sections: Vec<String> =
        all().filter(|key| key.leaf() == leaf).map(|key| format!("[{}]", key.section())).collect();
    match (sections.as_slice(), nearest(name)) {
        ([], None) => "docs/configuration.md lists them all".to_owned(),
        ([], Some(key)) => format!("did you mean {:?}?", key.name),
        // The section is misspelt, if the key is in any.
        (_, Some(key)) if name.contains('.') && key.leaf() == leaf && is_alike(key.section(), name) => {
            format!("did you mean {:?}?", key.name)
        }
        (some, _) => format!("{leaf} belongs in the section {}", some.join(" or ")),
    }
}

fn is_alike(section: &str, name: &str) -> bool {
    let written = name.split('.').next().unwrap_or(name);
    !has_section(written) && strsim::normalized_damerau_levenshtein(section, written) >= ALIKE
}

/// Below this share of equal letters a suggestion is more confusing than none.
const ALIKE: f64 = 0.6;

/// Whether a section of this name exists.
pub(crate) fn has_section(name: &str) -> bool {
    all().any(|key| key.section() == name)
}

/// The known key that looks most like `name`, if any does: a misspelling, or a key put in the wrong section.
pub(crate) fn nearest(name: &str) -> Option<&'static Key> {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    all()
        .map(|key| {
            let whole = strsim::normalized_damerau_levenshtein(key.name, name);
            let last = strsim::normalized_damerau_levenshtein(key.leaf(), leaf);
            // The whole name decides between two keys with the same last part.
            (key, whole.max(last * 0.99))
        })
        .filter(|(_, alike)| *alike >= ALIKE)
        .max_by(|(_, left), (_, right)| left.total_cmp(right))
        .map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lie_in_a_section() {
        let mut seen = std::collections::BTreeSet::new();
        for key in all() {
            assert!(seen.insert(key.name), "{} is in the table twice", key.name);
            assert_eq!(key.name.matches('.').count(), 1, "{}", key.name);
        }
    }

    #[test]
    fn nearest_finds_misspellings_and_wrong_sections_but_does_not_guess() {
        let name = |wrong| nearest(wrong).map(|key| key.name);
        assert_eq!(name("broker.transprot_url"), Some("broker.transport_url"));
        assert_eq!(name("brokr.heartbeat"), Some("broker.heartbeat"));
        assert_eq!(name("rpc.request_timeout"), Some("couchdb.request_timeout"));
        assert_eq!(name("ignore_users"), Some("couchdb.ignore_users"));
        assert_eq!(name("colour.of_the_sky"), None);
    }
}
