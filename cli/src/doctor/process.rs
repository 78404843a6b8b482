//! The process that serves `couchdb.url`: whether it runs on this machine, or in a container, where the
//! agent's configured paths do not apply; and whether it can open further files.
//!
//! From the kernel: a listening socket has an inode (proc(5), `/proc/net/tcp`), and a process has it open.

use std::{fs, net::IpAddr, path::PathBuf};

use trove_couchdb_config::Settings;
use url::{Host, Url};

use super::{Check, Finding};

static CONTAINER: Check =
    Check::new("couchdb.container", "CouchDB runs on this machine, and not in a container");

static OPEN_FILES: Check = Check::new("couchdb.open_files", "CouchDB has file descriptors left");

pub(super) const CHECKS: &[&Check] = &[&CONTAINER, &OPEN_FILES];

/// Programs that publish a container's port.
const PROXIES: [&str; 6] = ["docker-proxy", "rootlessport", "rootlesskit", "slirp4netns", "pasta", "conmon"];

/// Words that container engines put into a control group's path.
const ENGINES: [&str; 7] = ["docker", "libpod", "kubepods", "crio", "containerd", "lxc", "machine.slice"];

/// `TCP_LISTEN` (`linux/include/net/tcp_states.h`).
const LISTEN: &str = "0A";

/// A listening process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// The process id on this machine.
    pub(super) pid: u32,
    /// The name of its program.
    pub(super) name: String,
    /// Why the process seems to run in a container.
    container: Option<String>,
    /// Its command line.
    pub(super) arguments: Vec<String>,
}

impl Process {
    /// Whether this is CouchDB's Erlang VM and uses the files of this machine.
    pub(super) fn is_local_erlang(&self) -> bool {
        self.name.starts_with("beam") && self.container.is_none()
    }
}

/// The process that listens on a port, as far as known.
#[derive(Debug, PartialEq, Eq)]
enum Listener {
    Nobody,
    /// The kernel does not show the process.
    Hidden,
    Process(Process),
}

pub(super) fn look(settings: &Settings, findings: &mut Vec<Finding>) -> Option<Process> {
    let url = &settings.couchdb.url;
    let reached = findings
        .iter()
        .any(|finding| finding.check.id == "couchdb.reachable" && finding.verdict == super::Verdict::Ok);
    let skipped = |why: &str| CHECKS.iter().map(|check| check.skipped(why)).collect::<Vec<_>>();
    if !is_loopback(url) {
        findings.extend(skipped("couchdb.url is not an address of this machine's loopback"));
        return None;
    }
    if !reached {
        findings.extend(skipped("CouchDB does not answer"));
        return None;
    }
    let listener = listener(url.port_or_known_default().unwrap_or(5984));
    findings.push(judged(&listener));
    match listener {
        Listener::Process(process) if process.is_local_erlang() => {
            findings.push(open_files(process.pid));
            Some(process)
        }
        Listener::Process(process) => {
            findings
                .push(OPEN_FILES.skipped("the process that listens is not CouchDB's own on this machine"));
            Some(process)
        }
        Listener::Nobody | Listener::Hidden => {
            findings.push(OPEN_FILES.skipped("CouchDB's process is not known"));
            None
        }
    }
}

/// Without a free descriptor CouchDB opens no database and reports it like damaged files.
fn open_files(pid: u32) -> Finding {
    let count = fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count);
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"));
    match (count, limits) {
        (Ok(count), Ok(limits)) => match soft_limit(&limits) {
            Some(limit) => judged_files(count, limit),
            None => OPEN_FILES.ok(format!("{count} open, without a limit")),
        },
        (Err(error), _) | (_, Err(error)) => OPEN_FILES.not_run(error),
    }
}

fn judged_files(count: usize, limit: usize) -> Finding {
    let found = format!("{count} of {limit} file descriptors are open");
    if count < limit - limit / 10 {
        return OPEN_FILES.ok(found);
    }
    OPEN_FILES
        .failed(found, "raise LimitNOFILE of CouchDB's service, for example to 65536, and restart CouchDB")
}

