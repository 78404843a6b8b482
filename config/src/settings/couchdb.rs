//! `[couchdb]`: the CouchDB server of the agent, and the agent's account there.

use std::path::PathBuf;
use std::time::Duration;

use trove_couchdb_protocol::{secret::Secret, text};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::error::Mistake;
use crate::inputs::{Entry, Inputs};
use crate::section::section;
use crate::settings::tls::{self, TlsFiles};
use crate::text_file;

/// Trove's option group for CouchDB (`trove/common/cfg.py`, `couchdb_opts`).
const COUCHDB: &str = "couchdb";

section! {
    /// The CouchDB server that the agent manages.
    #[derive(Debug, Clone)]
    pub struct CouchSettings = "couchdb" {
        /// The address of CouchDB: scheme, host and port only. Credentials belong in the credentials file.
        url: Url = "http://127.0.0.1:5984", by Text url;
        /// Credentials of the agent's own account, os_admin; created on first start and read from then on. Keep the
        /// file with the data: without it the agent is locked out.
        credentials_file: PathBuf = "~/.os_couchdb_admin_creds.json";
        /// CouchDB's local.d directory, such as /opt/couchdb/etc/local.d. CouchDB 3 does not start without an
        /// administrator; if this is set, the agent installs os_admin there, hashed, in zz-trove-os-admin.ini.
        local_ini_dir: Option<PathBuf>;
        /// Make CouchDB reject every request without a login once os_admin exists.
        require_valid_user: bool = "false";
        /// The age at which the agent replaces os_admin's password; 0 never does. `trove-couchdb rotate-os-admin`
        /// replaces it at any time.
        rotate_os_admin_after: Option<Duration> = "0", by Seconds rotate_os_admin_after;
        /// The time limit for connecting to CouchDB.
        connect_timeout: Duration = "5", in 0.1..=600.0;
        /// The time limit for one request to CouchDB.
        request_timeout: Duration = "30", in 0.1..=3600.0;
        /// How many requests to CouchDB run at once, for example to read the members of every database.
        max_connections: usize = "32", in 1..=1024;
        /// Users that Trove must neither see nor change.
        ignore_users: Vec<String> = "os_admin,root",
            oslo [(COUCHDB, "ignore_users"), ("DEFAULT", "ignore_users")];
        /// Databases that Trove must neither see nor change. Names that begin with _ are always rejected. A user
        /// that is deleted or renamed is also removed or renamed in the members of these databases.
        ignore_dbs: Vec<String> = "_users,_replicator,_global_changes",
            oslo [(COUCHDB, "ignore_dbs"), ("DEFAULT", "ignore_dbs")];
        /// PBKDF2 rounds for the passwords of users, root and os_admin on CouchDB 3.4 and later, which has the same
        /// default. max_iterations and min_iterations of CouchDB's [chttpd_auth] limit the value.
        // Ten million rounds take seconds; CouchDB repeats them on every login that is not in its cache.
        sha256_iterations: u32 = "600000", in 1000..=10_000_000;
        /// PBKDF2 rounds for the passwords of users and root on older servers. These know only SHA-1 and hash again
        /// at every request, so more rounds make every request slower. os_admin has 10 rounds there, and a password
        /// of 256 random bits.
        sha1_iterations: u32 = "1000", in 10..=10_000_000;
        /// The mount point of the data volume. Trove shows the size and usage of this file system, unless CouchDB
        /// reports (database_dir of its [couchdb]) that its databases are in a different directory of this machine.
        data_dir: PathBuf = "/var/lib/couchdb", oslo [(COUCHDB, "mount_point")];
        /// The instance is not healthy while the file system of CouchDB's databases has fewer MiB free; 0 disables
        /// the check. The agent checks where CouchDB reports its databases, if that is on this machine.
        min_free_mib: u64 = "64", in 0..=1_048_576;
        /// How often the agent writes a _local document to _users to check that CouchDB can write; 0 never. Such a
        /// document appears in no list of changes and is not replicated. Each write adds 4 KiB to the file of
        /// _users until its next compaction.
        write_check_interval: Duration = "300", in 0.0..=86_400.0;
    }
    keys {
        /// PEM file of the only authorities to trust when couchdb.url begins with https; without it the agent
        /// trusts those of the system.
        tls_ca_file: Option<PathBuf>;
        /// PEM file of the agent's own certificate, for a CouchDB that verifies its clients
        /// (verify_ssl_certificates).
        tls_cert_file: Option<PathBuf>;
        /// PEM file of the key for tls_cert_file, without a pass phrase.
        tls_key_file: Option<PathBuf>;
        /// An existing administrator that may create os_admin, for an image whose CouchDB was set up with one.
        bootstrap_admin: Option<String>;
        /// The password of bootstrap_admin.
        bootstrap_admin_password: Option<Secret>;
        /// A file with the password of bootstrap_admin, which keeps the password out of the configuration. Line
        /// breaks at the end and a byte order mark are ignored.
        bootstrap_admin_password_file: Option<PathBuf>;
    }
    made {
        /// The trusted authorities and the client certificate for https.
        tls: TlsFiles = tls;
        /// Name and password of an administrator that may create os_admin.
        bootstrap_admin: Option<(String, Secret)> = bootstrap_admin;
    }
}

