//! The brokers' addresses, in oslo.messaging's notation.
//!
//! ```text
//! rabbit://user:password@host1:5672,user:password@[2001:db8::1]:5671/vhost?key=value
//! ```
//!
//! Mirrors `TransportURL.parse` of `oslo_messaging/transport.py`: the hosts are split at commas first, each
//! host has its own credentials (none are inherited), and everything is percent-decoded last. Stricter than
//! oslo: an unknown scheme, no host, an invalid host and a port out of range are errors. `Display` and
//! `Debug` show no password, and errors repeat only the scheme.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::{
    quote::{Disclosure, quote},
    secret::Secret,
};

/// The default port, with and without TLS (`impl_rabbit.py`, `_transform_transport_url`).
pub const DEFAULT_PORT: u16 = 5672;

/// Why a text is not a transport URL. Safe to log: it contains no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportUrlError {
    /// The text has no `://`, or no valid scheme in front of it.
    #[error("it must begin with `rabbit://`")]
    NoScheme,
    /// Not a scheme for RabbitMQ.
    #[error("the scheme {} is not supported, only rabbit, rabbits, amqp and amqps are", quote(.0, Disclosure::Open))]
    Scheme(String),
    /// The virtual host does not fit into an AMQP short string.
    #[error("the virtual host is over 255 bytes long")]
    VhostTooLong,
    /// No host between `://` and the next slash.
    #[error("it names no host")]
    NoHosts,
    /// A host is neither a name nor an address. It may be a password, if an `@` is missing.
    #[error(
        "host number {0} is neither a name (letters, digits, `.`, `_`, `-`) nor an IPv6 address in brackets; write \
         USER:PASSWORD@HOST:PORT, and `/`, `?`, `#`, `@`, `,` and `:` in credentials as %2F, …"
    )]
    Host(usize),
    /// A port is invalid.
    #[error("the port of host number {0} must be a number from 1 to 65535")]
    Port(usize),
    /// The URL contains a `#`, which ends a URL. Most likely it is part of a password.
    #[error("it holds a `#`; in credentials write it as %23")]
    Fragment,
    /// The percent-encoded bytes are not UTF-8.
    #[error("the {0} is not UTF-8 after percent-decoding")]
    NotUtf8(&'static str),
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// The port; 5672 if the URL has none.
    pub port: u16,
    /// The account. oslo falls back to `guest` if no host has an account.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
}

/// A parsed and decoded transport URL.
#[derive(Clone, PartialEq, Eq)]
pub struct TransportUrl {
    /// `rabbit`, or `rabbits` for TLS; aliases such as `amqp` and `amqps` are normalised to these.
    pub scheme: String,
    /// The brokers in the given order, at least one.
    pub hosts: Vec<Host>,
    /// The virtual host; `/` if the URL has none.
    pub vhost: String,
    /// The query parameters, decoded, in the given order.
    pub query: Vec<(String, String)>,
}

impl TransportUrl {
    /// Whether the URL enables TLS: by its scheme, or by oslo's query parameter `ssl`.
    pub fn is_tls(&self) -> bool {
        let on = |value: &str| ["true", "1", "on", "yes"].contains(&value.to_ascii_lowercase().as_str());
        self.scheme == "rabbits" || self.query.iter().any(|(key, value)| key == "ssl" && on(value))
    }

    /// The complete URL with passwords, as in a configuration file.
    pub fn exposed(&self) -> Secret {
        Secret::new(self.written(|password| encoded(password.expose()), encoded))
    }

