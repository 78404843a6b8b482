//! The format of `host.toml`: every key with its default and range.

use std::{str::FromStr, time::Duration};

use serde::Deserialize;
use trove_couchdb_protocol::host::{DEFAULT_ACCOUNT, Section, ServiceName};

use super::{
    AbsolutePath, Arguments, ContainerName, CouchDbPolicy, HostdPolicy, ImageName, ImageTag, Manager,
    PackageName, Policy, ServicePolicy, UnitName,
    bounds::{known, seconds, within},
    volume,
};

/// Every key, as `section.key`. Tests compare the documentation with this list.
pub const KEYS: &[&str] = &[
    "hostd.account",
    "hostd.idle_exit",
    "hostd.max_connections",
    "hostd.state_dir",
    "service.name",
    "service.allow",
    "service.timeout",
    "service.settle",
    "service.systemd.unit",
    "service.docker.socket",
    "service.docker.container",
    "service.docker.image",
    "service.docker.tag",
    "service.commands.start",
    "service.commands.stop",
    "service.commands.status",
    "service.commands.timeout",
    "service.commands.output_limit",
    "volume.allow",
    "volume.devices",
    "volume.mount_point",
    "volume.file_system",
    "volume.label",
    "volume.options",
    "volume.timeout",
    "packages.names",
    "couchdb.allow",
    "couchdb.log_file",
    "couchdb.configuration_dir",
    "couchdb.data_dir",
];

/// The default of `hostd.state_dir`.
const STATE_DIR: &str = "/var/lib/trove-couchdb-hostd";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    hostd: Hostd,
    service: Service,
    #[serde(default)]
    volume: volume::File,
    #[serde(default)]
    packages: Packages,
    #[serde(default)]
    couchdb: CouchDb,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Hostd {
    account: String,
    idle_exit: u64,
    max_connections: usize,
    state_dir: String,
}

impl Default for Hostd {
    fn default() -> Self {
        let (account, state_dir) = (DEFAULT_ACCOUNT.to_owned(), STATE_DIR.to_owned());
        Self { account, idle_exit: 60, max_connections: 8, state_dir }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    name: ServiceName,
    /// No default, so that root must allow the verbs of later versions explicitly.
    allow: Vec<String>,
    #[serde(default = "service_timeout")]
    timeout: u64,
    #[serde(default = "settle")]
    settle: f64,
    systemd: Option<Systemd>,
    docker: Option<Docker>,
    commands: Option<Commands>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Systemd {
    unit: UnitName,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Docker {
    socket: AbsolutePath,
    container: ContainerName,
    image: ImageName,
    tag: ImageTag,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Commands {
    start: Arguments,
    stop: Arguments,
    status: Arguments,
    #[serde(default = "command_timeout")]
    timeout: u64,
    #[serde(default = "output_limit")]
    output_limit: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Packages {
    names: Vec<PackageName>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CouchDb {
    allow: Vec<String>,
    configuration_dir: Option<AbsolutePath>,
    data_dir: Option<AbsolutePath>,
    log_file: Option<AbsolutePath>,
}

fn service_timeout() -> u64 {
    90
}

fn settle() -> f64 {
    1.0
}

fn command_timeout() -> u64 {
    30
}

fn output_limit() -> usize {
    16 * 1024
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        Ok(Self {
            hostd: file.hostd.judged()?,
            service: file.service.judged()?,
            volume: file.volume.judged(file.couchdb.data_dir.as_ref())?,
            packages: file.packages.names,
            couchdb: CouchDbPolicy {
                allow: known(Section::CouchDb, file.couchdb.allow)?,
                configuration_dir: file.couchdb.configuration_dir,
                data_dir: file.couchdb.data_dir,
                log_file: file.couchdb.log_file,
            },
        })
    }
}

impl Hostd {
    fn judged(self) -> Result<HostdPolicy, String> {
        if self.account.is_empty() {
            return Err(
                "hostd.account is empty; write the name or the number of the agent's account".to_owned()
            );
        }
        Ok(HostdPolicy {
            account: self.account,
            idle_exit: seconds("hostd.idle_exit", self.idle_exit, 1, 86_400)?,
            max_connections: within("hostd.max_connections", self.max_connections, 1, 64)?,
            state_dir: self.state_dir.try_into().map_err(|error| format!("hostd.state_dir: {error}"))?,
        })
    }
}

impl Service {
    fn judged(self) -> Result<ServicePolicy, String> {
        let allow = known(Section::Service, self.allow)?;
        let settle = Some(self.settle).filter(|settle| (0.0..=60.0).contains(settle));
        let settle = settle.ok_or("service.settle must be a number of seconds from 0 to 60".to_owned())?;
        let manager = match (self.systemd, self.docker, self.commands) {
            (Some(systemd), None, None) => Manager::Systemd { unit: systemd.unit },
            (None, Some(Docker { socket, container, image, tag }), None) => {
                Manager::Docker { socket, container, image, tag }
            }
            (None, None, Some(commands)) => commands.judged()?,
            _ => {
                let which = "[service.systemd], [service.docker] and [service.commands]";
                return Err(format!("exactly one of {which} must be there: it says who runs the service"));
            }
        };
        Ok(ServicePolicy {
            name: self.name,
            allow,
            timeout: seconds("service.timeout", self.timeout, 1, 3600)?,
            settle: Duration::from_secs_f64(settle),
            manager,
        })
    }
}

impl Commands {
    fn judged(self) -> Result<Manager, String> {
        Ok(Manager::Commands {
            start: self.start,
            stop: self.stop,
            status: self.status,
            timeout: seconds("service.commands.timeout", self.timeout, 1, 3600)?,
            output_limit: within("service.commands.output_limit", self.output_limit, 0, 1024 * 1024)?,
        })
    }
}
