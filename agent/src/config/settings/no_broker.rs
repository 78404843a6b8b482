//! `transport_url = "local:"`: an agent without a broker, and what is nearly that.

use trove_couchdb_protocol::text;

use super::broker::parse_url;
use crate::config::error::ConfigError;
use crate::config::inputs::Section;

/// The transport URL of an agent without a broker.
const NO_BROKER: &str = "local:";

/// Whether the transport URL says that there is no broker.
pub(super) fn is_local(input: Section<'_>) -> Result<bool, ConfigError> {
    Ok(input.text("transport_url")?.is_some_and(|text| is_no_broker(&text)))
}

/// The same, also where the word is misspelt: then the guest needs no id of Trove's either.
pub(super) fn is_meant_local(input: Section<'_>) -> Result<bool, ConfigError> {
    Ok(input.text("transport_url")?.is_some_and(|text| is_no_broker(&text) || is_nearly_local(&text)))
}

/// Whether a transport URL means "no broker"; it holds no secret then.
pub(in crate::config) fn is_no_broker(text: &str) -> bool {
    text::secret(text).trim() == NO_BROKER
}

/// `local`, `LOCAL:`, `local://`: no host could be meant.
pub(super) fn is_nearly_local(text: &str) -> bool {
    let word = text::secret(text).trim();
    let is_word = word.trim_end_matches(['/', ':']).eq_ignore_ascii_case(NO_BROKER.trim_end_matches(':'));
    is_word && word != NO_BROKER
}

/// Whether the text of a transport URL is worth hiding: it has a password, or nobody can tell.
pub(in crate::config) fn holds_a_password(text: &str) -> bool {
    let of_a_url =
        || parse_url(text).map_or(true, |url| url.hosts.iter().any(|host| host.password.is_some()));
    !is_no_broker(text) && !is_nearly_local(text) && of_a_url()
}
