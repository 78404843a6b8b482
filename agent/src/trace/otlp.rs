//! Exports spans to a collector over HTTP, with OpenTelemetry's own crates.
//!
//! Their exporter has its own thread and blocks it while sending, but our HTTP client needs the tokio
//! runtime. So the exporter's requests go to a task, which starts with the runtime and lives as long as the
//! agent.
//!
//! If the collector is unreachable, only spans are lost: a full queue drops them.

use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tokio::{
    sync::{mpsc, oneshot},
    task,
};
use tokio_util::sync::CancellationToken;
use tracing::{Subscriber, debug, warn};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};
use trove_couchdb_config::TraceSettings;

use super::TARGET;

/// How long the collector may take for one batch.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long a stopping agent waits for the last batch.
const LAST_BATCH: Duration = Duration::from_secs(2);

/// The longest response that is read from a collector, in bytes; a successful one is nearly empty.
const LONGEST_ANSWER: usize = 64 << 10;

/// The exporter, and the requests that it makes.
#[derive(Debug)]
pub struct Export {
    provider: SdkTracerProvider,
    posted: mpsc::Receiver<Posted>,
}

/// A request of the exporter's thread, which waits for the response.
struct Posted {
    request: Request<Bytes>,
    answer: oneshot::Sender<Result<Response<Bytes>, HttpError>>,
}

impl Export {
    /// `None` if spans are not exported.
    pub fn new(settings: &TraceSettings, guest_id: &str) -> Option<Self> {
        let url = settings.otlp_endpoint.as_ref()?;
        // One batch at a time.
        let (post, posted) = mpsc::channel(1);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Post(post))
            .with_endpoint(url.as_str())
            .with_timeout(TIMEOUT)
            .build();
        let exporter = match exporter {
            Ok(exporter) => exporter,
            Err(error) => {
                warn!(%error, "Spans can't be exported.");
                return None;
            }
        };
        let resource = Resource::builder_empty()
            .with_service_name("trove-couchdb-agent")
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("service.instance.id", guest_id.to_owned()),
            ])
            .build();
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        Some(Self { provider, posted })
    }

    /// The layer that passes spans to OpenTelemetry. Only the agent's own: those of a library may contain
    /// anything.
    pub fn layer<S: Subscriber + for<'span> LookupSpan<'span>>(&self) -> impl Layer<S> + use<S> {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("trove-couchdb-agent"))
            .with_location(false)
            .with_threads(false)
            .with_filter(filter_fn(|metadata| metadata.target() == TARGET))
    }

    /// Sends spans. When `over` is cancelled, sends the last ones and returns.
    pub async fn run(self, over: CancellationToken) {
        let Self { provider, posted } = self;
        let last = async {
            over.cancelled().await;
            // The shutdown waits for the exporter's thread, which waits for `send`.
            task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_BATCH)).await
        };
        tokio::select! {
            () = send_all(posted) => {}
            shut = last => if let Ok(Err(error)) = shut {
                debug!(%error, "The last spans were not taken.");
            }
        }
    }
}

/// Returns when the exporter is gone.
async fn send_all(mut posted: mpsc::Receiver<Posted>) {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            warn!(%error, "Spans can't be exported.");
            return;
        }
    };
    let mut failing = false;
    while let Some(Posted { request, answer }) = posted.recv().await {
        let sent = send(&client, request).await;
        // Once per outage of the collector, not for each batch.
        match &sent {
            Err(error) if !failing => warn!(%error, "Spans are lost: the collector can't be reached."),
            Ok(answer) if !answer.status().is_success() && !failing => {
                warn!(status = answer.status().as_u16(), "Spans are lost: the collector refuses them.");
            }
            _ => {}
        }
        failing = !sent.as_ref().is_ok_and(|answer| answer.status().is_success());
        // The exporter may have given up meanwhile.
        drop(answer.send(sent));
    }
}

async fn send(client: &reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let request = reqwest::Request::try_from(request)?;
    let mut answer = client.execute(request).await.map_err(reqwest::Error::without_url)?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err("the collector's answer has no end".into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response::builder().status(status).body(body.into())?)
}

#[derive(Debug, Clone)]
struct Post(mpsc::Sender<Posted>);

#[async_trait]
impl HttpClient for Post {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Posted { request, answer }).await.map_err(|_| "the agent is stopping")?;
        answered.await?
    }
}
