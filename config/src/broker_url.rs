//! Checks the raw text of `broker.transport_url`: whether it means "no broker",
//! looks like that, or contains a password.

use std::str::FromStr;

use trove_couchdb_protocol::{text, transport_url::TransportUrl};

/// The configuration key.
pub(crate) const KEY: &str = "broker.transport_url";

/// The transport URL of an agent without a broker.
const NO_BROKER: &str = "local:";

/// Parses a transport URL. `urllib` drops line breaks from URLs, so oslo's files
/// may spread a URL over several lines.
pub(crate) fn parse(text: &str) -> Result<TransportUrl, <TransportUrl as FromStr>::Err> {
    text::secret(text).replace(['\r', '\n'], "").parse()
}

/// Whether a transport URL means "no broker"; such a text contains no secret.
pub(crate) fn is_no_broker(text: &str) -> bool {
    text::secret(text).trim() == NO_BROKER
}

/// Whether the text is a misspelt `local:`, such as `local`, `LOCAL:` or
/// `local://`; it cannot be meant as a host.
pub(crate) fn is_nearly_local(text: &str) -> bool {
    let word = text::secret(text).trim();
    let is_word = word.trim_end_matches(['/', ':']).eq_ignore_ascii_case(NO_BROKER.trim_end_matches(':'));
    is_word && word != NO_BROKER
}

/// Whether the text must be masked: it contains a password, or cannot be parsed.
pub(crate) fn holds_a_password(text: &str) -> bool {
    let of_a_url = || parse(text).map_or(true, |url| url.hosts.iter().any(|host| host.password.is_some()));
    !is_no_broker(text) && !is_nearly_local(text) && of_a_url()
}
