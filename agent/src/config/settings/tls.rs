//! `tls_ca_file`, `tls_cert_file` and `tls_key_file`, which `[broker]` and `[couchdb]` have both.
//!
//! Only names: the files are read for each connection, so that a renewed certificate counts without a restart.

use std::fs;
use std::os::unix::fs::PermissionsExt;

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

/// A key is worth as much as a password. It may be renewed at any time, so this is said at the start and no more.
pub(super) fn warning(section: &str, files: &Files) -> Option<String> {
    let key = &files.identity.as_ref()?.key;
    let mode = fs::metadata(key).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| {
        format!(
            "everybody on this machine can read {}, the key of {section}.tls_cert_file; chmod o-r it, and renew it if \
             anybody else works here",
            key.display()
        )
    })
}

fn half(input: Section<'_>, given: &str, absent: &str) -> ConfigError {
    let advice = format!("set {}.{absent} as well, or neither", input.name());
    input.invalid(given, "is only half of a certificate and its key", advice)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_that_everybody_can_read_is_worth_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        fs::write(&key, "").unwrap();
        let identity = Some(Identity { cert: "/cert".into(), key: key.clone() });
        let files = Files { ca: None, identity };
        let warned = |mode| {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            warning("broker", &files).is_some()
        };
        assert!(warned(0o644) && !warned(0o640));
        fs::remove_file(&key).unwrap();
        assert_eq!(warning("broker", &files), None);
    }
}
