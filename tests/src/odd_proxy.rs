//! A reverse proxy in front of CouchDB that reproduces oddities of real proxies, one at a time.
//!
//! Callers: tests of how the agent reports a proxy's answers. Each connection has one request, so that a new
//! mode takes effect at once. TLS and chunked bodies are not supported.

use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Forwards everything.
    Pass,
    /// Removes `Authorization`.
    Strip,
    /// Decodes `%2F` in paths.
    Decode,
    /// Compresses the body of every answer.
    Gzip,
    /// Answers by itself.
    Answer {
        /// Status and reason.
        status: &'static str,
        /// Header lines, each with its line end.
        headers: &'static str,
        /// The body.
        body: &'static str,
    },
}

/// A running proxy; dropping it stops it.
#[derive(Debug)]
pub struct OddProxy {
    port: u16,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    mode: Mutex<Mode>,
    requests: Mutex<Vec<String>>,
}

impl OddProxy {
    /// Listens on a free port in front of the server on this loopback port.
    pub async fn start(upstream: u16, mode: Mode) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port for the proxy")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State { mode: Mutex::new(mode), requests: Mutex::default() });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                // A client or server that disconnects affects only its own connection.
                tokio::spawn(async move { drop(serve(&state, client, upstream).await) });
            }
        });
        Ok(Self { port, state, task })
    }

    /// The proxy's address, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Changes the mode from the next request on.
    pub fn set(&self, mode: Mode) {
        *lock(&self.state.mode) = mode;
    }

    /// The request lines so far.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state.requests).clone()
    }
}

impl Drop for OddProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(state: &State, mut client: TcpStream, upstream: u16) -> Result<()> {
    let (head, body) = read_message(&mut client).await?;
    let mode = *lock(&state.mode);
    let (line, headers) = head.split_once("\r\n").context("no request line")?;
    lock(&state.requests).push(line.to_owned());
    if let Mode::Answer { status, headers, body } = mode {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        client.write_all(answer.as_bytes()).await?;
        return Ok(());
    }
    let line = if mode == Mode::Decode { line.replace("%2F", "/") } else { line.to_owned() };
    let kept = headers.lines().filter(|header| {
        let name = header.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !(name == "connection" || (mode == Mode::Strip && name == "authorization"))
    });
    let head = kept.fold(format!("{line}\r\n"), |head, header| format!("{head}{header}\r\n"));
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await?;
    server.write_all(format!("{}\r\nconnection: close\r\n\r\n", head.trim_end()).as_bytes()).await?;
    server.write_all(&body).await?;
    let (head, body) = read_message(&mut server).await?;
    let body = if mode == Mode::Gzip { packed(&body)? } else { body };
    let kept = head.lines().filter(|header| !header.to_ascii_lowercase().starts_with("content-length"));
    let head = kept.fold(String::new(), |head, header| format!("{head}{header}\r\n"));
    let encoding = if mode == Mode::Gzip { "content-encoding: gzip\r\n" } else { "" };
    client.write_all(format!("{head}{encoding}content-length: {}\r\n\r\n", body.len()).as_bytes()).await?;
    client.write_all(&body).await?;
    Ok(())
}

fn packed(body: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body)?;
    Ok(encoder.finish()?)
}

/// Returns the head without the empty line at its end, and the body.
async fn read_message(stream: &mut TcpStream) -> Result<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).context("a head that is not UTF-8")?;
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    Ok((head.trim_end().to_owned(), body))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
