//! Creates a [`Connection`] from the command line: selects the transport and its configuration.
//!
//! The agent's configuration code reads the RabbitMQ settings, so that a control plane's file, an instance's
//! `/etc/trove/conf.d` and the command-line options have the same meaning as for the agent.

use std::{fs, path::Path};

use trove_couchdb_config::{Override, Settings, Sources};
use trove_couchdb_protocol::{Secret, text};
use trove_couchdb_system::environment_of_account;
use zeroize::Zeroizing;

use crate::{
    args::{Global, SourceArgs, TransportArgs},
    client::{BrokerClient, Connection, LocalClient},
    exit::CliError,
};

/// Connects to the agent that the command line names.
pub async fn connect(global: &Global) -> Result<Connection, CliError> {
    let quiet = global.output.quiet;
    if !global.transport.is_broker() {
        return Ok(
            Connection::local(LocalClient::new(&global.transport.socket, global.timeout)).telling(!quiet)
        );
    }
    let (settings, key) = broker_settings(&global.transport, &global.sources)?;
    let broker = settings.broker.as_ref().ok_or_else(|| {
        CliError::usage("the configuration has no broker (transport_url is local:)")
            .advise("name one with --transport-url-file, or leave --instance out to use the agent's socket")
    })?;
    let client = BrokerClient::connect(broker, &settings.guest.id, key.as_ref(), global.timeout).await?;
    Ok(Connection::broker(client).telling(!quiet))
}

/// The sources of the agent's configuration.
pub fn sources(args: &SourceArgs) -> Sources {
    Sources {
        config_file: args.config.clone(),
        oslo_files: args.config_file.clone(),
        oslo_dirs: args.config_dir.clone(),
        overrides: Vec::new(),
    }
}

/// The configuration for RabbitMQ, with the instance's key, if any.
pub fn broker_settings(
    transport: &TransportArgs,
    args: &SourceArgs,
) -> Result<(Settings, Option<Secret>), CliError> {
    let url = match (&transport.transport_url, &transport.transport_url_file) {
        (Some(url), _) => Some(("--transport-url", url.clone())),
        (None, Some(file)) => Some(("--transport-url-file", content(file)?)),
        (None, None) => None,
    };
    let key = transport.key_file.as_deref().map(content).transpose()?;
    let mut sources = sources(args);
    // The key in the configuration files only belongs to the instance that they name.
    let configured = Settings::load(sources.clone(), environment_of_account()).ok();
    let own_id = configured.as_ref().map(|settings| settings.guest.id.as_str());
    let other = own_id.is_some() && transport.instance.as_deref().is_some_and(|id| Some(id) != own_id);

    let mut set = |key, option, text: Option<String>| {
        sources.overrides.extend(text.map(|text| Override { key, option, text }));
    };
    let (option, url) = url.map_or(("", None), |(option, url)| (option, Some(url)));
    set("broker.transport_url", option, url);
    set("guest.id", "--instance", transport.instance.clone());
    set("guest.encryption_key", "--key-file", key.clone());
    set("broker.control_exchange", "--control-exchange", transport.control_exchange.clone());
    let settings = Settings::load(sources, environment_of_account()).map_err(|error| {
        CliError::usage(error.to_string()).advise(
            "over RabbitMQ this program needs --instance, and --transport-url-file or a --config-file that has \
             transport_url",
        )
    })?;
    let key = settings.guest.encryption_key.clone().filter(|_| key.is_some() || !other);
    Ok((settings, key))
}

/// The secret in the first line of a file.
fn content(path: &Path) -> Result<String, CliError> {
    let unreadable = |reason: &dyn std::fmt::Display| {
        CliError::usage(format!("{} can't be read: {reason}", path.display()))
    };
    let bytes = fs::read(path).map_err(|error| unreadable(&error))?;
    let text = Zeroizing::new(text::decode(bytes).map_err(|problem| unreadable(&problem))?);
    match text::secret_line(&text).trim() {
        "" => Err(CliError::usage(format!("{} is empty", path.display()))),
        line => Ok(line.to_owned()),
    }
}
