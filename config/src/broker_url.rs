//! The text of `broker.transport_url`, before anything is known to be right about it: what says that there is no broker,
//! what is nearly that, and whether the text is worth hiding.

use std::str::FromStr;

use trove_couchdb_protocol::{text, transport_url::TransportUrl};

/// The key.
pub(crate) const KEY: &str = "broker.transport_url";

/// The transport URL of an agent without a broker.
const NO_BROKER: &str = "local:";

/// Reads a transport URL; `urllib` drops line breaks from URLs, so oslo's files may hold it on several lines.
pub(crate) fn parse(text: &str) -> Result<TransportUrl, <TransportUrl as FromStr>::Err> {
    text::secret(text).replace(['\r', '\n'], "").parse()
}

/// Whether a transport URL means "no broker"; it holds no secret then.
pub(crate) fn is_no_broker(text: &str) -> bool {
    text::secret(text).trim() == NO_BROKER
}

/// `local`, `LOCAL:`, `local://`: no host could be meant.
pub(crate) fn is_nearly_local(text: &str) -> bool {
    let word = text::secret(text).trim();
    let is_word = word.trim_end_matches(['/', ':']).eq_ignore_ascii_case(NO_BROKER.trim_end_matches(':'));
    is_word && word != NO_BROKER
}

/// Whether the text is worth hiding: it has a password, or nobody can tell.
pub(crate) fn holds_a_password(text: &str) -> bool {
    let of_a_url = || parse(text).map_or(true, |url| url.hosts.iter().any(|host| host.password.is_some()));
    !is_no_broker(text) && !is_nearly_local(text) && of_a_url()
}
