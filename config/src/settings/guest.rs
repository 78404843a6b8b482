//! `[guest]` and `[prepare]`: the id of this instance, and the parts of a
//! `prepare` request that the agent may ignore.
//!
//! Trove writes the instance's id to `guest_info.conf`; an image cannot contain it.

use std::path::PathBuf;

use trove_couchdb_protocol::secret::Secret;

use crate::broker_url;
use crate::error::Mistake;
use crate::inputs::Entry;
use crate::section::section;

/// The guest id without a broker, where Trove assigns none and no queue needs it.
const WITHOUT_BROKER: &str = "local";

/// The longest guest id; Trove's ids have 36 characters. The longest name that the agent makes of the id is that of
/// oslo's queue for one server, `guestagent.ID.ID`, and AMQP allows 255 bytes.
const MAX_ID: usize = (255 - "guestagent..".len()) / 2;

/// Trove's option group for CouchDB. The options of `prepare` are the agent's own. Trove injects its file
/// unchanged, so the control plane's copy may contain them.
const COUCHDB: &str = "couchdb";

section! {
    /// Which guest this is.
    #[derive(Debug, Clone)]
    pub struct GuestSettings = "guest" {
        /// The instance's id, which names the agent's queues. Required; Trove writes it to guest_info.conf. Without
        /// a broker the default is "local".
        id: String, by Text id, oslo [("DEFAULT", "guest_id")];
        /// The key that encrypts payloads. Trove writes it to guest_info.conf if the instance has a key; without a
        /// key messages are unencrypted.
        encryption_key: Option<Secret>, by Secret encryption_key, oslo [("DEFAULT", "instance_rpc_encr_key")];
        /// The manager that the datastore version is registered with. It only appears in logs: CouchDB may be
        /// registered under the name of a different manager.
        datastore_manager: Option<String>, oslo [("DEFAULT", "datastore_manager")];
        /// Where the agent keeps state that must survive a restart. Only the agent may write there.
        state_dir: PathBuf = "/var/lib/trove-couchdb-agent";
    }
}

section! {
    /// The parts of a `prepare` request that the agent may ignore.
    #[derive(Debug, Clone, Copy)]
    pub struct PrepareSettings = "prepare" {
        /// Ignore the packages of the datastore version, for an image that includes CouchDB. Otherwise an instance
        /// that asks for packages fails, with the reason in `openstack database instance show`.
        ignore_packages: bool = "false", oslo [(COUCHDB, "ignore_packages")];
        /// Ignore the data volume, for an image that formats and mounts it itself or stores the data elsewhere.
        /// Otherwise an instance with a volume fails, because its data would not be on the volume that its owner
        /// pays for.
        ignore_volume: bool = "false", oslo [(COUCHDB, "ignore_volume")];
    }
}

fn id(entry: Entry<'_>) -> Result<String, Mistake> {
    let no_broker = |text: &str| broker_url::is_no_broker(text) || broker_url::is_nearly_local(text);
    let Some(id) = entry.text() else {
        // Also for a misspelt `local:`: such a guest needs no id from Trove either.
        let has_broker = !entry.inputs.entry(broker_url::KEY).text().is_some_and(no_broker);
        let advice = "Trove writes it as guest_id to /etc/trove/conf.d/guest_info.conf; for a guest made by hand set it \
                      there or with --guest-id";
        return if has_broker { Err(entry.missing(advice)) } else { Ok(WITHOUT_BROKER.to_owned()) };
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let shown: String = id.chars().take(MAX_ID).collect();
    let advice = format!(
        "write the id of the instance: at most {MAX_ID} letters, digits, dots, dashes or underscores"
    );
    let is_legal = id.chars().all(legal) && id.len() <= MAX_ID;
    entry.ensure(is_legal, &format!("cannot be {shown:?}"), &advice)?;
    Ok(id.to_owned())
}

/// Trove 12 on Python 3 writes the key as a Python bytes literal, `b'…'`.
/// Trove's keys contain no quotation marks.
fn encryption_key(entry: Entry<'_>) -> Result<Option<Secret>, Mistake> {
    let Some(secret) = entry.get::<Option<Secret>>()? else { return Ok(None) };
    let text = secret.expose();
    let quoted = |mark: char| text.strip_prefix('b')?.strip_prefix(mark)?.strip_suffix(mark);
    let inner = quoted('\'').or_else(|| quoted('"')).map(Secret::new);
    Ok(Some(inner.unwrap_or(secret)))
}
