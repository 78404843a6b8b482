//! A minimal HTTP client that sends a request line unchanged (other clients normalise `..`, `//` and invalid
//! escapes) and reports where a connection broke off.

#![allow(dead_code)] // every test file uses a part of it

use std::collections::BTreeMap;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A response with a parsed head.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Response {
    /// Whether the whole announced body was received.
    pub(crate) fn is_complete(&self) -> bool {
        self.headers.get("content-length").is_some_and(|length| *length == self.body.len().to_string())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Headers that would change the framing, which the client controls itself.
const FRAMING: [&str; 3] = ["expect", "transfer-encoding", "accept-encoding"];

/// Sends one request on a new connection; an error if the connection closed before a whole head was received.
pub(crate) async fn try_send(
    port: u16,
    method: &str,
    target: &str,
    headers: &BTreeMap<String, String>,
    body: &str,
) -> io::Result<Response> {
    let sent = headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone()));
    let mut sent: BTreeMap<String, String> =
        sent.filter(|(name, _)| !FRAMING.contains(&name.as_str())).collect();
    sent.entry("host".into()).or_insert_with(|| format!("127.0.0.1:{port}"));
    sent.insert("connection".into(), "close".into());
    sent.insert("content-length".into(), body.len().to_string());
    let lines: Vec<String> = sent.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("{method} {target} HTTP/1.1\r\n{}\r\n{body}", lines.concat());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        ended?;
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let headers = head.lines().filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(Response { status, headers, body: body.to_owned() })
}

/// The header for Basic authentication.
pub(crate) fn basic(name: &str, password: &str) -> BTreeMap<String, String> {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    let headers =
        [("authorization", format!("Basic {encoded}")), ("content-type", "application/json".to_owned())];
    headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
