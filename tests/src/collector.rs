//! An OpenTelemetry collector as an exporter over HTTP sees it: it receives and stores spans.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::protobuf::Message;

/// A span, with the parts that the tests check.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectedSpan {
    /// Its trace id.
    pub trace: Vec<u8>,
    /// Its span id.
    pub id: Vec<u8>,
    /// The id of its parent span; empty for the root span of a trace.
    pub parent: Vec<u8>,
    /// Its name.
    pub name: String,
    /// Its attributes whose value is a string.
    pub attributes: BTreeMap<String, String>,
    /// The sender's resource attributes whose value is a string.
    pub resource: BTreeMap<String, String>,
    /// Whether its status is an error.
    pub failed: bool,
}

/// The collector; dropping it stops it.
#[derive(Debug)]
pub struct Collector {
    url: String,
    taken: Arc<Mutex<Taken>>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Taken {
    spans: Vec<CollectedSpan>,
    bodies: Vec<Vec<u8>>,
    heads: Vec<String>,
}

impl Collector {
    /// Listens on a free loopback port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let taken = Arc::new(Mutex::new(Taken::default()));
        let keep = Arc::clone(&taken);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let keep = Arc::clone(&keep);
                tokio::spawn(async move {
                    if let Err(error) = serve(connection, &keep).await {
                        eprintln!("the collector refuses a request: {error:#}");
                    }
                });
            }
        });
        Ok(Self { url, taken, task: task.abort_handle() })
    }

    /// The URL to configure in an exporter.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same without the scheme: `HOST:PORT`.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The spans received so far.
    pub fn spans(&self) -> Vec<CollectedSpan> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).spans.clone()
    }

    /// The request line and the headers of each batch, in lower case.
    pub fn heads(&self) -> Vec<String> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).heads.clone()
    }

    /// The body of each batch.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).bodies.clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(connection: TcpStream, keep: &Mutex<Taken>) -> Result<()> {
    let mut connection = BufReader::new(connection);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if connection.read_until(b'\n', &mut head).await? == 0 {
                return Ok(());
            }
        }
        let head = String::from_utf8(head)?.to_lowercase();
        ensure!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        ensure!(head.contains("\r\ncontent-type: application/x-protobuf\r\n"), "{head}");
        let length = head.split_once("\r\ncontent-length: ").and_then(|(_, rest)| rest.split_once("\r\n"));
        let mut body = vec![0; length.context("no length")?.0.parse()?];
        connection.read_exact(&mut body).await?;
        let spans = spans(&body)?;
        {
            let mut taken = keep.lock().unwrap_or_else(PoisonError::into_inner);
            taken.spans.extend(spans);
            taken.bodies.push(body);
            taken.heads.push(head);
        }
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
    }
}

/// Field numbers are those of `opentelemetry/proto/collector/trace/v1`, `trace/v1`, `resource/v1` and
/// `common/v1`.
fn spans(body: &[u8]) -> Result<Vec<CollectedSpan>> {
    let mut spans = Vec::new();
    for of_resource in Message::read(body)?.messages(1)? {
        let mut resource = BTreeMap::new();
        for message in of_resource.messages(1)? {
            resource.extend(texts(&message, 1)?);
        }
        for of_scope in of_resource.messages(2)? {
            for span in of_scope.messages(2)? {
                let failed = span.messages(15)?.iter().any(|status| status.number(3) == Some(2));
                spans.push(CollectedSpan {
                    trace: span.bytes(1).unwrap_or_default().to_vec(),
                    id: span.bytes(2).unwrap_or_default().to_vec(),
                    parent: span.bytes(4).unwrap_or_default().to_vec(),
                    name: span.text(5)?,
                    attributes: texts(&span, 9)?,
                    resource: resource.clone(),
                    failed,
                });
            }
        }
    }
    Ok(spans)
}

/// The attributes in this field whose value is a string.
fn texts(message: &Message<'_>, field: u64) -> Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for pair in message.messages(field)? {
        for value in pair.messages(2)? {
            if value.bytes(1).is_some() {
                texts.insert(pair.text(1)?, value.text(1)?);
            }
        }
    }
    Ok(texts)
}
