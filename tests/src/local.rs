//! A client of the agent's local socket, like an operator's tool: it sends the same requests as over the
//! broker, in frames.
//!
//! Callers: the integration tests and the tour. Like [`crate::rpc::RpcClient`], it can also send what a
//! well-behaved tool never sends.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex as AsyncMutex, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use trove_couchdb_protocol::{FrameDecoder, Outcome, Reply, decode_reply, frame};

use crate::rpc::{CallError, Message, Request};

/// On the socket the reply comes on the same connection, but the decoder needs a queue name.
const REPLY_QUEUE: &str = "local";
/// Far above the agent's largest reply.
const LONGEST_FRAME: usize = 64 * 1024 * 1024;

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Reply>>>>;

/// A connection to one agent; dropping it disconnects.
#[derive(Debug)]
pub struct LocalClient {
    output: AsyncMutex<OwnedWriteHalf>,
    waiting: Waiting,
    others: watch::Receiver<Vec<Reply>>,
    reader: JoinHandle<()>,
}

impl LocalClient {
    /// Connects.
    pub async fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .await
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        let (input, output) = stream.into_split();
        let waiting = Waiting::default();
        let (sender, others) = watch::channel(Vec::new());
        let reader = tokio::spawn(read(input, Arc::clone(&waiting), sender));
        Ok(Self { output: AsyncMutex::new(output), waiting, others, reader })
    }

    /// Calls a method and waits for its reply.
    pub async fn call(&self, method: &str, args: Value) -> Result<Value, CallError> {
        self.request(&Request::new(method, args)).await
    }

    /// Sends a call as described and waits for its reply.
    pub async fn request(&self, request: &Request) -> Result<Value, CallError> {
        let message = Self::encode_call(request);
        let answer = self.expect_answer(&message);
        self.send(&message).await.map_err(CallError::Transport)?;
        answer.within(request.timeout).await
    }

    /// Encodes a call without sending it.
    pub fn encode_call(request: &Request) -> Message {
        request.encode(Some(REPLY_QUEUE), None)
    }

    /// Encodes a cast without sending it.
    pub fn encode_cast(request: &Request) -> Message {
        request.encode(None, None)
    }

    /// Registers for the reply to a message; call it before the message is sent.
    pub fn expect_answer(&self, message: &Message) -> PendingAnswer {
        let (sender, receiver) = oneshot::channel();
        if let Some(msg_id) = &message.msg_id {
            lock(&self.waiting).insert(msg_id.clone(), sender);
        }
        PendingAnswer(receiver)
    }

    /// Sends an encoded message.
    pub async fn send(&self, message: &Message) -> Result<()> {
        self.send_bytes(&frame::encode(&message.body)?).await
    }

    /// Sends arbitrary bytes.
    pub async fn send_bytes(&self, bytes: &[u8]) -> Result<()> {
        self.output.lock().await.write_all(bytes).await.context("the agent hung up")
    }

    /// Replies that belong to no waiting call: heartbeats, replies to casts, the error before the agent hangs
    /// up.
    pub fn others(&self) -> Vec<Reply> {
        self.others.borrow().clone()
    }

    /// Waits up to `limit` for such a reply that `wanted` accepts.
    pub async fn other(&self, limit: Duration, wanted: impl Fn(&Reply) -> bool) -> Result<Reply> {
        let mut others = self.others.clone();
        let found = timeout(limit, others.wait_for(|all| all.iter().any(&wanted))).await;
        let found = found.with_context(|| format!("no such reply within {limit:?}"))?;
        let found = found.context("the agent hung up first")?;
        found.iter().find(|reply| wanted(reply)).cloned().context("a reply was lost")
    }

    /// Waits until the agent has hung up; returns the failure without a call that it sent before, if any.
    pub async fn hung_up(mut self, limit: Duration) -> Result<Option<String>> {
        timeout(limit, &mut self.reader).await.context("the agent does not hang up")??;
        let last = self.others.borrow().iter().rev().find(|reply| reply.msg_id.is_empty()).cloned();
        Ok(last.and_then(|reply| match reply.outcome {
            Outcome::Failure(failure) => Some(failure.message),
            Outcome::Success(_) => None,
        }))
    }
}

impl Drop for LocalClient {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The reply to a message; it may not have arrived yet.
#[derive(Debug)]
pub struct PendingAnswer(oneshot::Receiver<Reply>);

impl PendingAnswer {
    /// Waits up to `limit` for the reply; a failure is an error.
    pub async fn within(self, limit: Duration) -> Result<Value, CallError> {
        let reply = timeout(limit, self.0).await.map_err(|_| CallError::Timeout(limit))?;
        match reply.map_err(|_| CallError::Transport(anyhow::anyhow!("the agent hung up")))?.outcome {
            Outcome::Success(value) => Ok(value),
            Outcome::Failure(failure) => Err(CallError::Failure(failure)),
        }
    }

    /// Whether the reply has arrived or can no longer arrive.
    pub fn is_settled(&mut self) -> bool {
        !matches!(self.0.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }
}

async fn read(mut input: OwnedReadHalf, waiting: Waiting, others: watch::Sender<Vec<Reply>>) {
    let mut decoder = FrameDecoder::new(LONGEST_FRAME);
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match decoder.next_payload() {
            Ok(Some(body)) => {
                let Ok(reply) = decode_reply(&body, None) else {
                    eprintln!("the agent sent a frame that is no reply");
                    continue;
                };
                let waits = if reply.ending { lock(&waiting).remove(&reply.msg_id) } else { None };
                match waits {
                    // The caller may have given up.
                    Some(sender) => drop(sender.send(reply)),
                    None => others.send_modify(|all| all.push(reply)),
                }
            }
            Ok(None) => match input.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(length) => decoder.push(&chunk[..length]),
            },
            Err(error) => {
                eprintln!("the agent sent no frame: {error}");
                break;
            }
        }
    }
    // Notifies every waiting caller that no reply will come.
    lock(&waiting).clear();
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Reply>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