/// The soft limit of open files (`proc_pid_limits(5)`). `None` if it is unlimited.
fn soft_limit(limits: &str) -> Option<usize> {
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

fn judged(listener: &Listener) -> Finding {
    let advice = "the agent's couchdb.data_dir and couchdb.local_ini_dir, and the doctor's checks of disks and ini files, are \
                  about this machine's files: mount those directories of the container here and name them in agent.toml, \
                  or run the agent in the container. Without local_ini_dir name an administrator with \
                  couchdb.bootstrap_admin";
    match listener {
        Listener::Nobody => CONTAINER.warning(
            "CouchDB answers, and no process of this machine listens there: it runs in a container, or behind a tunnel",
            advice,
        ),
        Listener::Hidden => CONTAINER.not_run("the process that listens there is not shown to this account"),
        Listener::Process(Process { pid, name, container: Some(why), .. }) => {
            CONTAINER.warning(format!("{name}, pid {pid}, which listens there, {why}"), advice)
        }
        Listener::Process(Process { pid, name, .. }) => CONTAINER.ok(format!("{name}, pid {pid}")),
    }
}

fn listener(port: u16) -> Listener {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets: Vec<String> = tables.iter().flat_map(|table| listening(table, port)).collect();
    if sockets.is_empty() {
        return Listener::Nobody;
    }
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let owner = pids.into_iter().find(|pid| has_open(*pid, &sockets));
    owner.map_or(Listener::Hidden, |pid| Listener::Process(process(pid)))
}

/// The listening sockets of a port in the table, in the form of a file descriptor's link.
fn listening(table: &str, port: u16) -> Vec<String> {
    let local = format!(":{port:04X}");
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&local) && *fields.get(3)? == LISTEN;
        listens.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
    };
    table.lines().filter_map(socket).collect()
}

fn has_open(pid: u32, sockets: &[String]) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.any(|link| link.to_str().is_some_and(|link| sockets.iter().any(|socket| socket == link)))
}

fn process(pid: u32) -> Process {
    let of =
        |name: &str| fs::read_to_string(PathBuf::from(format!("/proc/{pid}")).join(name)).unwrap_or_default();
    let name = of("comm").trim().to_owned();
    let own_groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let container = container(&name, &of("status"), &of("cgroup"), &own_groups);
    let arguments = of("cmdline").split('\0').map(str::to_owned).collect();
    Process { pid, name, container, arguments }
}

/// Why a process seems to run in a container. Compares with the doctor, which may run in the same container.
fn container(name: &str, status: &str, groups: &str, own_groups: &str) -> Option<String> {
    let engine = |groups: &str| ENGINES.into_iter().find(|engine| groups.contains(engine));
    let namespaces = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    if PROXIES.contains(&name) {
        Some("passes connections on to a container".to_owned())
    } else if namespaces.is_some_and(|pids| pids.split_whitespace().count() > 1) {
        let engine = engine(groups).map(|engine| format!(" ({engine})")).unwrap_or_default();
        Some(format!("is in a container{engine}: it has process ids of its own"))
    } else {
        let found = engine(groups).filter(|_| engine(own_groups).is_none())?;
        Some(format!("is in a container ({found})"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::Verdict, *};

    /// From Linux 6.1, shortened.
    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                         0: 0100007F:1760 00000000:0000 0A 00000000:00000000 00:00000000 00000000   104        0 77 1 0\n   \
                         1: 0100007F:1760 0100007F:9999 01 00000000:00000000 00:00000000 00000000   104        0 78 1 0\n";

    #[test]
    fn the_socket_that_listens_is_found() {
        assert_eq!(listening(TABLE, 5984), ["socket:[77]"]);
        assert_eq!(listening(TABLE, 5985), [""; 0]);
    }

    #[test]
    fn this_process_is_of_this_machine() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let Listener::Process(found) = listener(socket.local_addr().unwrap().port()) else {
            unreachable!("hidden")
        };
        assert_eq!((found.pid, found.container.clone()), (std::process::id(), None));
        assert_eq!(judged(&Listener::Process(found)).verdict, Verdict::Ok);
        let port = socket.local_addr().unwrap().port();
        drop(socket);
        assert_eq!(listener(port), Listener::Nobody);
        assert_eq!(judged(&Listener::Nobody).verdict, Verdict::Warning);
        assert_eq!(judged(&Listener::Hidden).verdict, Verdict::Warning);
    }

    #[test]
    fn descriptors_must_be_left() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 1048576              files     \n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(soft_limit("Max open files unlimited unlimited files"), None);
        assert_eq!(judged_files(900, 1024).verdict, Verdict::Ok);
        assert_eq!(judged_files(1000, 1024).verdict, Verdict::Failed);
        assert_eq!(open_files(std::process::id()).verdict, Verdict::Ok);
        assert_eq!(open_files(u32::MAX).verdict, Verdict::Warning);
    }

    #[test]
    fn a_container_is_recognised() {
        let alone = "NSpid:\t4711\n";
        assert_eq!(container("beam.smp", alone, "0::/system.slice/couchdb.service\n", "0::/"), None);
        assert!(container("docker-proxy", alone, "", "").is_some());
        let nested =
            container("beam.smp", "NSpid:\t4711\t7\n", "0::/system.slice/docker-ab.scope\n", "0::/").unwrap();
        assert!(nested.contains("(docker)"), "{nested}");
        assert!(container("beam.smp", alone, "0::/machine.slice/libpod-ab.scope\n", "0::/").is_some());
        let same = "0::/kubepods/pod1\n";
        assert_eq!(container("beam.smp", alone, same, same), None, "the doctor is in it, too");
    }
}
