//! `tls_ca_file`, `tls_cert_file` and `tls_key_file`, which both `[broker]` and `[couchdb]` have.
//!
//! The settings contain only the file names. The files are read for each connection, so a renewed certificate
//! takes effect without a restart.

use std::path::PathBuf;

pub use trove_couchdb_system::tls::{Files as TlsFiles, Identity as TlsIdentity};

use crate::error::Mistake;
use crate::inputs::Inputs;
use crate::text_file;

/// The files named by the keys of one section.
pub(crate) fn files(inputs: &Inputs, [ca, cert, key]: [&'static str; 3]) -> Result<TlsFiles, Mistake> {
    let path = |name| inputs.entry(name).get::<Option<PathBuf>>();
    let half = |given, absent| {
        let advice = format!("set {absent} as well, or neither");
        Err(inputs.entry(given).invalid("is only half of a certificate and its key", advice))
    };
    let identity = match (path(cert)?, path(key)?) {
        (Some(cert), Some(key)) => Some(TlsIdentity { cert, key }),
        (None, None) => None,
        (Some(_), None) => return half(cert, key),
        (None, Some(_)) => return half(key, cert),
    };
    Ok(TlsFiles { ca: path(ca)?, identity })
}

/// Warns if other users can read the key. Checked only at the start, because
/// the key may be replaced at any time.
pub(crate) fn warning(section: &str, files: &TlsFiles) -> Option<String> {
    let key = &files.identity.as_ref()?.key;
    text_file::is_open_to_everybody(key).then(|| {
        format!(
            "everybody on this machine can read {}, the key of {section}.tls_cert_file; chmod o-r it, and renew it if \
             other people have accounts here",
            key.display()
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_that_everybody_can_read_is_worth_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        fs::write(&key, "").unwrap();
        let identity = Some(TlsIdentity { cert: "/cert".into(), key: key.clone() });
        let files = TlsFiles { ca: None, identity };
        let warned = |mode| {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            warning("broker", &files).is_some()
        };
        assert!(warned(0o644) && !warned(0o640));
        fs::remove_file(&key).unwrap();
        assert_eq!(warning("broker", &files), None);
    }
}