impl CouchSettings {
    /// The port of a server on this machine; `None` for a remote server.
    pub fn local_port(&self) -> Option<u16> {
        self.url.port_or_known_default().filter(|_| self.is_local())
    }

    /// Whether CouchDB certainly runs on this machine.
    pub fn is_local(&self) -> bool {
        is_own_machine(&self.url)
    }

    /// Warns if passwords would cross the network in clear, because a remote server is used without TLS.
    pub(crate) fn warning(&self) -> Option<String> {
        (self.url.scheme() == "http" && !self.is_local()).then(|| {
            format!(
                "couchdb.url is {}, so passwords cross the network in clear; use https, or a loopback address",
                self.url
            )
        })
    }
}

/// Whether a URL certainly refers to this machine.
pub(crate) fn is_own_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn url(entry: Entry<'_>) -> Result<Url, Mistake> {
    // Errors do not show the URL, which may contain a password.
    let advice = "write only scheme, host and port, such as http://127.0.0.1:5984";
    let ensure = |holds, problem: &str| entry.ensure(holds, problem, advice);
    let refused = |error| entry.invalid(format!("is no URL: {error}"), advice);
    let url = Url::parse(entry.required_text()?).map_err(refused)?;
    ensure(matches!(url.scheme(), "http" | "https"), "is neither http nor https")?;
    let has_login = !url.username().is_empty() || url.password().is_some();
    ensure(!has_login, "holds credentials, which belong in couchdb.credentials_file")?;
    let has_more = url.path() != "/" || url.query().is_some() || url.fragment().is_some();
    ensure(!has_more, "has a path, query or fragment")?;
    Ok(url)
}

fn tls(inputs: &Inputs) -> Result<TlsFiles, Mistake> {
    tls::files(inputs, ["couchdb.tls_ca_file", "couchdb.tls_cert_file", "couchdb.tls_key_file"])
}

/// Every rotation costs a hash and makes commands wait briefly; an interval of
/// less than an hour is probably a mistake.
fn rotate_os_admin_after(entry: Entry<'_>) -> Result<Option<Duration>, Mistake> {
    const HOUR: Duration = Duration::from_secs(3600);
    const TEN_YEARS: f64 = 315_360_000.0;
    let after: Duration = entry.get_in(0.0..=TEN_YEARS)?;
    let problem = format!("cannot be {}", after.as_secs_f64());
    let is_sound = after.is_zero() || after >= HOUR;
    entry.ensure(is_sound, &problem, "write 0 for never, or at least 3600 seconds")?;
    Ok(Some(after).filter(|after| !after.is_zero()))
}

fn bootstrap_admin(inputs: &Inputs) -> Result<Option<(String, Secret)>, Mistake> {
    let name = inputs.entry("couchdb.bootstrap_admin");
    let password = inputs.entry("couchdb.bootstrap_admin_password");
    let file = inputs.entry("couchdb.bootstrap_admin_password_file");
    let secret = match (password.get()?, file.get::<Option<PathBuf>>()?) {
        (Some(_), Some(_)) => {
            let problem = "and couchdb.bootstrap_admin_password_file are both set";
            return Err(password.invalid(problem, "keep one of them"));
        }
        (None, Some(path)) => {
            let text = Zeroizing::new(text_file::read(&path)?);
            let secret = text::secret(&text);
            file.ensure(!secret.is_empty(), "names an empty file", "write the password into it")?;
            Some(Secret::new(secret))
        }
        (secret, None) => secret,
    };
    match (name.get()?, secret) {
        (Some(_), None) => {
            let advice = "set couchdb.bootstrap_admin_password_file or couchdb.bootstrap_admin_password";
            Err(name.invalid("has no password", advice))
        }
        (None, Some(_)) => Err(name.missing("its password is; name the administrator it belongs to")),
        (name, secret) => Ok(name.zip(secret)),
    }
}
