//! The agent as its systemd unit runs it: its own account, no capabilities, no new privileges, and the unit's
//! list of system calls. systemd is not PID 1 here, so setpriv and `tests/python/under_filter.py` replace it.
//!
//! The tests require root, and count as skipped without it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use in_memory_couchdb::{InMemoryCouch, Options, Version};
use serde_json::json;
use trove_couchdb_protocol::new_id;
use trove_couchdb_protocol::trove::ConductorCast;
use trove_couchdb_tests::agent::{AgentOptions, AgentProcess};
use trove_couchdb_tests::conductor::Conductor;
use trove_couchdb_tests::local::LocalClient;
use trove_couchdb_tests::rabbitmq;
use trove_couchdb_tests::rpc::RpcClient;

const LIMIT: Duration = trove_couchdb_tests::until::HUNG;
/// Accounts and a group that exist on no machine.
const AGENT: u32 = 61_001;
const COUCHDB: u32 = 61_002;
const OPERATORS: u32 = 61_003;
const INI: &str = "zz-trove-os-admin.ini";

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("left out: only root can become another account");
    }
    root
}

/// A directory that every account can traverse.
fn public_directory() -> Result<tempfile::TempDir> {
    let directory = tempfile::Builder::new().prefix("trove-unit-").tempdir()?;
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
    Ok(directory)
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The system calls of each of systemd's groups, as systemd lists them.
fn groups_of_calls() -> Result<BTreeMap<String, Vec<String>>> {
    let output = Command::new("systemd-analyze")
        .args(["syscall-filter", "--no-pager"])
        .output()
        .context("systemd-analyze is missing: run `make deps`")?;
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut last = String::new();
    for line in String::from_utf8(output.stdout)?.lines().filter(|line| !line.trim_start().starts_with('#')) {
        match line.strip_prefix("    ") {
            Some(member) => groups.entry(last.clone()).or_default().push(member.trim().to_owned()),
            None => line.trim().clone_into(&mut last),
        }
    }
    Ok(groups)
}

fn members(name: &str, groups: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    match groups.get(name) {
        Some(inner) => inner.iter().flat_map(|name| members(name, groups)).collect(),
        None => [name.to_owned()].into(),
    }
}

/// The system calls that the unit's `SystemCallFilter=` lines allow, evaluated in order as by systemd.
fn allowed_calls() -> Result<BTreeSet<String>> {
    let unit = std::fs::read_to_string(repository("packaging/systemd/trove-couchdb-agent.service"))?;
    let groups = groups_of_calls()?;
    let mut allowed = BTreeSet::new();
    for words in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (denied, words) = words.strip_prefix('~').map_or((false, words), |words| (true, words));
        for call in words.split_whitespace().flat_map(|word| members(word, &groups)) {
            if denied {
                allowed.remove(&call)
            } else {
                allowed.insert(call)
            };
        }
    }
    ensure!(
        allowed.contains("epoll_wait") && !allowed.contains("fchown"),
        "not the unit's list: {allowed:?}"
    );
    Ok(allowed)
}

/// The command that starts the agent without privileges; `filter` is a directory for the filter's files.
fn confined(groups: &[u32], filter: Option<&Path>) -> Result<Vec<String>> {
    let ids: Vec<String> = groups.iter().map(u32::to_string).collect();
    let groups =
        if ids.is_empty() { "--clear-groups".to_owned() } else { format!("--groups={}", ids.join(",")) };
    let mut words =
        vec!["/usr/bin/setpriv".to_owned(), format!("--reuid={AGENT}"), format!("--regid={AGENT}"), groups];
    words.extend(["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"].map(str::to_owned));
    if let Some(directory) = filter {
        let (script, names) = (directory.join("under_filter.py"), directory.join("calls"));
        std::fs::copy(repository("tests/python/under_filter.py"), &script)?;
        let calls: Vec<String> = allowed_calls()?.into_iter().collect();
        std::fs::write(&names, calls.join("\n"))?;
        words.extend(["/usr/bin/python3", "-I"].map(str::to_owned));
        words.extend([script, names].map(|path| path.display().to_string()));
    }
    Ok(words)
}

fn as_the_unit(mut options: AgentOptions, groups: &[u32], filter: Option<&Path>) -> Result<AgentOptions> {
    options.user = Some(AGENT);
    options.through = confined(groups, filter)?;
    Ok(options)
}

/// CouchDB's `local.d` with the ownership and mode that tmpfiles.d sets.
fn local_d(directory: &Path, mode: u32) -> Result<PathBuf> {
    let path = directory.join("local.d");
    std::fs::create_dir(&path)?;
    chown(&path, Some(COUCHDB), Some(COUCHDB))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
    Ok(path)
}

fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().trim().to_owned()
}

