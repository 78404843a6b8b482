//! The agent's socket on this machine: length-prefixed envelopes, always in clear.
//!
//! All calls of a run share one connection, one call at a time. After a timeout in the middle of an answer
//! the connection is not reused.

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
use trove_couchdb_protocol::{
    NewRequest, ReplyAddress, ReplyQueue, decode_reply,
    frame::{self, FrameDecoder},
    new_id,
};

use super::{CallError, operator, outcome};

/// The maximum length of an answer, in bytes. The agent's answers are much shorter.
const MAX_REPLY: usize = 64 * 1024 * 1024;

/// A connection and the bytes read but not yet decoded.
#[derive(Debug)]
struct Stream {
    socket: UnixStream,
    decoder: FrameDecoder,
}

/// A client of the agent on this machine.
#[derive(Debug)]
pub struct LocalClient {
    path: PathBuf,
    timeout: Duration,
    stream: Mutex<Option<Stream>>,
}

impl LocalClient {
    /// A client that connects on first use.
    pub fn new(path: &Path, timeout: Duration) -> Self {
        Self { path: path.to_owned(), timeout, stream: Mutex::new(None) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) async fn call(&self, method: &str, args: Map<String, Value>) -> Result<Value, CallError> {
        let mut slot = self.stream.lock().await;
        // Put back only after the answer was read completely.
        let stream = slot.take();
        match time::timeout(self.timeout, self.exchange(stream, method, args)).await {
            Ok(Ok((value, stream))) => {
                *slot = Some(stream);
                value
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(CallError::Timeout { method: method.to_owned(), limit: self.timeout }),
        }
    }

    /// The outcome of one call, and the connection for the next call.
    async fn exchange(
        &self,
        stream: Option<Stream>,
        method: &str,
        args: Map<String, Value>,
    ) -> Result<(Result<Value, CallError>, Stream), CallError> {
        let mut stream = match stream {
            Some(stream) => stream,
            None => Stream {
                socket: UnixStream::connect(&self.path).await.map_err(|error| self.unreachable(&error))?,
                decoder: FrameDecoder::new(MAX_REPLY),
            },
        };
        let to = ReplyAddress { msg_id: new_id(), reply_queue: ReplyQueue::local() };
        let request = NewRequest::new(method, args, operator::context()).answered_to(to.clone());
        let sent = stream.send(&request.encode(None)).await;
        loop {
            // The agent may have explained why it refuses the request before it closed the connection.
            let body = match stream.receive().await {
                Ok(body) => body,
                Err(error) => return Err(self.broken(sent.as_ref().err().unwrap_or(&error))),
            };
            let reply = decode_reply(&body, None).map_err(CallError::Undecodable)?;
            // A beat means that the agent is still working; a different id belongs to a call that timed out.
            // A reply without an id explains why the agent closes the connection.
            if reply.ending && (reply.msg_id == to.msg_id || reply.msg_id.is_empty()) {
                return Ok((outcome(reply), stream));
            }
        }
    }

    fn broken(&self, error: &io::Error) -> CallError {
        let reason = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the agent closed it".to_owned(),
            _ => error.to_string(),
        };
        CallError::BrokenOff { peer: self.peer(), reason }
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
                "the agent that created this socket has exited: `systemctl status trove-couchdb-agent` shows why"
            }
            _ => "`systemctl status trove-couchdb-agent` shows whether the agent runs",
        };
        CallError::Unreachable { peer: self.peer(), reason: error.to_string(), advice: advice.to_owned() }
    }

    fn peer(&self) -> String {
        format!("the agent's socket {}", self.path.display())
    }
}

impl Stream {
    async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let frame = frame::encode(payload).map_err(io::Error::other)?;
        self.socket.write_all(&frame).await
    }

    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            if let Some(payload) = self.decoder.next_payload().map_err(io::Error::other)? {
                return Ok(payload);
            }
            match self.socket.read(&mut buffer).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.decoder.push(buffer.get(..count).unwrap_or_default()),
            }
        }
    }
}
