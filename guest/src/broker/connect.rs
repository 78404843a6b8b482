//! Connects to one of the brokers in `transport_url`.

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

/// RabbitMQ's default. lapin 4.12 aborts the process if the broker does not limit the frame size.
const FRAME_MAX: u32 = 131_072;

/// Why the connection failed. Never contains the password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The broker did not answer with AMQP in time.
    #[error("no connection within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// A certificate or a key cannot be used.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The connection needs TLS and has none, or TLS failed.
    #[error("{reason}")]
    Insecure {
        /// The TLS problem.
        reason: String,
    },
    /// The broker refuses an exchange or a queue of the agent.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// Any other error of the connection.
    #[error(transparent)]
    Broker(#[from] lapin::Error),
}

/// The hosts of a transport URL in random order, so that many guests spread over a cluster.
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

    /// The next host, and whether it is the first of the list.
    #[expect(clippy::should_implement_trait, reason = "an iterator would have to end")]
    pub fn next(&mut self) -> Option<(Host, bool)> {
        let index = self.next.checked_rem(self.hosts.len())?;
        self.next = index + 1;
        Some((self.hosts[index].clone(), index == 0))
    }
}

/// A second handle to a connection's socket, to shut it down.
///
/// lapin's I/O thread keeps the connection open as long as the socket lives, even if nothing else uses it.
/// Without this, a broker that accepts but never answers would leak a thread and a socket per attempt.
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

    /// Closes the connection, whatever state it is in.
    pub fn shut_down(&self) {
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = handle.map(|socket| socket.shutdown(Shutdown::Both)) {
            debug!(%error, "The socket to the broker was closed already.");
        }
    }
}

/// Shuts the socket down on drop, unless the connection was established.
struct Attempt(Option<Socket>);

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            socket.shut_down();
        }
    }
}

/// Connects and logs in; the broker lists the connection as `name`.
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
        // Without a user in the URL kombu uses RabbitMQ's guest account.
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
