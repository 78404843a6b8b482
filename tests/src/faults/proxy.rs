//! A TCP proxy on the loopback that misbehaves on demand: it cuts connections, also in the middle of a frame,
//! delays, or goes silent.
//!
//! One proxy is between the agent and RabbitMQ, one between the agent and CouchDB; [`super::inject`] plays
//! the faults on them. When a client disconnects, its data that is still in the proxy is lost, as with a host
//! that dies: a CouchDB that ran requests of long-closed connections would undo later commands, which no
//! client of plain HTTP could prevent.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// No cut is due.
const NEVER: i64 = i64::MAX;

/// The direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the agent.
    Up,
    /// To the agent.
    Down,
}

/// A running proxy; dropping it stops it.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    delay_ms: AtomicU64,
    /// Bytes that still pass before all connections are cut, one counter for each direction.
    until_cut: [AtomicI64; 2],
    links: Mutex<Vec<Arc<Link>>>,
}

#[derive(Debug)]
struct Link {
    cut: watch::Sender<bool>,
    silent: AtomicBool,
}

impl Proxy {
    /// Listens on a free port and forwards everything to the loopback port `upstream`.
    pub async fn start(upstream: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port for the proxy")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State {
            delay_ms: AtomicU64::new(0),
            until_cut: [AtomicI64::new(NEVER), AtomicI64::new(NEVER)],
            links: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(serve(Arc::clone(&shared), client, upstream));
                }
            }
        });
        Ok(Self { port, state, task })
    }

    /// The proxy's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        self.state.cut();
    }

    /// Cuts every connection after this many more bytes in one direction.
    pub fn cut_after(&self, direction: Direction, bytes: u32) {
        self.state.until_cut[direction as usize].store(i64::from(bytes), Ordering::SeqCst);
    }

    /// Cancels a pending cut; false if it has already happened.
    pub fn spare(&self, direction: Direction) -> bool {
        self.state.until_cut[direction as usize].swap(NEVER, Ordering::SeqCst) != NEVER
    }

    /// Delays every chunk by this long from now on; zero stops that.
    pub fn delay(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.state.delay_ms.store(millis, Ordering::SeqCst);
    }

    /// Existing connections stay open but pass nothing any more; new connections work.
    pub fn silence(&self) {
        for link in self.state.links() {
            link.silent.store(true, Ordering::SeqCst);
        }
    }

    /// Closes the silent connections, like a gateway that reboots.
    pub fn end_silent(&self) {
        for link in self.state.links() {
            if link.silent.load(Ordering::SeqCst) {
                link.cut.send_replace(true);
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.state.cut();
    }
}

impl State {
    fn links(&self) -> Vec<Arc<Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn cut(&self) {
        for link in self.links() {
            link.cut.send_replace(true);
        }
    }

    /// How many of `length` bytes may pass; fewer if a cut is due.
    fn allowed(&self, direction: Direction, length: usize) -> usize {
        let left = &self.until_cut[direction as usize];
        if left.load(Ordering::SeqCst) == NEVER {
            return length;
        }
        let length_i = i64::try_from(length).unwrap_or(i64::MAX);
        let before = left.fetch_sub(length_i, Ordering::SeqCst);
        if before > length_i {
            return length;
        }
        left.store(NEVER, Ordering::SeqCst);
        usize::try_from(before.max(0)).unwrap_or_default().min(length.saturating_sub(1))
    }
}

async fn serve(state: Arc<State>, client: TcpStream, upstream: u16) {
    // A refused connection is forwarded by closing the client's.
    let Ok(server) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, upstream))).await else {
        return;
    };
    // Without TCP_NODELAY small frames would wait for acknowledgements; a failure only costs that time.
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let link = Arc::new(Link { cut: watch::Sender::new(false), silent: AtomicBool::new(false) });
    state.links.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&link));
    let mut cut = link.cut.subscribe();
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        _ = cut.wait_for(|cut| *cut) => {}
        () = pump(&state, &link, Direction::Up, from_client, to_server) => {}
        () = pump(&state, &link, Direction::Down, from_server, to_client) => {}
    }
    state.links.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, &link));
}

/// Returns at the end of the stream, when forwarding fails, or when a cut is due.
async fn pump(
    state: &State,
    link: &Link,
    direction: Direction,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        let delay = state.delay_ms.load(Ordering::SeqCst);
        if delay > 0 {
            sleep(Duration::from_millis(delay)).await;
        }
        if link.silent.load(Ordering::SeqCst) {
            continue;
        }
        let allowed = state.allowed(direction, length);
        if to.write_all(&buffer[..allowed]).await.is_err() {
            return;
        }
        if allowed < length {
            state.cut();
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    async fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.into_split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn bytes_pass_until_the_cut_and_new_connections_pass_again() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        let mut four = [0; 4];
        stream.write_all(b"ping").await.unwrap();
        stream.read_exact(&mut four).await.unwrap();
        assert_eq!(&four, b"ping");
        proxy.cut_after(Direction::Down, 2);
        stream.write_all(b"pong").await.unwrap();
        let mut rest = Vec::new();
        // A reset is as good as a clean end of the stream.
        drop(stream.read_to_end(&mut rest).await);
        assert_eq!(rest, b"po");
        assert!(!proxy.spare(Direction::Down), "it came about");
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        stream.read_exact(&mut four).await.unwrap();
    }

    #[tokio::test]
    async fn a_silent_connection_stays_open() {
        let proxy = Proxy::start(echo().await).await.unwrap();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        let mut one = [0];
        stream.write_all(b"a").await.unwrap();
        stream.read_exact(&mut one).await.unwrap();
        proxy.silence();
        stream.write_all(b"b").await.unwrap();
        let read = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut one)).await;
        assert!(read.is_err(), "neither data nor an end");
        proxy.end_silent();
        assert_eq!(stream.read(&mut one).await.unwrap_or_default(), 0);
    }
}
