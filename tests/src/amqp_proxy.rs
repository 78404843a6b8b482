//! A proxy in front of RabbitMQ that refuses what RabbitMQ accepts: it reads AMQP frames and closes the
//! connection on a client method that the test chooses, with a reply text that the test chooses.
//!
//! Callers: tests of refusals that Debian 12's RabbitMQ does not send, such as those of RabbitMQ 4.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The protocol header that a client sends first (AMQP 0-9-1, section 4.2.2).
const HEADER_BYTES: usize = 8;
/// Type, channel and size of a frame; the frame-end octet is one more (section 4.2.3).
const FRAME_BYTES: usize = 7;
const FRAME_END: u8 = 0xCE;
const METHOD_FRAME: u8 = 1;

/// Longer than a busy client takes to answer `connection.close`.
const CLOSE_OK_LIMIT: Duration = Duration::from_secs(60);

/// A method that a client sends.
#[derive(Debug)]
pub struct ClientMethod {
    id: (u16, u16),
    arguments: Vec<u8>,
}

/// How the proxy closes the connection.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// `connection.close` with this reply code and text.
    Close(u16, &'static str),
    /// The socket closes without an AMQP message.
    Cut,
}

type Rule = dyn Fn(&ClientMethod) -> Option<End> + Send + Sync;

/// A running proxy; dropping it stops it.
#[derive(Debug)]
pub struct AmqpProxy {
    port: u16,
    ended: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl ClientMethod {
    /// The queue of a `queue.declare` that is neither durable nor exclusive, and not passive (class 50,
    /// method 10).
    pub fn transient_shared_queue(&self) -> Option<String> {
        let (name, rest) = short_string(self.arguments.get(2..).filter(|_| self.id == (50, 10))?)?;
        let flags = rest.first()?;
        (flags.trailing_zeros() >= 3).then_some(name)
    }

    /// The routing key of a `basic.publish` through the default exchange (class 60, method 40).
    pub fn publishes_to(&self) -> Option<String> {
        let (exchange, rest) = short_string(self.arguments.get(2..).filter(|_| self.id == (60, 40))?)?;
        Some(short_string(rest)?.0).filter(|_| exchange.is_empty())
    }
}

fn short_string(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((String::from_utf8_lossy(text).into_owned(), rest))
}

impl AmqpProxy {
    /// Starts a proxy to the broker on this loopback port; `rule` decides when a connection is closed.
    pub async fn start(
        broker: u16,
        rule: impl Fn(&ClientMethod) -> Option<End> + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port for the proxy")?;
        let port = listener.local_addr()?.port();
        let rule: Arc<Rule> = Arc::new(rule);
        let ended = Arc::new(Mutex::new(0));
        let count = Arc::clone(&ended);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (rule, count) = (Arc::clone(&rule), Arc::clone(&count));
                tokio::spawn(async move {
                    if let Ok(true) = pass_on(client, broker, &*rule).await {
                        *count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                    }
                });
            }
        });
        Ok(Self { port, ended, task })
    }

    /// The proxy's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections the rule has closed.
    pub fn ended(&self) -> usize {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AmqpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns whether the rule closed the connection.
async fn pass_on(client: TcpStream, broker: u16, rule: &Rule) -> Result<bool> {
    let broker = TcpStream::connect((Ipv4Addr::LOCALHOST, broker)).await?;
    let ((mut from_client, mut to_client), (from_broker, to_broker)) =
        (client.into_split(), broker.into_split());
    let end = tokio::select! {
        end = up(&mut from_client, to_broker, rule) => end?,
        _ = down(from_broker, &mut to_client) => None,
    };
    if let Some(End::Close(code, text)) = end {
        to_client.write_all(&closing(code, text)).await?;
        // RabbitMQ waits as well: a client that sees the end of the stream before it has answered reports a
        // broken connection.
        let answered = async {
            while !is_close_ok(&frame(&mut from_client).await?) {}
            anyhow::Ok(())
        };
        drop(tokio::time::timeout(CLOSE_OK_LIMIT, answered).await);
        to_client.shutdown().await?;
    }
    Ok(end.is_some())
}

async fn up(client: &mut OwnedReadHalf, mut broker: OwnedWriteHalf, rule: &Rule) -> Result<Option<End>> {
    let mut header = [0; HEADER_BYTES];
    client.read_exact(&mut header).await?;
    broker.write_all(&header).await?;
    loop {
        let frame = frame(client).await?;
        if let Some(method) = method(&frame)
            && let Some(end) = rule(&method)
        {
            return Ok(Some(end));
        }
        broker.write_all(&frame).await?;
    }
}

/// Forwards whole frames, so that a frame of the proxy's own can follow.
async fn down(mut broker: OwnedReadHalf, client: &mut OwnedWriteHalf) -> Result<()> {
    loop {
        let frame = frame(&mut broker).await?;
        client.write_all(&frame).await?;
    }
}

async fn frame(from: &mut OwnedReadHalf) -> Result<Vec<u8>> {
    let mut frame = vec![0; FRAME_BYTES];
    from.read_exact(&mut frame).await?;
    let size = u32::from_be_bytes([frame[3], frame[4], frame[5], frame[6]]);
    frame.resize(FRAME_BYTES + usize::try_from(size)? + 1, 0);
    from.read_exact(&mut frame[FRAME_BYTES..]).await?;
    Ok(frame)
}

fn method(frame: &[u8]) -> Option<ClientMethod> {
    let payload = frame.get(FRAME_BYTES..frame.len() - 1).filter(|_| frame[0] == METHOD_FRAME)?;
    let (id, arguments) = payload.split_at_checked(4)?;
    let id = (u16::from_be_bytes([id[0], id[1]]), u16::from_be_bytes([id[2], id[3]]));
    Some(ClientMethod { id, arguments: arguments.to_vec() })
}

/// `connection.close-ok` (class 10, method 51).
fn is_close_ok(frame: &[u8]) -> bool {
    method(frame).is_some_and(|method| method.id == (10, 51))
}

/// `connection.close` (class 10, method 50); a short string holds 255 bytes.
fn closing(code: u16, text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(255)];
    let mut payload = vec![0, 10, 0, 50];
    payload.extend(code.to_be_bytes());
    payload.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    payload.extend(text);
    payload.extend([0; 4]);
    let mut frame = vec![METHOD_FRAME, 0, 0];
    frame.extend(u32::try_from(payload.len()).unwrap_or_default().to_be_bytes());
    frame.extend(payload);
    frame.push(FRAME_END);
    frame
}
