//! `tls_ca_file`, `tls_cert_file` and `tls_key_file`, which `[broker]` and `[couchdb]` have both.
//!
//! Only names: the files are read for each connection, so that a renewed certificate counts without a restart.

use crate::config::error::ConfigError;
use crate::config::inputs::Section;
use crate::tls::{Files, Identity};

pub(super) fn files(input: Section<'_>) -> Result<Files, ConfigError> {
    let identity = match (input.path("tls_cert_file")?, input.path("tls_key_file")?) {
        (Some(cert), Some(key)) => Some(Identity { cert, key }),
        (None, None) => None,
        (Some(_), None) => return Err(half(input, "tls_cert_file", "tls_key_file")),
        (None, Some(_)) => return Err(half(input, "tls_key_file", "tls_cert_file")),
    };
    Ok(Files { ca: input.path("tls_ca_file")?, identity })
}

fn half(input: Section<'_>, given: &str, absent: &str) -> ConfigError {
    let advice = format!("set {}.{absent} as well, or neither", input.name());
    input.invalid(given, "is only half of a certificate and its key", advice)
}
