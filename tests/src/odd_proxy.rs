//! A reverse proxy before CouchDB that does what real ones have been seen to do, one oddity at a time.
//!
//! Who calls: tests of what the agent says of a proxy's answers. One request a connection, so that a new mode counts at
//! once. Never: TLS, chunked bodies.

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
    /// Passes everything on.
    Pass,
    /// Removes `Authorization`.
    Strip,
    /// Decodes `%2F` in paths.
    Decode,
    /// Packs every answer's body.
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

/// A running proxy; ends with this value.
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
    /// Listens on a free port before the server on this port of the loopback.
    pub async fn start(upstream: u16, mode: Mode) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port for the proxy")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State { mode: Mutex::new(mode), requests: Mutex::default() });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                // A client or a server that goes away ends its own connection only.
                tokio::spawn(async move { drop(serve(&state, client, upstream).await) });
            }
        });
        Ok(Self { port, state, task })
    }

    /// Its address, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Does something else from the next request on.
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

/// The head without the empty line at its end, and the body.
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
