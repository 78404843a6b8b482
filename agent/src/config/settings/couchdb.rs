//! `[couchdb]`: the server beside the agent, and the account the agent uses there.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use trove_couchdb_protocol::{secret::Secret, text};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::config::error::ConfigError;
use crate::config::inputs::Section;
use crate::config::keys::{Key, Kind};
use crate::config::settings::tls;
use crate::tls::Files;

/// Trove's option group for CouchDB (`trove/common/cfg.py`, `couchdb_opts`).
const COUCHDB: &str = "couchdb";

pub(in crate::config) const KEYS: &[Key] = &[
    Key::new(
        "couchdb.url",
        Kind::Text,
        "Where CouchDB answers: scheme, host and port only. Credentials belong in the credentials file.",
    )
    .default("http://127.0.0.1:5984"),
    Key::new(
        "couchdb.tls_ca_file",
        Kind::Path,
        "PEM file of the authorities to trust, and no others, when couchdb.url begins with https; without it those of \
         the system.",
    ),
    Key::new(
        "couchdb.tls_cert_file",
        Kind::Path,
        "PEM file of the agent's own certificate, for a CouchDB that asks for one (verify_ssl_certificates).",
    ),
    Key::new(
        "couchdb.tls_key_file",
        Kind::Path,
        "PEM file of the key that belongs to tls_cert_file, without a pass phrase.",
    ),
    Key::new(
        "couchdb.credentials_file",
        Kind::Path,
        "The agent's own account, os_admin: made on first start, read ever after. Must be kept with the data: \
         without it the agent is locked out.",
    )
    .default("~/.os_couchdb_admin_creds.json"),
    Key::new(
        "couchdb.bootstrap_admin",
        Kind::Text,
        "An administrator that exists already and may create os_admin, for an image whose CouchDB was set up \
         with one.",
    ),
    Key::new("couchdb.bootstrap_admin_password", Kind::Secret, "The password of bootstrap_admin."),
    Key::new(
        "couchdb.bootstrap_admin_password_file",
        Kind::Path,
        "A file that holds it instead, so that it is in no configuration; line breaks at the end and a byte order mark are \
         no part of it.",
    ),
    Key::new(
        "couchdb.local_ini_dir",
        Kind::Path,
        "CouchDB's local.d directory, such as /opt/couchdb/etc/local.d. CouchDB 3 does not start without an \
         administrator; with this the agent installs os_admin, hashed, as zz-trove-os-admin.ini there.",
    ),
    Key::new(
        "couchdb.require_valid_user",
        Kind::Flag,
        "Make CouchDB refuse every request without a login, once os_admin exists.",
    )
    .default("false"),
    Key::new(
        "couchdb.rotate_os_admin_after",
        Kind::Seconds,
        "The age at which os_admin's password is replaced by another one; 0 leaves it for ever. It can be replaced at \
         any time by command as well.",
    )
    .default("0"),
    Key::new("couchdb.connect_timeout", Kind::Seconds, "How long connecting to CouchDB may take.").default("5"),
    Key::new("couchdb.request_timeout", Kind::Seconds, "How long one request to CouchDB may take.").default("30"),
    Key::new(
        "couchdb.max_connections",
        Kind::Count,
        "How many requests to CouchDB run at once, such as reading the members of every database.",
    )
    .default("32"),
    Key::new("couchdb.ignore_users", Kind::List, "Users that Trove must neither see nor touch.")
        .default("os_admin,root")
        .oslo(&[(COUCHDB, "ignore_users"), ("DEFAULT", "ignore_users")]),
    Key::new(
        "couchdb.ignore_dbs",
        Kind::List,
        "Databases that Trove must neither see nor touch. Names that begin with _ are refused in any case. A user \
         that is deleted or renamed is taken out of, or renamed in, the members of these too.",
    )
    .default("_users,_replicator,_global_changes")
    .oslo(&[(COUCHDB, "ignore_dbs"), ("DEFAULT", "ignore_dbs")]),
    Key::new(
        "couchdb.sha256_iterations",
        Kind::Count,
        "PBKDF2 rounds of the passwords of users, root and os_admin on CouchDB 3.4 and later; its own default. No more than \
         max_iterations of CouchDB's [chttpd_auth], and no fewer than min_iterations, are used.",
    )
    .default("600000"),
    Key::new(
        "couchdb.sha1_iterations",
        Kind::Count,
        "PBKDF2 rounds of the passwords of users and root on older servers, which know SHA-1 only and hash again at \
         every request: more rounds make each one slower. os_admin has 10 there, and a password of 256 random bits.",
    )
    .default("1000"),
    Key::new(
        "couchdb.data_dir",
        Kind::Path,
        "Where the data volume is mounted: the file system whose size and usage Trove shows, unless CouchDB says \
         (database_dir of its [couchdb]) that its databases are in another directory of this machine.",
    )
    .default("/var/lib/couchdb")
    .oslo(&[(COUCHDB, "mount_point")]),
    Key::new(
        "couchdb.min_free_mib",
        Kind::Count,
        "The instance is not healthy while the file system of CouchDB's databases has fewer MiB free; 0 never looks. It \
         is looked at where CouchDB says that they are, if that is on this machine.",
    )
    .default("64"),
];