    fn written(&self, password: impl Fn(&Secret) -> String, value: impl Fn(&str) -> String) -> String {
        let host = |host: &Host| {
            let user = host.user.as_deref().map(encoded).unwrap_or_default();
            let password = host.password.as_ref().map(|secret| format!(":{}", password(secret)));
            let credentials = user + &password.unwrap_or_default();
            let at = if credentials.is_empty() { "" } else { "@" };
            let (open, close) = if host.host.contains(':') { ("[", "]") } else { ("", "") };
            format!("{credentials}{at}{open}{}{close}:{}", host.host, host.port)
        };
        let hosts: Vec<String> = self.hosts.iter().map(host).collect();
        let vhost = if self.vhost == "/" { String::new() } else { encoded(&self.vhost) };
        let query = self.query.iter().enumerate().map(|(index, (key, of_key))| {
            format!("{}{}={}", if index == 0 { '?' } else { '&' }, encoded(key), value(of_key))
        });
        format!("{}://{}/{vhost}{}", self.scheme, hosts.join(","), query.collect::<String>())
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// AMQP's limit on short strings, in bytes.
const MAX_VHOST: usize = 255;

impl FromStr for TransportUrl {
    type Err = TransportUrlError;

    fn from_str(text: &str) -> Result<Self, TransportUrlError> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(TransportUrlError::NoScheme)?;
        let scheme = match scheme {
            "rabbit" | "amqp" | "kombu" | "kombu+amqp" => "rabbit",
            "rabbits" | "amqps" | "kombu+amqps" => "rabbits",
            // A scheme with other characters is not quoted: if `//` is
            // misplaced, the "scheme" may contain a password.
            _ if scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) => {
                return Err(TransportUrlError::Scheme(scheme.to_owned()));
            }
            _ => return Err(TransportUrlError::NoScheme),
        };
        if rest.contains('#') {
            return Err(TransportUrlError::Fragment);
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts = hosts.split(',').filter(|host| !host.is_empty()).enumerate();
        let hosts = hosts.map(|(index, host)| parse_host(index + 1, host)).collect::<Result<Vec<_>, _>>()?;
        if hosts.is_empty() {
            return Err(TransportUrlError::NoHosts);
        }
        let vhost = match decode("virtual host", path)? {
            path if path.is_empty() => "/".to_owned(),
            path => path,
        };
        if vhost.len() > MAX_VHOST {
            return Err(TransportUrlError::VhostTooLong);
        }
        Ok(Self { scheme: scheme.to_owned(), hosts, vhost, query: parse_query(query)? })
    }
}

fn decode(part: &'static str, text: &str) -> Result<String, TransportUrlError> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| TransportUrlError::NotUtf8(part))?;
    Ok(decoded.into_owned())
}

/// One element of the list of hosts; `number` counts from 1, for errors.
fn parse_host(number: usize, text: &str) -> Result<Host, TransportUrlError> {
    let (credentials, address) = match text.rsplit_once('@') {
        Some((credentials, address)) => (Some(credentials), address),
        None => (None, text),
    };
    let (user, password) = match credentials.map(|pair| pair.split_once(':').unwrap_or((pair, ""))) {
        Some((user, password)) => (Some(decode("user", user)?), Some(decode("password", password)?)),
        None => (None, None),
    };
    // To oslo's driver a colon without a password and no colon are the same: an empty password.
    let password = password.filter(|password| !password.is_empty()).map(Secret::new);
    let (host, port) = parse_address(address).ok_or(TransportUrlError::Host(number))?;
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => {
            let digits = port.bytes().all(|b| b.is_ascii_digit());
            let port = port.parse().ok().filter(|port| digits && *port != 0);
            port.ok_or(TransportUrlError::Port(number))?
        }
    };
    Ok(Host { host: host.to_owned(), port, user, password })
}

/// Splits a host and its port. Hosts are logged and looked up in DNS, so text with several
/// colons is refused: oslo accepts it as a bare IPv6 address
/// (`oslo_utils.netutils.parse_host_port`), but a part of it may be a password.
fn parse_address(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(text) = text.strip_prefix('[') {
        let (host, rest) = text.split_once(']').filter(|(host, _)| is_ipv6(host))?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let several = port.is_some_and(|port| port.contains(':'));
    (is_name(host) && !several).then_some((host, port))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// An IPv6 address, optionally with a zone (`fe80::1%eth0`).
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    address.parse::<Ipv6Addr>().is_ok() && is_name(zone)
}

/// Like Python's `parse_qs`: `+` is a space, and keys without a value are ignored.
fn parse_query(text: &str) -> Result<Vec<(String, String)>, TransportUrlError> {
    let pairs =
        text.split('&').filter_map(|pair| pair.split_once('=')).filter(|(_, value)| !value.is_empty());
    let plain = |text: &str| decode("query", &text.replace('+', " "));
    pairs.map(|(key, value)| Ok((plain(key)?, plain(value)?))).collect()
}

impl fmt::Display for TransportUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The query may contain a key file's password, so only its keys are shown.
        formatter.write_str(&self.written(ToString::to_string, |_| "…".to_owned()))
    }
}

impl fmt::Debug for TransportUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TransportUrl({self})")
    }
}

#[cfg(test)]
mod tests;
