//! `[guest_log]` and `[swift]`: the logs that users of Trove can read, and the object store that they are
//! published to.
//!
//! Trove has the same options, and its API reads the same container. So Trove's names and defaults are used.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::error::Mistake;
use crate::inputs::{Entry, Inputs};
use crate::section::section;
use crate::settings::tls::TlsFiles;

/// The longest name of a container in Swift.
const MAX_CONTAINER: usize = 256;

section! {
    /// The logs that users of Trove can read.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct GuestLogSettings = "guest_log" {
        /// The file that CouchDB writes its log to, which becomes the log `couchdb`. The agent has no privilege: its
        /// account must be able to read the file, as a member of CouchDB's group for example.
        couchdb_file: PathBuf = "/var/log/couchdb/couchdb.log";
        /// The file that systemd writes the agent's own log to, which becomes the log `guest`. If unset, the log is
        /// in the journal only and can't be published. docs/drains.md has the lines for systemd.
        agent_file: Option<PathBuf>;
        /// The logs that every user of the project may see and publish; "all" for all of them. Administrators see
        /// the others as well.
        exposed: Vec<String> = "couchdb", oslo [("couchdb", "guest_log_exposed_logs")];
        /// The container that logs are published to. Trove creates no such container itself, the agent does.
        container: String = "database_logs", by Text container, oslo [("DEFAULT", "guest_log_container_name")];
        /// The size of an object that a log is published in, in bytes. The agent keeps one of them in memory.
        piece_bytes: usize = "1000000", in 4_096..=16_777_216, oslo [("DEFAULT", "guest_log_limit")];
        /// After how many seconds the object store deletes what was published.
        expiry: u64 = "2592000", in 60..=3_153_600_000, oslo [("DEFAULT", "guest_log_expiry")];
        /// How long one command may read from and write to the object store. A publication that takes longer ends
        /// there, and the next one continues. Keep it below agent_call_high_timeout of Trove (180 s).
        timeout: Duration = "150", in 1.0..=3600.0;
    }
}

section! {
    /// The object store of the cloud.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SwiftSettings = "swift" {
        /// The URL of the object store without the project's id, such as https://swift.example/v1/AUTH_. If unset,
        /// the agent takes the URL from the service catalog in the user's request.
        url: Option<String>, by Text url, oslo [("DEFAULT", "swift_url")];
        /// The type of the object store in the service catalog.
        service_type: String = "object-store", oslo [("DEFAULT", "swift_service_type")];
        /// Which of its URLs is used: publicURL, internalURL or adminURL.
        endpoint_type: String = "publicURL", by Text endpoint_type, oslo [("DEFAULT", "swift_endpoint_type")];
        /// The region in the service catalog. If unset, the first object store is used.
        region: Option<String>, oslo [("service_credentials", "region_name"), ("DEFAULT", "os_region_name")];
        /// The time limit for one request to the object store.
        timeout: Duration = "30", in 1.0..=3600.0;
    }
    keys {
        /// PEM file with the only authorities that the agent trusts for the object store, instead of the system's.
        tls_ca_file: Option<PathBuf>;
    }
    made {
        /// The file of `tls_ca_file`.
        tls: TlsFiles = tls_files;
    }
}

fn tls_files(inputs: &Inputs) -> Result<TlsFiles, Mistake> {
    Ok(TlsFiles { ca: inputs.entry("swift.tls_ca_file").get()?, identity: None })
}

fn container(entry: Entry<'_>) -> Result<String, Mistake> {
    let name = entry.required_text()?;
    let is_legal = !name.contains('/') && name != "." && name != ".." && name.len() <= MAX_CONTAINER;
    let advice = format!("write a name of at most {MAX_CONTAINER} bytes without a slash");
    entry.ensure(is_legal, &format!("cannot be {name:?}"), &advice)?;
    Ok(name.to_owned())
}

/// The text is kept, because the project's id is appended to it.
fn url(entry: Entry<'_>) -> Result<Option<String>, Mistake> {
    let Some(text) = entry.text() else { return Ok(None) };
    let advice = "write https://HOST/v1/AUTH_, to which the agent appends the project's id";
    let parsed = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(parsed) = parsed else { return Err(entry.invalid("is no URL of http or https", advice)) };
    let has_login = parsed.password().is_some() || !parsed.username().is_empty();
    entry.ensure(!has_login, "has a login; the agent sends the token of the user's request", advice)?;
    let is_plain = parsed.query().is_none() && parsed.fragment().is_none();
    entry.ensure(is_plain, "has a query or a fragment", advice)?;
    // The id would become a part of the host.
    entry.ensure(parsed.path() != "/", "has no path", advice)?;
    Ok(Some(text.to_owned()))
}

fn endpoint_type(entry: Entry<'_>) -> Result<String, Mistake> {
    let types = ["publicURL", "internalURL", "adminURL"].map(|name| (name, name));
    entry.choice(&types).map(str::to_owned)
}
