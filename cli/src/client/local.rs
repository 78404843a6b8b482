//! The agent's socket on this machine: frames of a length and an envelope, always in clear.
//!
//! One connection for all calls of a run, one call at a time. A connection that was given up in the middle of an answer
//! is not used again.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Map, Value};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::Mutex,
    time,
};
use trove_couchdb_protocol::{NewRequest, ReplyAddress, decode_reply, new_id};

use super::{CallError, operator, outcome};

/// The decoder of requests wants a reply queue; here the answer comes back the same way.
const REPLY_QUEUE: &str = "local";

/// No answer of the agent comes near this; what claims to be longer is no answer.
const MAX_REPLY: usize = 64 * 1024 * 1024;

/// A client of the agent on this machine.
#[derive(Debug)]
pub struct LocalClient {
    path: PathBuf,
    timeout: Duration,
    connection: Mutex<Option<UnixStream>>,
}

impl LocalClient {
    /// A client that connects when it is first needed.
    pub fn new(path: &Path, timeout: Duration) -> Self {
        Self { path: path.to_owned(), timeout, connection: Mutex::new(None) }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) async fn call(&self, method: &str, args: Map<String, Value>) -> Result<Value, CallError> {
        let mut slot = self.connection.lock().await;
        // Taken out: it goes back only when the answer was read to its end.
        let connection = slot.take();
        match time::timeout(self.timeout, self.exchange(connection, method, args)).await {
            Ok(Ok((value, connection))) => {
                *slot = Some(connection);
                value
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(CallError::Timeout { method: method.to_owned(), limit: self.timeout }),
        }
    }

    /// The outcome of one call, and the connection for the next one.
    async fn exchange(
        &self,
        connection: Option<UnixStream>,
        method: &str,
        args: Map<String, Value>,
    ) -> Result<(Result<Value, CallError>, UnixStream), CallError> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => UnixStream::connect(&self.path).await.map_err(|error| self.unreachable(&error))?,
        };
        let to = ReplyAddress { msg_id: new_id(), reply_queue: REPLY_QUEUE.to_owned() };
        let request = NewRequest::new(method, args, operator::context()).answered_to(to.clone());
        send(&mut connection, &request.encode(None)).await.map_err(|error| self.broken(&error))?;
        loop {
            let body = receive(&mut connection).await.map_err(|error| self.broken(&error))?;
            let reply = decode_reply(&body, None).map_err(CallError::Undecodable)?;
            // Beats say that the agent works on it; other ids belong to a call that was given up.
            if reply.ending && reply.msg_id == to.msg_id {
                return Ok((outcome(reply), connection));
            }
        }
    }

    fn broken(&self, error: &io::Error) -> CallError {
        let reason = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the agent closed it".to_owned(),
            _ => error.to_string(),
        };
        CallError::BrokenOff { place: self.place(), reason }
    }

    fn unreachable(&self, error: &io::Error) -> CallError {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "run it as root, or join the socket's group (`local.group` of the agent's configuration)"
            }
            io::ErrorKind::NotFound => {
                "start the agent (`systemctl start trove-couchdb-agent`), name its socket with --socket if \
                 `local.socket` is another one, or ask over RabbitMQ with --instance"
            }
            io::ErrorKind::ConnectionRefused => {
                "the agent that made this socket has ended: `systemctl status trove-couchdb-agent` tells why"
            }
            _ => "`systemctl status trove-couchdb-agent` tells whether the agent runs",
        };
        CallError::Unreachable {
            place: self.place(),
            reason: error.to_string(),
            advice: advice.to_owned(),
        }
    }

    fn place(&self) -> String {
        format!("the agent's socket {}", self.path.display())
    }
}

async fn send(connection: &mut UnixStream, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(|_| io::Error::other("the request is too long"))?;
    connection.write_all(&length.to_be_bytes()).await?;
    connection.write_all(payload).await
}

async fn receive(connection: &mut UnixStream) -> io::Result<Vec<u8>> {
    let length = connection.read_u32().await?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length == 0 || length > MAX_REPLY {
        return Err(io::Error::other(format!("a frame of {length} bytes is no answer")));
    }
    let mut payload = vec![0; length];
    connection.read_exact(&mut payload).await?;
    Ok(payload)
}
