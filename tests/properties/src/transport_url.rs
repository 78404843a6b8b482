//! An accepted transport URL has valid hosts, shows no password, and parses to the same value after it is
//! written again.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use trove_couchdb_protocol::{Secret, TransportUrl};

use crate::assert_readable;

/// Panics when the guarantee at the top of this file is broken.
pub fn holds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    read(text);
    read(&format!("rabbit://{text}"));
}

fn read(text: &str) {
    let url = match text.parse::<TransportUrl>() {
        Ok(url) => url,
        // The type of the error can hold only the scheme, so no error repeats any other part.
        Err(error) => return assert_readable(&error.to_string()),
    };
    assert!(!url.hosts.is_empty() && !url.vhost.is_empty() && url.vhost.len() <= 255);
    assert!(["rabbit", "rabbits"].contains(&url.scheme.as_str()));
    for host in &url.hosts {
        assert!(host.port != 0 && !host.host.is_empty(), "{host:?}");
        // Hosts are shown and resolved, so text that may be a misplaced password must not be accepted as a host.
        let is_name = host.host.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let address = host.host.split('%').next().unwrap_or_default();
        assert!(is_name || address.parse::<std::net::Ipv6Addr>().is_ok(), "{host:?}");
    }
    assert_eq!(masked(&url).to_string(), url.to_string(), "a password or the value of an option is shown");
    assert_eq!(format!("{url:?}"), format!("TransportUrl({url})"));
    assert!(!url.to_string().contains(char::is_control));
    assert_eq!(write(&url).parse::<TransportUrl>().as_ref(), Ok(&url), "{url}");
}

/// A second URL, which must have the same `Display` output.
fn masked(url: &TransportUrl) -> TransportUrl {
    let mut other = url.clone();
    for host in &mut other.hosts {
        host.password = host.password.as_ref().map(|_| Secret::new("another"));
    }
    other.query.iter_mut().for_each(|(_, value)| "another".clone_into(value));
    other
}

/// The URL with its passwords, with every possible character percent-encoded.
fn write(url: &TransportUrl) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let hosts = url.hosts.iter().map(|host| {
        let user = host.user.as_ref().map(|user| encode(user));
        let password = host.password.as_ref().map(|password| format!(":{}", encode(password.expose())));
        let at = if user.is_some() { "@" } else { "" };
        let (open, close) = if host.host.contains(':') { ("[", "]") } else { ("", "") };
        let (user, password) = (user.unwrap_or_default(), password.unwrap_or_default());
        format!("{user}{password}{at}{open}{}{close}:{}", host.host, host.port)
    });
    let query = url.query.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value)));
    let (hosts, query) = (hosts.collect::<Vec<_>>().join(","), query.collect::<Vec<_>>().join("&"));
    format!("{}://{hosts}/{}?{query}", url.scheme, encode(&url.vhost))
}
