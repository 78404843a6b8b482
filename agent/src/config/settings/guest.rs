//! `[guest]`: which instance this is. Trove says so in `guest_info.conf`, an image never can.

use std::path::PathBuf;

use trove_couchdb_protocol::secret::Secret;

use crate::config::error::ConfigError;
use crate::config::inputs::Section;
use crate::config::keys::{Key, Kind};

/// Who a guest is that no Trove has named and no queue is named after.
const WITHOUT_BROKER: &str = "local";

/// The longest guest id. Trove's are 36 characters; queue names, at most 255 bytes, are made from it.
const MAX_ID: usize = 200;

pub(in crate::config) const KEYS: &[Key] = &[
    Key::new(
        "guest.id",
        Kind::Text,
        "The instance's id, which names the agent's queues. Required; Trove writes it to guest_info.conf. Without a \
         broker it is \"local\" if not set.",
    )
    .oslo(&[("DEFAULT", "guest_id")]),
    Key::new(
        "guest.encryption_key",
        Kind::Secret,
        "The key that payloads are encrypted with. Trove writes it to guest_info.conf if the instance has one; \
         without it messages are clear text.",
    )
    .oslo(&[("DEFAULT", "instance_rpc_encr_key")]),
    Key::new(
        "guest.datastore_manager",
        Kind::Text,
        "The manager that the datastore version is registered with. Shown in logs only: CouchDB may be \
         registered under another manager's name, so nothing is decided by it.",
    )
    .oslo(&[("DEFAULT", "datastore_manager")]),
    Key::new(
        "guest.state_dir",
        Kind::Path,
        "Where the agent keeps what must outlive a restart. Only the agent may write there.",
    )
    .default("/var/lib/trove-couchdb-agent"),
];

/// Which guest this is.
#[derive(Debug, Clone)]
pub struct GuestSettings {
    /// The instance's id: 1 to 200 of `A-Z a-z 0-9 . _ -`.
    pub id: String,
    /// The key of the payload encryption; none means clear text (PROTOCOL.md section 4).
    pub encryption_key: Option<Secret>,
    /// For logs only; an operator may register CouchDB under another manager's name.
    pub datastore_manager: Option<String>,
    /// Directory of the agent's own state.
    pub state_dir: PathBuf,
}

impl GuestSettings {
    pub(super) fn from_input(input: Section<'_>, is_local: bool) -> Result<Self, ConfigError> {
        Ok(Self {
            id: if is_local && input.text("id")?.is_none() { WITHOUT_BROKER.to_owned() } else { id(input)? },
            encryption_key: input.secret("encryption_key")?.map(without_bytes_mark),
            datastore_manager: input.text("datastore_manager")?,
            state_dir: input.required_path("state_dir")?,
        })
    }
}

/// Trove 12 on Python 3 writes the key as Python shows bytes, `b'…'`. No key of Trove's has a quotation mark in it.
fn without_bytes_mark(key: Secret) -> Secret {
    let text = key.expose();
    let quoted = |mark: char| text.strip_prefix('b')?.strip_prefix(mark)?.strip_suffix(mark);
    match quoted('\'').or_else(|| quoted('"')) {
        Some(inner) => Secret::new(inner),
        None => key,
    }
}

fn id(input: Section<'_>) -> Result<String, ConfigError> {
    let Some(id) = input.text("id")? else {
        return Err(input.missing(
            "id",
            "Trove writes it as guest_id to /etc/trove/conf.d/guest_info.conf; for a guest made by hand set it \
             there or with --guest-id",
        ));
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if id.chars().all(legal) && id.len() <= MAX_ID {
        return Ok(id);
    }
    let shown: String = id.chars().take(MAX_ID).collect();
    let advice = format!(
        "write the id of the instance: at most {MAX_ID} letters, digits, dots, dashes or underscores"
    );
    Err(input.invalid("id", format!("cannot be {shown:?}"), advice))
}
