//! Who set which option, and what stood before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::couch::configuration::{option::ConfigOption, values::Values};

/// Who set an option. A later one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Layer {
    /// The template of the datastore (`config.template`).
    Template,
    /// The configuration group.
    Group,
    /// An operator's file.
    File,
    /// An operator.
    Operator,
}

impl Layer {
    /// The name in answers.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Group => "group",
            Self::File => "file",
            Self::Operator => "operator",
        }
    }

    /// The name in sentences, for what an operator can't unset.
    pub(super) const fn phrase(self) -> &'static str {
        match self {
            Self::Template => "the datastore's config.template",
            Self::Group => "the configuration group, which Trove detaches",
            Self::File => "the file of couchdb-config-apply",
            Self::Operator => "an operator",
        }
    }
}

/// The options of each layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layers(BTreeMap<Layer, Values>);

impl Layers {
    /// Replaces a layer.
    pub(super) fn set(&mut self, layer: Layer, values: Values) {
        if values.is_empty() {
            self.0.remove(&layer);
        } else {
            self.0.insert(layer, values);
        }
    }

    /// Adds to a layer.
    pub(super) fn add(&mut self, layer: Layer, values: &Values) {
        self.0.entry(layer).or_default().replace_with(values);
    }

    /// Takes an option out of a layer. True if it was there.
    pub(super) fn remove(&mut self, layer: Layer, option: &ConfigOption) -> bool {
        let removed = self.0.get_mut(&layer).is_some_and(|values| values.remove(option));
        self.0.retain(|_, values| !values.is_empty());
        removed
    }

    /// Adds those values to the template that no layer has.
    pub(super) fn set_defaults(&mut self, values: &Values) {
        let mut missing = values.clone();
        for (option, value) in values.iter() {
            if self.0.values().any(|layer| layer.get(option) == Some(value)) {
                missing.remove(option);
            }
        }
        if !missing.is_empty() {
            self.add(Layer::Template, &missing);
        }
    }

    /// The value of each option, from the highest layer that has it.
    pub(super) fn merged(&self) -> Values {
        let mut merged = Values::default();
        for values in self.0.values() {
            merged.replace_with(values);
        }
        merged
    }

    /// The highest layer that has an option.
    pub(super) fn setter(&self, option: &ConfigOption) -> Option<Layer> {
        self.0.iter().rev().find(|(_, values)| values.get(option).is_some()).map(|(layer, _)| *layer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Layer, &Values)> {
        self.0.iter().map(|(layer, values)| (*layer, values))
    }
}

/// An option on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The value before the first layer that had the option; none if it was not set.
    pub(super) before: Option<String>,
    /// The values that the agent set, or was about to set. Any other value is someone else's, who knows
    /// nothing of the layers.
    pub(super) ours: Vec<String>,
}

/// Everything that is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) layers: Layers,
    /// By node, and by the option's name.
    pub(super) nodes: BTreeMap<String, BTreeMap<&'static str, Kept>>,
}

impl Record {
    /// The value that an option should have on a node where its value is `now`. `None` to leave it: someone
    /// else changed it since.
    pub(super) fn target(
        &self,
        wanted: &Values,
        node: &str,
        option: &ConfigOption,
        now: Option<&str>,
    ) -> Option<Option<String>> {
        if let Some(value) = wanted.get(option) {
            return Some(Some(value.to_owned()));
        }
        let kept = self.nodes.get(node)?.get(option.name)?;
        let is_ours = now.is_some_and(|now| kept.ours.iter().any(|ours| ours == now));
        is_ours.then(|| kept.before.clone())
    }

    /// Remembers what stood before, and that the agent is about to set this value.
    pub(super) fn about_to_set(
        &mut self,
        node: &str,
        option: &'static ConfigOption,
        now: Option<&str>,
        value: &str,
    ) {
        let kept = self
            .nodes
            .entry(node.to_owned())
            .or_default()
            .entry(option.name)
            .or_insert_with(|| Kept { before: now.map(str::to_owned), ours: Vec::new() });
        if !kept.ours.iter().any(|ours| ours == value) {
            kept.ours.push(value.to_owned());
        }
    }

    /// Forgets what is not needed any more, once every node has the wanted values.
    pub(super) fn settle(&mut self, wanted: &Values) {
        for options in self.nodes.values_mut() {
            let named: BTreeMap<_, _> = wanted.iter().map(|(option, value)| (option.name, value)).collect();
            options.retain(|name, _| named.contains_key(name));
            for (name, kept) in options {
                kept.ours = named.get(name).map(|value| (*value).to_owned()).into_iter().collect();
            }
        }
        self.nodes.retain(|_, options| !options.is_empty());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::couch::configuration::values::named;

    fn values(pairs: &[(&str, &str)]) -> Values {
        let mut values = Values::default();
        for (name, value) in pairs {
            values.add(name, value, (*name).into()).unwrap();
        }
        values
    }

    fn option(name: &str) -> &'static ConfigOption {
        named(name, name.into()).unwrap()
    }

    #[test]
    fn the_highest_layer_wins_and_the_next_one_shows_when_it_is_gone() {
        let mut layers = Layers::default();
        layers.set(Layer::Operator, values(&[("log.level", "debug")]));
        layers.set(Layer::Group, values(&[("log.level", "info"), ("cluster.q", "4")]));
        assert_eq!(layers.merged(), values(&[("log.level", "debug"), ("cluster.q", "4")]));
        assert_eq!(layers.setter(option("log.level")), Some(Layer::Operator));
        assert!(layers.remove(Layer::Operator, option("log.level")));
        assert!(!layers.remove(Layer::Operator, option("log.level")));
        assert_eq!(layers.merged().get(option("log.level")), Some("info"));
        layers.set(Layer::Group, Values::default());
        assert_eq!(layers, Layers::default());
    }

    #[test]
    fn defaults_are_the_templates_unless_a_layer_has_them() {
        let mut layers = Layers::default();
        layers.set(Layer::Group, values(&[("log.level", "info")]));
        layers.set_defaults(&values(&[("log.level", "info")]));
        assert_eq!(layers.setter(option("log.level")), Some(Layer::Group));
        assert_eq!(layers.iter().count(), 1);
        layers.set(Layer::Group, Values::default());
        layers.set_defaults(&values(&[("log.level", "warning")]));
        assert_eq!(layers.setter(option("log.level")), Some(Layer::Template));
    }

    #[test]
    fn what_stood_before_comes_back_unless_someone_changed_it() {
        let (mut record, level) = (Record::default(), option("log.level"));
        record.about_to_set("n", level, Some("notice"), "info");
        record.about_to_set("n", level, Some("info"), "error");
        let wanted = values(&[("log.level", "error")]);
        assert_eq!(record.target(&wanted, "n", level, Some("info")), Some(Some("error".to_owned())));
        let none = Values::default();
        for now in ["info", "error"] {
            assert_eq!(record.target(&none, "n", level, Some(now)), Some(Some("notice".to_owned())), "{now}");
        }
        for now in [Some("debug"), None] {
            assert_eq!(record.target(&none, "n", level, now), None, "{now:?}");
        }
        record.settle(&wanted);
        assert_eq!(record.target(&none, "n", level, Some("info")), None);
        record.settle(&none);
        assert_eq!(record, Record::default());
    }
}