/// The CouchDB server beside the agent.
#[derive(Debug, Clone)]
pub struct CouchSettings {
    /// Scheme, host and port; no credentials, path or query.
    pub url: Url,
    /// Whom to trust and who we are when the scheme is https.
    pub tls: Files,
    /// JSON file of the `os_admin` account.
    pub credentials_file: PathBuf,
    /// Name and password of an administrator who may create `os_admin`.
    pub bootstrap_admin: Option<(String, Secret)>,
    /// CouchDB's `local.d`, where the hashed `os_admin` may be installed.
    pub local_ini_dir: Option<PathBuf>,
    /// Whether the agent turns `require_valid_user` on.
    pub require_valid_user: bool,
    /// The age at which `os_admin` gets another password.
    pub rotate_after: Option<Duration>,
    /// The limit of connecting.
    pub connect_timeout: Duration,
    /// The limit of one request, connecting included.
    pub request_timeout: Duration,
    /// How many requests run at once; at least 1.
    pub max_connections: usize,
    /// Users hidden from Trove.
    pub ignore_users: Vec<String>,
    /// Databases hidden from Trove.
    pub ignore_dbs: Vec<String>,
    /// PBKDF2-SHA256 rounds, for servers from 3.4 on.
    pub sha256_iterations: u32,
    /// PBKDF2-SHA1 rounds of users and root, for older servers.
    pub sha1_iterations: u32,
    /// The file system that is measured if CouchDB doesn't say where its databases are.
    pub data_dir: PathBuf,
    /// With less room than this, in MiB, the instance is not healthy.
    pub min_free_mib: u64,
}

impl CouchSettings {
    pub(super) fn from_input(input: Section<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            url: url(input)?,
            tls: tls::files(input)?,
            credentials_file: input.required_path("credentials_file")?,
            bootstrap_admin: bootstrap_admin(input)?,
            local_ini_dir: input.path("local_ini_dir")?,
            require_valid_user: input.flag("require_valid_user")?,
            rotate_after: rotate_after(input)?,
            connect_timeout: input.seconds("connect_timeout", 0.1..=600.0)?,
            request_timeout: input.seconds("request_timeout", 0.1..=3600.0)?,
            max_connections: input.count("max_connections", 1..=1024)?,
            ignore_users: input.list("ignore_users")?,
            ignore_dbs: input.list("ignore_dbs")?,
            // Ten million rounds take seconds; CouchDB repeats them on every login that misses its cache.
            sha256_iterations: input.count("sha256_iterations", 1000..=10_000_000)?,
            sha1_iterations: input.count("sha1_iterations", 10..=10_000_000)?,
            data_dir: input.required_path("data_dir")?,
            min_free_mib: input.count("min_free_mib", 0..=1_048_576)?,
        })
    }

    /// The port of a server on this machine; `None` for one elsewhere.
    pub fn local_port(&self) -> Option<u16> {
        self.url.port_or_known_default().filter(|_| self.is_local())
    }

    /// Whether CouchDB runs on this machine for certain.
    pub fn is_local(&self) -> bool {
        match self.url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// Passwords cross the network in clear when a server elsewhere is reached without TLS.
    pub(super) fn warning(&self) -> Option<String> {
        (self.url.scheme() == "http" && !self.is_local()).then(|| {
            format!(
                "couchdb.url is {}, so passwords cross the network in clear; use https, or a loopback address",
                self.url
            )
        })
    }
}

fn url(input: Section<'_>) -> Result<Url, ConfigError> {
    // Not shown in errors: somebody may have put a password into it.
    let advice = "write only scheme, host and port, such as http://127.0.0.1:5984";
    let refused = |problem: &str| input.invalid("url", problem, advice);
    let url =
        Url::parse(&input.required_text("url")?).map_err(|error| refused(&format!("is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused("is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("holds credentials, which belong in couchdb.credentials_file"));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(refused("has a path, query or fragment"));
    }
    Ok(url)
}

/// Every rotation costs a hash and a moment in which commands wait: more often than once an hour is a slip of the pen.
fn rotate_after(input: Section<'_>) -> Result<Option<Duration>, ConfigError> {
    const HOUR: f64 = 3600.0;
    const TEN_YEARS: f64 = 315_360_000.0;
    let after = input.seconds("rotate_os_admin_after", 0.0..=TEN_YEARS)?;
    match after.as_secs_f64() {
        0.0 => Ok(None),
        HOUR.. => Ok(Some(after)),
        seconds => Err(input.invalid(
            "rotate_os_admin_after",
            format!("cannot be {seconds}"),
            "write 0 for never, or at least 3600 seconds",
        )),
    }
}

fn bootstrap_admin(input: Section<'_>) -> Result<Option<(String, Secret)>, ConfigError> {
    const NAME: &str = "bootstrap_admin";
    const PASSWORD: &str = "bootstrap_admin_password";
    const PASSWORD_FILE: &str = "bootstrap_admin_password_file";
    let file = input.path(PASSWORD_FILE)?;
    let password = match (input.secret(PASSWORD)?, file) {
        (Some(_), Some(_)) => {
            let problem = "and couchdb.bootstrap_admin_password_file are both set";
            return Err(input.invalid(PASSWORD, problem, "keep one of them"));
        }
        (Some(password), None) => Some(password),
        (None, Some(file)) => {
            let bytes = fs::read(&file).map_err(|error| ConfigError::unreadable(&file, error))?;
            let text = Zeroizing::new(
                text::decode(bytes)
                    .map_err(|problem| ConfigError::NotText { path: file.clone(), problem })?,
            );
            let text = text::secret(&text);
            if text.is_empty() {
                return Err(input.invalid(
                    PASSWORD_FILE,
                    "names an empty file",
                    "write the password into it",
                ));
            }
            Some(Secret::new(text))
        }
        (None, None) => None,
    };
    match (input.text(NAME)?, password) {
        (Some(name), Some(password)) => Ok(Some((name, password))),
        (None, None) => Ok(None),
        (Some(_), None) => {
            let advice = "set couchdb.bootstrap_admin_password_file or couchdb.bootstrap_admin_password";
            Err(input.invalid(NAME, "has no password", advice))
        }
        (None, Some(_)) => Err(input.missing(NAME, "its password is; name the administrator it belongs to")),
    }
}
