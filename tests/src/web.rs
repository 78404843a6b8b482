//! Requests the agent's pages for Prometheus and for health checks, like any HTTP client.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// A response: status line with headers, and body.
#[derive(Debug)]
pub struct Page {
    /// The status code.
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    /// The body.
    pub body: String,
}

const LIMIT: Duration = crate::until::HUNG;

/// Requests a page on a Unix socket.
pub async fn get_unix(socket: &Path, path: &str) -> Result<Page> {
    let stream = UnixStream::connect(socket).await.with_context(|| socket.display().to_string())?;
    ask(stream, &request("GET", path)).await
}

/// Requests a page at `ADDRESS:PORT`.
pub async fn get_tcp(address: &str, path: &str) -> Result<Page> {
    send_tcp(address, &request("GET", path)).await
}

/// Sends arbitrary bytes to `ADDRESS:PORT` and reads until the connection is closed.
pub async fn send_tcp(address: &str, bytes: &str) -> Result<Page> {
    ask(TcpStream::connect(address).await.context("cannot connect")?, bytes).await
}

/// A request as it is sent over the wire.
pub fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &str) -> Result<Page> {
    // A server that refuses a request may close the connection before it has read everything.
    drop(stream.write_all(bytes.as_bytes()).await);
    let mut answer = Vec::new();
    let reading = timeout(LIMIT, stream.read_to_end(&mut answer)).await.context("the answer does not end")?;
    let answer = String::from_utf8(answer)?;
    let (head, body) =
        answer.split_once("\r\n\r\n").with_context(|| format!("{answer:?} after {reading:?}"))?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok(Page { status, head: head.to_owned(), body: body.to_owned() })
}
