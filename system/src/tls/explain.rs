//! Explains TLS failures to the operator: which certificate, which file, and what to do.

use std::{error::Error as StdError, io, path::Path};

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use super::Files;

/// The peer of a connection, for messages about its failure.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// The peer's configuration section: `broker` or `couchdb`.
    pub section: &'static str,
    /// The host that its certificate must match.
    pub host: &'a str,
    /// The TLS files of the connection.
    pub files: &'a Files,
}

/// The TLS error among the causes of an error.
pub fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        // The source of an `io::Error` is the source of the error that it wraps, which would be skipped.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Whether the peer rejected or missed the agent's certificate. With TLS 1.3 this arrives only after the
/// handshake.
pub fn refuses_us(error: &Error) -> bool {
    use AlertDescription as Alert;
    matches!(
        error,
        Error::AlertReceived(
            Alert::CertificateRequired
                | Alert::NoCertificate
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::DecryptError
        )
    )
}

/// The failure in a sentence.
pub fn explain(error: &Error, peer: Peer<'_>) -> String {
    let Peer { section, host, files } = peer;
    let identity = files.identity.as_ref().map(|identity| identity.cert.as_path());
    match error {
        Error::InvalidCertificate(problem) => {
            format!("the certificate of {host} {}", of_a_certificate(problem, peer))
        }
        refusal if refuses_us(refusal) => match identity {
            None => format!(
                "{host} requires a client certificate; set {section}.tls_cert_file and {section}.tls_key_file"
            ),
            Some(cert) => format!("{host} refuses our certificate, {}: {error}", cert.display()),
        },
        Error::AlertReceived(AlertDescription::HandshakeFailure) if identity.is_none() => format!(
            "{host} broke off the TLS handshake; if it requires a client certificate, set {section}.tls_cert_file and \
             {section}.tls_key_file"
        ),
        Error::AlertReceived(AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => format!("{host} speaks neither TLS 1.2 nor TLS 1.3"),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            format!("{host} does not speak TLS on this port; {}", without_tls(section))
        }
        other => format!("TLS with {host} failed: {other}"),
    }
}

fn without_tls(section: &str) -> &'static str {
    match section {
        "couchdb" => "correct the port, or begin couchdb.url with http://",
        _ => "correct the port in the transport URL (RabbitMQ's for TLS is 5671), or turn TLS off",
    }
}

fn of_a_certificate(problem: &CertificateError, peer: Peer<'_>) -> String {
    use CertificateError as Problem;
    match problem {
        Problem::UnknownIssuer => match peer.files.ca.as_deref().map(Path::display) {
            Some(ca) => format!("is not signed by an authority of {ca} ({}.tls_ca_file)", peer.section),
            None => format!("is not signed by an authority of this system; set {}.tls_ca_file", peer.section),
        },
        Problem::Expired | Problem::ExpiredContext { .. } => {
            "has expired; renew it, or correct the clock of this machine".to_owned()
        }
        Problem::NotValidYet | Problem::NotValidYetContext { .. } => {
            "is not valid yet; correct the clock of this machine".to_owned()
        }
        Problem::NotValidForName => "is for another host".to_owned(),
        Problem::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "names no host; it needs a subject alternative name, a common name does not count".to_owned()
        }
        Problem::NotValidForNameContext { presented, .. } => {
            let names: Vec<_> = presented.iter().map(|name| bare(name)).collect();
            format!("is for another host: {}", names.join(", "))
        }
        Problem::InvalidPurpose | Problem::InvalidPurposeContext { .. } => {
            "is not made for a server (extended key usage)".to_owned()
        }
        Problem::Revoked => "has been revoked".to_owned(),
        Problem::BadEncoding => "can't be read".to_owned(),
        // A self-signed certificate that is listed as an authority can be both.
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "is that of an authority; the server needs one of its own that the authority has signed"
                .to_owned()
        }
        other => format!("can't be trusted: {other}"),
    }
}

/// Extracts `localhost` from rustls' `DnsName("localhost")`.
fn bare(presented: &str) -> &str {
    let inside = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(presented).trim_matches('"')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn peer(files: &Files) -> Peer<'_> {
        Peer { section: "broker", host: "rabbit.example", files }
    }

    #[test]
    fn the_cause_is_found_under_any_wrapping() {
        let inner = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let once = io::Error::other(inner.clone());
        let twice = io::Error::other(once);
        assert_eq!(cause(&twice), Some(&inner));
        assert_eq!(cause(&io::Error::other("nothing of TLS")), None);
        assert_eq!(cause(&io::Error::from(io::ErrorKind::ConnectionReset)), None);
    }

    #[test]
    fn a_missing_certificate_of_ours_and_a_bad_one_are_two_things() {
        let refusal = Error::AlertReceived(AlertDescription::CertificateRequired);
        let none = Files::default();
        assert!(explain(&refusal, peer(&none)).contains("set broker.tls_cert_file"));
        let identity = super::super::Identity { cert: "/our.pem".into(), key: "/our.key".into() };
        let some = Files { identity: Some(identity), ..Files::default() };
        assert!(explain(&refusal, peer(&some)).contains("refuses our certificate, /our.pem"));
    }

    #[test]
    fn names_are_shown_bare() {
        assert_eq!(bare("DnsName(\"rabbit.example\")"), "rabbit.example");
        assert_eq!(bare("IpAddress(::1)"), "::1");
        assert_eq!(bare("odd"), "odd");
    }

    #[test]
    fn whose_authorities_were_asked_is_said() {
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let own = Files { ca: Some("/ca.pem".into()), ..Files::default() };
        assert!(explain(&unknown, peer(&own)).contains("of /ca.pem (broker.tls_ca_file)"));
        assert!(explain(&unknown, peer(&Files::default())).contains("this system; set broker.tls_ca_file"));
    }
}
