//! `[metrics]`: where Prometheus and a health check find the agent.
//!
//! Off unless it is asked for: a guest whose metrics nobody reads has no listener for them.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::error::Mistake;
use crate::inputs::Inputs;
use crate::section::section;
use crate::settings::local::of_a_socket;

section! {
    /// Where metrics are to be had.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct MetricsSettings = "metrics" {
        /// Where /metrics, /healthz and /readyz are served: ADDRESS:PORT, such as 127.0.0.1:9985 or [::1]:9985, or
        /// the absolute path of a Unix socket. If unset there is no listener.
        listen: Option<Listen>, by Text listen;
        /// Let metrics.listen name an address that other machines can reach. There is no login and no TLS: anyone
        /// who can reach it can read it.
        allow_remote: bool = "false";
        /// The group, by name or number, whose members may use the Unix socket. Without it only root and the
        /// agent's own user may.
        group: Option<String>;
        /// How many connections are served at once; others wait.
        max_connections: usize = "8", in 1..=256;
    }
}

/// A place to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// Over TCP.
    Tcp(SocketAddr),
    /// On a Unix socket.
    Unix(PathBuf),
}

fn listen(inputs: &Inputs, key: &'static str) -> Result<Option<Listen>, Mistake> {
    let Some(text) = inputs.text(key) else { return Ok(None) };
    if text.starts_with('/') {
        return Ok(Some(Listen::Unix(of_a_socket(inputs, key, text.into())?)));
    }
    let Some(address) = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0) else {
        let advice = "write ADDRESS:PORT, such as 127.0.0.1:9985, or a path that begins with /";
        return Err(inputs.invalid(key, format!("cannot be {text:?}"), advice));
    };
    if address.ip().is_loopback() || inputs.get::<bool>("metrics.allow_remote")? {
        return Ok(Some(Listen::Tcp(address)));
    }
    let problem = format!("cannot be {address}, which other machines may reach");
    Err(inputs.invalid(key, problem, "write 127.0.0.1:PORT or a path, or set metrics.allow_remote = true"))
}