/// Fails if the agent needs a capability, a system call outside the unit's list, or `chown` for the ini file.
#[tokio::test(flavor = "multi_thread")]
async fn without_any_privilege_it_installs_the_first_admin_and_serves() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let public = public_directory()?;
    let local_d = local_d(public.path(), 0o2770)?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let couch_options = || {
        let mut options = Options::new(Version::V3_5);
        options.port = port;
        options.ini_dir = Some(local_d.clone());
        options
    };
    let broker = rabbitmq::shared().await?;
    let (id, key) = (new_id(), new_id());
    let options = AgentOptions::new(&id, &broker.transport_url(), &format!("http://127.0.0.1:{port}"))
        .set("couchdb.local_ini_dir", local_d.to_string_lossy().into_owned())
        .set("heartbeat.interval", 1)
        .encrypted(&key);
    let (exchange, queue) = (options.control_exchange.clone(), options.conductor_queue.clone());
    let conductor = Conductor::listen(&broker.amqp_uri(), &exchange, &queue, Some(&key)).await?;
    let mut agent = AgentProcess::start(as_the_unit(options, &[COUCHDB], Some(public.path()))?)?;
    let first_start = async {
        loop {
            match InMemoryCouch::start(couch_options()).await {
                Ok(couch) => break couch,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    let couch = tokio::time::timeout(LIMIT, first_start).await;
    let couch = couch.with_context(|| format!("CouchDB got no administrator:\n{}", agent.logs()))?;
    agent.wait_ready().await?;

    let ini = std::fs::metadata(local_d.join(INI))?;
    assert_eq!((ini.uid(), ini.gid(), ini.mode() & 0o777), (AGENT, COUCHDB, 0o660), "CouchDB can use it");
    assert_eq!(std::fs::metadata(agent.credentials_file())?.mode() & 0o777, 0o600);

    let rpc = RpcClient::connect(&broker.amqp_uri(), &exchange, &id, Some(&key)).await?;
    rpc.call("create_database", json!({"databases": [{"_name": "films"}]})).await?;
    let user = json!({"_name": "al", "_host": "%", "_password": "pw", "_databases": [{"_name": "films"}]});
    rpc.call("create_user", json!({ "users": [user] })).await?;
    rpc.call("get_filesystem_stats", json!({"fs_path": "/"})).await?;
    conductor.next(LIMIT, |cast| matches!(cast, ConductorCast::Heartbeat { .. })).await?;
    let local = LocalClient::connect(&agent.socket()).await?;
    local.call("rotate_os_admin", json!({})).await?;
    assert!(local.call("list_users", json!({})).await?.to_string().contains("al"));

    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid()))?;
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(&status, set), "0000000000000000", "{set}");
    }
    assert_eq!((field(&status, "NoNewPrivs:"), field(&status, "Seccomp:")), ("1".to_owned(), "2".to_owned()));
    assert_eq!(field(&status, "Groups:"), COUCHDB.to_string());
    assert!(agent.terminate().await?.success(), "{}", agent.logs());
    drop(couch);
    Ok(())
}

/// Fails without `forbid_core_dumps` in `main`: its files in `/proc` belong to root only if it is not
/// dumpable.
#[tokio::test(flavor = "multi_thread")]
async fn it_leaves_no_core_dump_and_its_memory_is_unreadable() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let options = AgentOptions::without_broker("http://127.0.0.1:1");
    let mut agent = AgentProcess::start(as_the_unit(options, &[], None)?)?;
    LocalClient::connect(&until_bound(&agent).await?).await?;
    let process = PathBuf::from(format!("/proc/{}", agent.pid()));
    for secret in ["environ", "mem", "maps"] {
        assert_eq!(
            std::fs::metadata(process.join(secret))?.uid(),
            0,
            "{secret}: another process of the account may"
        );
    }
    let limits = std::fs::read_to_string(process.join("limits"))?;
    let core: Vec<&str> = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(core[..2], ["0", "0"]);
    agent.signal(trove_couchdb_tests::process::Signal::ABORT)?;
    let ended = agent.exit_within(LIMIT).await?;
    assert!(!std::os::unix::process::ExitStatusExt::core_dumped(&ended), "{ended}");
    Ok(())
}

async fn until_bound(agent: &AgentProcess) -> Result<PathBuf> {
    let socket = agent.socket();
    let bound = async {
        while !socket.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, bound).await.with_context(|| format!("no socket:\n{}", agent.logs()))?;
    Ok(socket)
}

/// Without the setgid bit an agent in CouchDB's group gives the file to that group. An agent outside the
/// group gets an error and leaves no file: CouchDB would not start with a file that it cannot read.
#[tokio::test(flavor = "multi_thread")]
async fn the_ini_file_is_couchdbs_or_is_not_there() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    for (groups, mode) in [(&[COUCHDB][..], 0o770), (&[], 0o777)] {
        let public = public_directory()?;
        let local_d = local_d(public.path(), mode)?;
        let options = AgentOptions::without_broker("http://127.0.0.1:1")
            .set("couchdb.local_ini_dir", local_d.to_string_lossy().into_owned());
        let agent = AgentProcess::start(as_the_unit(options, groups, None)?)?;
        if groups.is_empty() {
            agent.wait_log(&format!("gid {COUCHDB} is no group of this process"), LIMIT).await?;
            assert!(!local_d.join(INI).exists());
        } else {
            agent.wait_log("No os_admin login on CouchDB yet", LIMIT).await?;
            let ini = std::fs::metadata(local_d.join(INI))?;
            assert_eq!((ini.gid(), ini.mode() & 0o777), (COUCHDB, 0o660));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_for_the_socket_must_be_its_own() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let with =
        |group: u32| AgentOptions::without_broker("http://127.0.0.1:1").set("local.group", group.to_string());
    let mut stranger = AgentProcess::start(as_the_unit(with(OPERATORS), &[], None)?)?;
    assert_eq!(stranger.exit_within(LIMIT).await?.code(), Some(1));
    let logs = stranger.logs();
    assert!(logs.contains("no member of it") && logs.contains("Group="), "{logs}");
    for (group, groups) in [(AGENT, &[][..]), (OPERATORS, &[OPERATORS])] {
        let agent = AgentProcess::start(as_the_unit(with(group), groups, None)?)?;
        let socket = until_bound(&agent).await?;
        LocalClient::connect(&socket).await?;
        assert_eq!(std::fs::metadata(&socket)?.gid(), group);
    }
    Ok(())
}
