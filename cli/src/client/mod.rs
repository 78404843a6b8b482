//! An agent that answers calls, wherever it is: behind its local socket, or on RabbitMQ.
//!
//! Every verb sends *calls*, also what Trove only casts (`create_user`, …), so that the outcome is known. The envelope is
//! the same on both ways; on RabbitMQ it is exactly what an oslo.messaging caller sends.

mod bus;
mod error;
mod local;
mod operator;
mod trove;

use std::time::Duration;

use serde_json::{Map, Value};
use trove_couchdb_protocol::{Outcome, Reply};

pub use bus::BusClient;
pub use error::CallError;
pub use local::LocalClient;
pub use operator::login_name;
pub use trove::{ListedUser, Page};

/// The way to one agent.
#[derive(Debug)]
pub enum Connection {
    /// Its socket on this machine.
    Local(LocalClient),
    /// Its queue on RabbitMQ.
    Bus(Box<BusClient>),
}

impl Connection {
    /// Calls a method, with a JSON object of arguments, and waits for its end.
    pub async fn call(&self, method: &str, args: Value) -> Result<Value, CallError> {
        let args = match args {
            Value::Object(args) => args,
            _ => Map::new(),
        };
        match self {
            Self::Local(client) => client.call(method, args).await,
            Self::Bus(client) => client.call(method, args).await,
        }
    }

    /// How long a call waits for its answer.
    pub fn timeout(&self) -> Duration {
        match self {
            Self::Local(client) => client.timeout(),
            Self::Bus(client) => client.timeout(),
        }
    }
}

/// The value of a final reply.
fn outcome(reply: Reply) -> Result<Value, CallError> {
    match reply.outcome {
        Outcome::Success(value) => Ok(value),
        Outcome::Failure(failure) => Err(CallError::Failure(failure)),
    }
}
