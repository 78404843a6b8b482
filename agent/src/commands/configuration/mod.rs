//! `update_overrides`, `apply_overrides`: the configuration group of an instance, and the commands of its
//! operators on CouchDB's options.
//!
//! ```text
//! values (known, in range) -> layers -> plan (read every node, judge) -> record on the disk -> PUT -> record
//! ```
//!
//! Who set an option is a [layer](record::Layer): the template of the datastore, the configuration group, an
//! operator's file, an operator. The higher layer wins. What an option was before the first of them is
//! remembered for each node, and comes back when the last of them is gone.
//!
//! CouchDB stores every option by itself. An option that it reads only at its start is stored in the same
//! way, and the guest's state says that a restart is required.

mod asked;
mod change;
mod error;
mod file;
mod local;
mod record;
mod show;

use futures_util::FutureExt;
use serde_json::Value;
use trove_couchdb_protocol::{DecodeError, Field, trove::Method};

use super::{Arguments, Command, CommandEntry, Decode, Guest, Needs, Run, RunError, Running, Scopes, entry};
use crate::couch::configuration::values::Values;
use asked::Asked;
pub use error::ConfigurationError;
pub use file::Configuration;
use record::Layer;

pub(super) const COMMANDS: &[CommandEntry] = &[
    entry::<UpdateOverrides>(Method::UpdateOverrides),
    entry::<ApplyOverrides>(Method::ApplyOverrides),
    entry::<local::Show>(Method::ConfigurationShow),
    entry::<local::Set>(Method::ConfigurationSet),
    entry::<local::Unset>(Method::ConfigurationUnset),
    entry::<local::Apply>(Method::ConfigurationApply),
    entry::<local::SessionReset>(Method::SessionReset),
];

/// `update_overrides`: a configuration group was attached, changed or detached.
#[derive(Debug, Clone, PartialEq, Eq)]
struct UpdateOverrides {
    /// All options of the group; none if it was detached.
    group: Asked<Values>,
}

impl Decode for UpdateOverrides {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let overrides = args.optional("overrides");
        if args.optional_as("remove", Field::flag)?.unwrap_or_default() {
            return Ok(Self { group: Ok(Values::default()) });
        }
        Ok(Self { group: overrides.as_ref().map_or(Ok(Ok(Values::default())), asked::values)? })
    }
}

impl Command for UpdateOverrides {
    fn method(&self) -> Method {
        Method::UpdateOverrides
    }

    fn scopes(&self) -> Scopes {
        asked::scopes()
    }

    fn needs(&self) -> Needs {
        asked::needs(&self.group)
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            let group = self.group.clone()?;
            change::change(guest, |layers| layers.set(Layer::Group, group)).await?;
            Ok(Value::Null)
        }
        .boxed()
    }
}

/// `apply_overrides`: Trove wants options to take effect without a restart.
///
/// After an attach they are those of `update_overrides`, which are in effect. After a detach they are the
/// values that the datastore's template has for the group's options (`reset_configuration` in
/// trove/instance/models.py).
#[derive(Debug, Clone, PartialEq, Eq)]
struct ApplyOverrides {
    options: Asked<Values>,
}

impl Decode for ApplyOverrides {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let overrides = args.optional("overrides");
        Ok(Self { options: overrides.as_ref().map_or(Ok(Ok(Values::default())), asked::values)? })
    }
}

impl Command for ApplyOverrides {
    fn method(&self) -> Method {
        Method::ApplyOverrides
    }

    fn scopes(&self) -> Scopes {
        asked::scopes()
    }

    fn needs(&self) -> Needs {
        asked::needs(&self.options)
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            let options = self.options.clone()?;
            change::change(guest, |layers| layers.set_defaults(&options)).await?;
            Ok(Value::Null)
        }
        .boxed()
    }
}

/// The configuration that `prepare` orders: the datastore's template and a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ordered {
    template: Values,
    group: Values,
}

impl Ordered {
    /// Reads `config_contents` and `overrides`.
    pub(super) fn read(args: &Arguments<'_>) -> Result<Asked<Self>, DecodeError> {
        let none = || Ok(Ok(Values::default()));
        let template = args.optional("config_contents").as_ref().map_or_else(none, asked::ini)?;
        let group = args.optional("overrides").as_ref().map_or_else(none, asked::values)?;
        Ok(template.and_then(|template| Ok(Self { template, group: group? })))
    }

    /// Whether it orders nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.template.is_empty() && self.group.is_empty()
    }

    /// Sets it.
    pub(super) async fn set(&self, guest: &Guest) -> Result<(), ConfigurationError> {
        let (template, group) = (self.template.clone(), self.group.clone());
        change::change(guest, |layers| {
            layers.set(Layer::Template, template);
            layers.set(Layer::Group, group);
        })
        .await
        .map(drop)
    }
}

impl From<ConfigurationError> for RunError {
    fn from(error: ConfigurationError) -> Self {
        Self::Configuration(error)
    }
}

impl From<crate::couch::configuration::error::OptionError> for RunError {
    fn from(error: crate::couch::configuration::error::OptionError) -> Self {
        Self::Configuration(error.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::commands::tests::{decoded, typed};

    #[test]
    fn a_group_is_read_as_trove_sends_it() {
        let group = |args: Value| typed::<UpdateOverrides>(&args).unwrap().group;
        let values =
            group(json!({"overrides": {"log.level": "info", "chttpd_auth.timeout": 900}, "remove": false}));
        let values = values.unwrap();
        let pairs: Vec<_> = values.iter().map(|(option, value)| (option.name, value)).collect();
        assert_eq!(pairs, [("chttpd_auth.timeout", "900"), ("log.level", "info")]);
        assert_eq!(group(json!({"overrides": {}, "remove": true})), Ok(Values::default()));
        assert_eq!(group(json!({"overrides": {"no.such": 1}, "remove": true})), Ok(Values::default()));
        assert_eq!(group(json!({})), Ok(Values::default()));
        assert!(group(json!({"overrides": {"no.such": 1}})).is_err());
        assert!(typed::<UpdateOverrides>(&json!({"overrides": ["log.level"]})).is_err());
    }

    #[test]
    fn what_is_refused_needs_no_couchdb() {
        let refused = decoded("update_overrides", &json!({"overrides": {"admins.root": "x"}}));
        assert_eq!(refused.needs(), Needs::Nothing);
        let good = decoded("apply_overrides", &json!({"overrides": {"log.level": "info"}}));
        assert_eq!(good.needs(), Needs::CouchDb);
        assert!(good.scopes().conflicts_with(&refused.scopes()));
        assert!(!good.is_local_only());
    }
}
