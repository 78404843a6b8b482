//! The table of all keys, and the error for an unknown key.
//!
//! Every layer looks keys up with [`named`] or [`find`], so a key that is not in the table cannot be set.

use std::fmt::Debug;

use crate::broker_url;
use crate::error::Mistake;
use crate::key::Key;
use crate::layers::{DEFAULT_ORIGIN, Layers, Renamed};
use crate::settings::KEYS;

/// Every key, section by section, in the order of the documentation.
pub(crate) fn all() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().copied().flatten()
}

/// The key with the name `section.name`, now or in earlier versions.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name || key.was == Some(name))
}

/// The key that an operator sets as `name`. An old name is worth a warning. A key that is set by both of its
/// names is a mistake: whichever value is used, the operator may read the other one.
pub(crate) fn named(layers: &mut Layers, name: &str, origin: &str) -> Option<&'static Key> {
    let key = find(name)?;
    let Some(old) = key.was else { return Some(key) };
    let is_old = name == old;
    if is_old {
        let text = format!("{origin}: {old} is an old name that still works; write {}", key.name);
        layers.warnings.push((None, text));
    }
    let known = layers.renamed.iter().find(|used| used.key == key.name && used.is_old != is_old);
    if let Some(other) = known {
        let problem = format!("and {old} are both set (the other one: {})", other.origin);
        let advice = format!("{old} is the old name of {}; remove it", key.name);
        layers.refuse(key, origin, problem, &advice);
    }
    layers.renamed.push(Renamed { key: key.name, is_old, origin: origin.to_owned() });
    Some(key)
}

/// The lowest layer.
pub(crate) fn defaults() -> Layers {
    let mut layers = Layers::default();
    for (key, text) in all().filter_map(|key| Some((key, key.default?))) {
        layers.read(key, DEFAULT_ORIGIN, text);
    }
    layers
}

/// The defaults, with placeholders for required keys.
pub(crate) fn stand_ins() -> Layers {
    let mut layers = defaults();
    for (name, text) in [("guest.id", "stand-in"), (broker_url::KEY, "rabbit://stand-in")] {
        layers.values.push((name, text.into()));
    }
    layers
}

/// The error for an unknown key; `name` is as written, with its section if it has one.
pub(crate) fn unknown(origin: String, name: &str) -> Mistake {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    let sections: Vec<String> =
        all().filter(|key| key.leaf() == leaf).map(|key| format!("[{}]", key.section())).collect();
    let nearest = nearest(name);
    // If the key exists in some section, the section is misspelt.
    let is_misspelt = |key: &&Key| name.contains('.') && key.leaf() == leaf && is_alike(key.section(), name);
    if sections.is_empty() || nearest.as_ref().is_some_and(is_misspelt) {
        return unknown_but_near(origin, name, nearest.map(|key| key.name));
    }
    let advice = format!("{leaf} belongs in the section {}", sections.join(" or "));
    Mistake::UnknownKey { origin, key: name.to_owned(), advice }
}

/// The error for an unknown key, which may be a misspelling of `nearest`.
pub(crate) fn unknown_but_near(origin: String, name: &str, nearest: Option<impl Debug>) -> Mistake {
    let listed = || "docs/configuration.md lists them all".to_owned();
    let advice = nearest.map_or_else(listed, |nearest| format!("did you mean {nearest:?}?"));
    Mistake::UnknownKey { origin, key: name.to_owned(), advice }
}

fn is_alike(section: &str, name: &str) -> bool {
    let written = name.split('.').next().unwrap_or(name);
    !has_section(written) && strsim::normalized_damerau_levenshtein(section, written) >= ALIKE
}

/// Below this similarity a suggestion is more confusing than none.
const ALIKE: f64 = 0.6;

/// Whether a section of this name exists.
pub(crate) fn has_section(name: &str) -> bool {
    all().any(|key| key.section() == name)
}

/// The known key most similar to `name`, if any: `name` is misspelt or in the wrong section.
pub(crate) fn nearest(name: &str) -> Option<&'static Key> {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    all()
        .map(|key| {
            let whole = strsim::normalized_damerau_levenshtein(key.name, name);
            let last = strsim::normalized_damerau_levenshtein(key.leaf(), leaf);
            // The full name decides between two keys with the same last part.
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
            for name in [Some(key.name), key.was].into_iter().flatten() {
                assert!(seen.insert(name), "{name} is in the table twice");
                assert_eq!(name.matches('.').count(), 1, "{name}");
            }
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
