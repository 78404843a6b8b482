//! `[trace]`: where spans of commands go, if anywhere.

use std::net::IpAddr;

use url::{Host, Url};

use crate::config::error::ConfigError;
use crate::config::inputs::Section;
use crate::config::keys::{Key, Kind};

pub(in crate::config) const KEYS: &[Key] = &[Key::new(
    "trace.otlp_endpoint",
    Kind::Text,
    "The URL of an OpenTelemetry collector that takes OTLP over HTTP, such as http://127.0.0.1:4318: each command is sent \
     to it as a span, with one for each request to CouchDB, and /v1/traces is put behind the URL. In clear on this machine \
     only; elsewhere https. Only in an agent built with --features otlp.",
)];

/// Where spans go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceSettings {
    /// The collector's URL for traces; none if they are switched off.
    pub otlp: Option<Url>,
}

impl TraceSettings {
    pub(super) fn from_input(input: Section<'_>) -> Result<Self, ConfigError> {
        const KEY: &str = "otlp_endpoint";
        let Some(text) = input.text(KEY)? else { return Ok(Self::default()) };
        let advice =
            "write http://127.0.0.1:4318 or https://HOST:4318, of a collector that takes OTLP over HTTP";
        let Some(mut url) = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
        else {
            return Err(input.invalid(KEY, "is no URL of http or https", advice));
        };
        if url.password().is_some() || !url.username().is_empty() {
            let problem = "has a login, which would stand in this file and in no other place";
            return Err(input.invalid(
                KEY,
                problem,
                "give it to a collector on this machine, which passes spans on",
            ));
        }
        if url.scheme() == "http" && !is_own_machine(&url) {
            return Err(input.invalid(KEY, "would send spans over the network in clear", advice));
        }
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["v1", "traces"]);
        }
        Ok(Self { otlp: Some(url) })
    }

    /// Spans are a help and no duty: an agent that can't send them serves all the same.
    pub(super) fn warning(&self) -> Option<String> {
        let in_vain = self.otlp.is_some() && !cfg!(feature = "otlp");
        in_vain.then(|| {
            "trace.otlp_endpoint is set, but this agent was built without it: no span is sent. Build it with --features \
             otlp, or take the line out."
                .to_owned()
        })
    }
}

fn is_own_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
