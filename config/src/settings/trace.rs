//! `[trace]`: where spans of commands go, if anywhere.

use std::net::IpAddr;

use url::{Host, Url};

use crate::error::Mistake;
use crate::inputs::Inputs;
use crate::section::section;

section! {
    /// Where spans of commands go.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    pub struct TraceSettings = "trace" {
        /// The URL of an OpenTelemetry collector that accepts OTLP over HTTP, such as http://127.0.0.1:4318. Each
        /// command is sent as a span, with one for each request to CouchDB; the agent appends /v1/traces to the
        /// URL. Unencrypted only on this machine; otherwise use https. Only in an agent built with --features otlp.
        otlp_endpoint: Option<Url>, by Text otlp_endpoint;
    }
}

impl TraceSettings {
    /// Spans are a help and no duty: an agent that can't send them serves all the same.
    pub(crate) fn warning(&self) -> Option<String> {
        let in_vain = self.otlp_endpoint.is_some() && !cfg!(feature = "otlp");
        in_vain.then(|| {
            "trace.otlp_endpoint is set, but this agent was built without it: no span is sent. Build it with --features \
             otlp, or take the line out."
                .to_owned()
        })
    }
}

/// The collector's URL for traces.
fn otlp_endpoint(inputs: &Inputs, key: &'static str) -> Result<Option<Url>, Mistake> {
    let Some(text) = inputs.text(key) else { return Ok(None) };
    let advice = "write http://127.0.0.1:4318 or https://HOST:4318, of a collector that takes OTLP over HTTP";
    let Some(mut url) = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https")) else {
        return Err(inputs.invalid(key, "is no URL of http or https", advice));
    };
    if url.password().is_some() || !url.username().is_empty() {
        let problem = "has a login, which would stand in this file and in no other place";
        let advice = "give it to a collector on this machine, which passes spans on";
        return Err(inputs.invalid(key, problem, advice));
    }
    if url.scheme() == "http" && !is_own_machine(&url) {
        return Err(inputs.invalid(key, "would send spans over the network in clear", advice));
    }
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["v1", "traces"]);
    }
    Ok(Some(url))
}

/// Whether a URL leads to this machine for certain.
pub(crate) fn is_own_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
