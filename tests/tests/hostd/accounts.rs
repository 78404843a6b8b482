//! Access to the helper: only the agent's account and root, not other members of the socket's group.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use trove_couchdb_tests::hostd::HostdProcess;
use trove_couchdb_tests::test_log;

use super::service::{Service, last};

/// The ids of Debian's unprivileged account, used as the agent's account.
const AGENT: u32 = 65_534;
const STRANGER: u32 = 4711;

/// Sends a request from a process with these ids; `None` if the kernel refused the connection.
fn ask_as(hostd: &HostdProcess, uid: u32, gid: u32) -> Result<Option<Value>> {
    // The helper may refuse the request and hang up before everything is written.
    const CLIENT: &str = "use IO::Socket::UNIX; $SIG{PIPE} = 'IGNORE'; my $s = IO::Socket::UNIX->new(Peer => shift) or exit 2; \
                          undef $/; print $s <STDIN>; $s->flush; $s->shutdown(1); print <$s>;";
    let text = json!({"id": "stranger", "verb": "service-stop"}).to_string();
    let mut child = Command::new("setpriv")
        .args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()])
        // Part of Debian's base system.
        .args(["/usr/bin/perl", "-e", CLIENT])
        .arg(hostd.socket())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("setpriv")?;
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(&u32::try_from(text.len())?.to_be_bytes())?;
    input.write_all(text.as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    if output.status.code() == Some(2) {
        return Ok(None);
    }
    let answer = output.stdout.get(4..).with_context(|| format!("no answer: {output:?}"))?;
    Ok(Some(serde_json::from_slice(answer)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_is_refused_and_audited_and_the_agents_is_not() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        test_log::skipped("only root can act as different accounts");
        return Ok(());
    }
    let Some(service) = Service::new()? else { return Ok(()) };
    let hostd = HostdProcess::start(&service.policy("nobody", "")).await?;
    hostd.ask(&json!({"id": "root", "verb": "service-start"})).await?;
    let running = service.pid();

    assert!(ask_as(&hostd, STRANGER, STRANGER)?.is_none(), "the mode of the socket keeps strangers out");
    // A member of the agent's group: the kernel allows the connection, the helper refuses it.
    let told = ask_as(&hostd, STRANGER, AGENT)?.context("the kernel refused a member")?;
    assert_eq!(told["failed"], json!({"kind": "forbidden", "uid": STRANGER}));
    let line = last(&hostd)?;
    assert_eq!((&line["outcome"], &line["peer"]["uid"]), (&json!("forbidden"), &json!(STRANGER)));
    assert!(line.get("verb").is_none(), "what it wanted is not even read");
    assert_eq!(service.pid(), running, "it runs on");

    let (_agent, client) = service.agent(&hostd, Some(AGENT)).await?;
    let restarted = client.call("service_restart", json!({})).await?;
    assert_eq!(restarted["state"], "running");
    assert_ne!(service.pid(), running);
    let line = last(&hostd)?;
    assert_eq!((&line["outcome"], &line["peer"]["uid"]), (&json!("done"), &json!(AGENT)));
    Ok(())
}
