//! A connection to one of the brokers that `transport_url` names.

use std::{
    io,
    net::Shutdown,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_compat::Compat;
use lapin::{
    Connection, ConnectionProperties,
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism},
};
use rand::seq::SliceRandom;
use tokio::{net::TcpStream, time};
use tracing::debug;
use trove_couchdb_config::{BrokerSettings, LoginMethod};
use trove_couchdb_protocol::{TransportUrl, transport_url::Host};

use super::{names::TopologyError, secure::Security};
use trove_couchdb_system::tls::FilesError;

/// lapin 4.12 aborts the process when the broker leaves the frame size open; this is RabbitMQ's own default.
const FRAME_MAX: u32 = 131_072;

/// Why there is no connection. Never holds the password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing, or no AMQP, answered in time.
    #[error("no connection within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// A certificate or a key.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// No secure connection, or only a secure one.
    #[error("{reason}")]
    Insecure {
        /// What TLS, or its absence, led to.
        reason: String,
    },
    /// The broker lets the agent have no queue.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The broker's own words.
    #[error(transparent)]
    Broker(#[from] lapin::Error),
}

/// The hosts of a transport URL in turn, from a random one on, so that a fleet spreads over a cluster.
#[derive(Debug)]
pub struct Hosts {
    hosts: Vec<Host>,
    next: usize,
}

impl Hosts {
    /// All hosts, shuffled.
    pub fn shuffled(url: &TransportUrl) -> Self {
        let mut hosts = url.hosts.clone();
        hosts.shuffle(&mut rand::rng());
        Self { hosts, next: 0 }
    }

    /// The next host, and whether a round over all of them begins.
    #[expect(clippy::should_implement_trait, reason = "an iterator would have to end")]
    pub fn next(&mut self) -> Option<(Host, bool)> {
        let index = self.next.checked_rem(self.hosts.len())?;
        self.next = index + 1;
        Some((self.hosts[index].clone(), index == 0))
    }
}

/// A second handle on a connection's socket, which shuts it down when dropped.
///
/// lapin's I/O thread holds the connection for as long as the socket lives, also when nobody else does: a broker
/// that accepts and never answers would cost a thread and a socket for each try.
#[derive(Debug, Default, Clone)]
pub struct Socket {
    handle: Arc<Mutex<Option<std::net::TcpStream>>>,
}

impl Socket {
    async fn open(&self, uri: &AMQPUri) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((uri.authority.host.as_str(), uri.authority.port)).await?;
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        *self.handle.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream.try_clone()?);
        TcpStream::from_std(stream)
    }

    /// Ends the connection, whatever state it is in.
    pub fn shut_down(&self) {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = handle.map(|socket| socket.shutdown(Shutdown::Both)) {
            debug!(%error, "The socket to the broker was closed already.");
        }
    }
}

/// Shuts the socket down unless the connection is handed over.
struct Attempt(Option<Socket>);

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            socket.shut_down();
        }
    }
}

/// Connects and logs in; the broker shows the connection under `name`.
pub async fn connect(
    settings: &BrokerSettings,
    host: &Host,
    name: String,
) -> Result<(Connection, Socket), ConnectError> {
    let security = Security::read(settings).await?;
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let runtime = lapin::runtime::default_runtime()?;
    let socket = Socket::default();
    let mut attempt = Attempt(Some(socket.clone()));
    let opener = socket.clone();
    let handshake = security.clone();
    let open = async move |uri: AMQPUri, _runtime| {
        let stream = Compat::new(opener.open(&uri).await?);
        Ok(handshake.secure(&uri.authority.host, stream).await?)
    };
    let connecting = Connection::connector(uri(settings, host), runtime, open, properties);
    match time::timeout(settings.connect_timeout, connecting).await {
        Ok(Ok(connection)) => {
            attempt.0 = None;
            Ok((connection, socket))
        }
        Ok(Err(error)) => match security.explain(&error, host).await {
            Some(reason) => Err(ConnectError::Insecure { reason }),
            None => Err(ConnectError::Broker(error)),
        },
        Err(_) => Err(ConnectError::Timeout(settings.connect_timeout)),
    }
}

fn uri(settings: &BrokerSettings, host: &Host) -> AMQPUri {
    let (username, password) = match (&host.user, &host.password) {
        // kombu's default when the URL names nobody is RabbitMQ's guest account.
        (None, _) => ("guest".to_owned(), "guest".to_owned()),
        (Some(user), None) => (user.clone(), String::new()),
        (Some(user), Some(password)) => (user.clone(), password.expose().to_owned()),
    };
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
