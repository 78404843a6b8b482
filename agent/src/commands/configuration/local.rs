//! `configuration_show`, `configuration_set`, `configuration_unset`, `configuration_apply`, `session_reset`:
//! CouchDB's options, for operators of the machine.

use futures_util::FutureExt;
use serde_json::{Value, json};
use tracing::info;
use trove_couchdb_protocol::{DecodeError, Field, trove::Method};

use super::{
    asked::{self, Asked},
    change::{self, Changed},
    error::ConfigurationError,
    record::Layer,
    show,
};
use crate::{
    commands::{Arguments, Command, Decode, Guest, Needs, Run, Running, Scope, Scopes},
    couch::configuration::{option::ConfigOption, values::Values},
};

/// Declares that only operators of the machine may send a command: a broker account must not suffice to
/// outrank the configuration group.
macro_rules! local_only {
    () => {
        fn is_local_only(&self) -> bool {
            true
        }
    };
}

/// `configuration_show`: the options that are set, by whom, and whether they are in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Show {
    /// Whether options that are not set are shown, too.
    all: bool,
}

impl Decode for Show {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self { all: args.optional_as("all", Field::flag)?.unwrap_or_default() })
    }
}

impl Command for Show {
    fn method(&self) -> Method {
        Method::ConfigurationShow
    }

    fn scopes(&self) -> Scopes {
        Scopes::reading([Scope::Configuration])
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move { Ok(show::show(guest, self.all).await?) }.boxed()
    }

    local_only!();
}

/// `configuration_set`: an operator sets options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    options: Asked<Values>,
}

impl Decode for Set {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self { options: asked::values(&args.required("options")?)? })
    }
}

impl Command for Set {
    fn method(&self) -> Method {
        Method::ConfigurationSet
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
            Ok(answer(&change::change(guest, |layers| layers.add(Layer::Operator, &options)).await?))
        }
        .boxed()
    }

    local_only!();
}

/// `configuration_unset`: options go back to what the next layer says, or to what stood before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unset {
    options: Asked<Vec<&'static ConfigOption>>,
}

impl Decode for Unset {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self { options: asked::names(&args.required("options")?)? })
    }
}

impl Command for Unset {
    fn method(&self) -> Method {
        Method::ConfigurationUnset
    }

    fn scopes(&self) -> Scopes {
        asked::scopes()
    }

    fn needs(&self) -> Needs {
        asked::needs(&self.options)
    }

    /// A repeated run finds the options gone. It would be refused, although the first one did it.
    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a> {
        async move {
            let options = self.options.clone()?;
            let mut layers = guest.options.read().await?.layers;
            for option in options.iter().filter(|_| !run.again) {
                let own = [Layer::Operator, Layer::File].map(|layer| layers.remove(layer, option));
                if own == [false, false] {
                    let by = layers.setter(option).map(Layer::phrase);
                    return Err(ConfigurationError::NotSet { option: option.name, by }.into());
                }
            }
            let changed = change::change(guest, |layers| {
                for option in &options {
                    layers.remove(Layer::Operator, option);
                    layers.remove(Layer::File, option);
                }
            });
            Ok(answer(&changed.await?))
        }
        .boxed()
    }

    local_only!();
}

/// `configuration_apply`: an operator's file, which replaces the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Apply {
    file: Asked<Values>,
}

impl Decode for Apply {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self { file: asked::ini(&args.required("contents")?)? })
    }
}

impl Command for Apply {
    fn method(&self) -> Method {
        Method::ConfigurationApply
    }

    fn scopes(&self) -> Scopes {
        asked::scopes()
    }

    fn needs(&self) -> Needs {
        asked::needs(&self.file)
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            let file = self.file.clone()?;
            Ok(answer(&change::change(guest, |layers| layers.set(Layer::File, file)).await?))
        }
        .boxed()
    }

    local_only!();
}

fn answer(changed: &Changed) -> Value {
    json!({"changed": changed.options, "pending_restart": changed.waiting})
}

/// `session_reset`: a new secret, which ends all sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionReset;

impl Decode for SessionReset {
    fn decode(_: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

impl Command for SessionReset {
    fn method(&self) -> Method {
        Method::SessionReset
    }

    fn scopes(&self) -> Scopes {
        asked::scopes()
    }

    /// The nodes of a cluster share the secret. A run that was cut short is completed by the same secret.
    fn run<'a>(&'a self, guest: &'a Guest, run: Run<'a>) -> Running<'a> {
        async move {
            let nodes = guest.couch.config_nodes().await?;
            if !nodes.missing.is_empty() {
                return Err(ConfigurationError::NodesMissing(nodes.missing).into());
            }
            guest.couch.replace_secret(&nodes, &run.seed.password()).await?;
            info!("All sessions of CouchDB were ended.");
            Ok(json!({"nodes": nodes.connected.len()}))
        }
        .boxed()
    }

    local_only!();
}
