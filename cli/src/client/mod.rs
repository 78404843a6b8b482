//! A connection to an agent, over its local socket or over RabbitMQ.
//!
//! Every verb sends *calls*, even where Trove only casts (`create_user`, …), so that the outcome is known.
//! Both transports use the same envelope; on RabbitMQ it is exactly an oslo.messaging caller's.

mod access;
mod broker;
mod error;
mod local;
mod notice;
mod operator;
mod trove;

use std::time::Duration;

use serde_json::{Map, Value};

pub use access::{AccessReport, DatabaseAccess, Group, OwnDatabase, UserDetails};
pub use broker::BrokerClient;
pub use error::CallError;
use error::outcome;
pub use local::LocalClient;
use notice::Notice;
pub use operator::login_name;
pub use trove::{ListedUser, Page};

/// A connection to one agent.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    notice: Option<Notice>,
}

#[derive(Debug)]
enum Client {
    /// The agent's socket on this machine.
    Local(LocalClient),
    /// The agent's queue on RabbitMQ.
    Broker(Box<BrokerClient>),
}

impl Connection {
    /// A connection to the agent's socket on this machine.
    pub fn local(client: LocalClient) -> Self {
        Self { client: Client::Local(client), notice: None }
    }

    /// A connection to the agent's queue on RabbitMQ.
    pub fn broker(client: BrokerClient) -> Self {
        Self { client: Client::Broker(Box::new(client)), notice: None }
    }

    /// Makes the connection show people what a slow call waits for.
    #[must_use]
    pub fn telling(mut self, wanted: bool) -> Self {
        let socket = match &self.client {
            Client::Local(client) => Some(client.path()),
            Client::Broker(_) => None,
        };
        self.notice = wanted.then(|| Notice::new(socket, self.timeout()));
        self
    }

    /// Calls a method with a JSON object of arguments, and waits for its outcome.
    pub async fn call(&self, method: &str, args: Value) -> Result<Value, CallError> {
        let args = match args {
            Value::Object(args) => args,
            _ => Map::new(),
        };
        let answer = async {
            match &self.client {
                Client::Local(client) => client.call(method, args).await,
                Client::Broker(client) => client.call(method, args).await,
            }
        };
        match &self.notice {
            None => answer.await,
            Some(notice) => {
                tokio::select! {
                    biased;
                    answer = answer => answer,
                    never = notice.tell(method) => match never {},
                }
            }
        }
    }

    /// How long a call waits for its answer.
    pub fn timeout(&self) -> Duration {
        match &self.client {
            Client::Local(client) => client.timeout(),
            Client::Broker(client) => client.timeout(),
        }
    }

    /// Closes a connection to a broker.
    pub async fn close(&self) {
        if let Client::Broker(client) = &self.client {
            client.close().await;
        }
    }
}
