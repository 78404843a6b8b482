//! A connection to one of the brokers that `transport_url` names.

use std::time::Duration;

use lapin::{
    Connection, ConnectionProperties,
    tcp::{OwnedIdentity, OwnedTLSConfig},
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism},
};
use rand::{RngExt, seq::SliceRandom};
use tokio::{fs, time};
use trove_couchdb_protocol::{TransportUrl, transport_url::Host};

use crate::config::{BrokerSettings, LoginMethod, TlsSettings};

/// lapin 4.12 aborts the process when the broker leaves the frame size open; this is RabbitMQ's own default.
const FRAME_MAX: u32 = 131_072;

/// Why there is no connection. Never holds the password.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("no connection within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    #[error("the TLS file {path} can't be read: {source}")]
    TlsFile { path: String, source: std::io::Error },
    #[error(transparent)]
    Broker(#[from] lapin::Error),
}

/// The hosts of a transport URL in turn, from a random one on, so that a fleet spreads over a cluster.
#[derive(Debug)]
pub(super) struct Hosts {
    hosts: Vec<Host>,
    next: usize,
}

impl Hosts {
    /// All hosts, shuffled.
    pub(super) fn shuffled(url: &TransportUrl) -> Self {
        let mut hosts = url.hosts.clone();
        hosts.shuffle(&mut rand::rng());
        Self { hosts, next: 0 }
    }

    /// The next host, and whether a round over all of them begins.
    pub(super) fn next(&mut self) -> Option<(Host, bool)> {
        let index = self.next.checked_rem(self.hosts.len())?;
        self.next = index + 1;
        Some((self.hosts[index].clone(), index == 0))
    }
}

/// Connects and logs in.
pub(super) async fn connect(
    settings: &BrokerSettings,
    host: &Host,
    guest_id: &str,
) -> Result<Connection, ConnectError> {
    let tls = match &settings.tls {
        Some(tls) => tls_config(tls).await?,
        None => OwnedTLSConfig::default(),
    };
    let properties = ConnectionProperties::default()
        .with_connection_name(format!("trove-couchdb-agent:{guest_id}").into());
    let runtime = lapin::runtime::default_runtime()?;
    let connecting = Connection::connect_uri_with_config(uri(settings, host), properties, tls, runtime);
    match time::timeout(settings.connect_timeout, connecting).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(ConnectError::Timeout(settings.connect_timeout)),
    }
}

fn uri(settings: &BrokerSettings, host: &Host) -> AMQPUri {
    // oslo's default when the URL names nobody is RabbitMQ's guest account.
    let username = host.user.clone().unwrap_or_else(|| "guest".to_owned());
    let password = host.password.as_ref().map_or("guest", |password| password.expose()).to_owned();
    let mechanism = match settings.login_method {
        LoginMethod::Amqplain => SASLMechanism::AMQPlain,
        LoginMethod::Plain => SASLMechanism::Plain,
    };
    AMQPUri {
        scheme: if settings.tls.is_some() { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo { username, password },
            host: host.host.clone(),
            port: host.port,
        },
        vhost: settings.transport_url.vhost.clone(),
        query: AMQPQueryString {
            frame_max: Some(FRAME_MAX),
            heartbeat: Some(u16::try_from(settings.heartbeat.as_secs()).unwrap_or(u16::MAX)),
            auth_mechanism: Some(mechanism),
            ..AMQPQueryString::default()
        },
    }
}

async fn tls_config(tls: &TlsSettings) -> Result<OwnedTLSConfig, ConnectError> {
    let cert_chain = match &tls.ca_file {
        Some(path) => Some(read(path).await?),
        None => None,
    };
    let identity = match (&tls.cert_file, &tls.key_file) {
        (Some(cert), Some(key)) => Some(OwnedIdentity::PKCS8 {
            pem: read(cert).await?.into_bytes(),
            key: read(key).await?.into_bytes(),
        }),
        _ => None,
    };
    Ok(OwnedTLSConfig { identity, cert_chain })
}

async fn read(path: &std::path::Path) -> Result<String, ConnectError> {
    fs::read_to_string(path)
        .await
        .map_err(|source| ConnectError::TlsFile { path: path.display().to_string(), source })
}

/// How long to wait before the next round over the hosts.
#[derive(Debug)]
pub(super) struct Backoff {
    shortest: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// From `shortest`, doubled each time, up to `longest`.
    pub(super) fn new(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest: longest.max(shortest), next: shortest }
    }

    /// The wait, between none and all of the present length: after a broker restart a whole fleet comes back,
    /// and must not come at once.
    pub(super) fn wait(&mut self) -> Duration {
        let full = self.next;
        self.next = (self.next * 2).min(self.longest);
        full.mul_f64(rand::rng().random_range(0.1..=1.0))
    }

    /// Begins anew after a connection that stood.
    pub(super) fn reset(&mut self) {
        self.next = self.shortest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_begin_anew() {
        let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(shortest, longest);
        let waits: Vec<Duration> = (0..50).map(|_| backoff.wait()).collect();
        assert!(waits.iter().all(|wait| *wait <= longest && *wait >= shortest / 10));
        assert!(waits.iter().any(|wait| *wait > longest / 2));
        backoff.reset();
        assert!(backoff.wait() <= shortest);
    }
}
