//! Access to the local socket, its ownership, and limits for a single client.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::{Value, json};
use trove_couchdb_protocol::{FrameDecoder, Outcome, Reply, decode_reply, envelope, frame};
use trove_couchdb_tests::agent::{AgentOptions, AgentProcess};
use trove_couchdb_tests::local::LocalClient;
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixtureBuilder};
use trove_couchdb_tests::rpc::Request;

use super::local_socket::failure;

const LIMIT: Duration = trove_couchdb_tests::until::HUNG;
/// The ids of Debian's unprivileged account; any ids other than root's would do.
const NOBODY: u32 = 65_534;

/// A directory that every user can traverse, unlike those of the harness.
fn public_directory() -> Result<tempfile::TempDir> {
    let directory = tempfile::Builder::new().prefix("trove-local-").tempdir()?;
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
    Ok(directory)
}

/// The agent's reply to `rpc_ping` from a process with these ids; `None` if the kernel refused the
/// connection.
fn ping_as(socket: &Path, uid: u32, gid: u32, groups: &str) -> Result<Option<Reply>> {
    const CLIENT: &str = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => shift) or exit 2; \
                          undef $/; print $s <STDIN>; $s->flush; $s->shutdown(1); print <$s>;";
    let message = LocalClient::encode_call(&Request::new("rpc_ping", json!({})));
    let input = tempfile::NamedTempFile::new()?;
    std::fs::write(input.path(), frame::encode(&message.body)?)?;
    let output = Command::new("setpriv")
        .args([format!("--reuid={uid}"), format!("--regid={gid}"), groups.to_owned()])
        // Part of Debian's base system.
        .args(["/usr/bin/perl", "-e", CLIENT])
        .arg(socket)
        .stdin(Stdio::from(std::fs::File::open(input.path())?))
        .output()
        .context("setpriv")?;
    if output.status.code() == Some(2) {
        return Ok(None);
    }
    let mut decoder = FrameDecoder::new(1 << 20);
    decoder.push(&output.stdout);
    let body = decoder.next_payload()?.with_context(|| format!("no answer: {output:?}"))?;
    Ok(Some(decode_reply(&body, None)?))
}

fn refusal(reply: Option<Reply>) -> String {
    match reply.map(|reply| reply.outcome) {
        Some(Outcome::Failure(failure)) => failure.message,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_group_only_root_and_the_agents_user_may() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let directory = public_directory()?;
    let socket = directory.path().join("agent.sock");
    let fixture = LocalFixtureBuilder::default().set("local.socket", socket.to_str().unwrap()).up().await?;
    let metadata = std::fs::metadata(&socket)?;
    assert!(metadata.file_type().is_socket());
    assert_eq!((metadata.mode() & 0o777, metadata.uid()), (0o660, 0));
    assert!(ping_as(&socket, NOBODY, NOBODY, "--clear-groups")?.is_none(), "the kernel keeps strangers out");
    // A member of the agent's group: the kernel allows the connection, the agent refuses it.
    let reported = refusal(ping_as(&socket, NOBODY, 0, "--clear-groups")?);
    assert!(
        reported.contains("uid 65534 may not give this agent commands") && reported.contains("local.group"),
        "{reported}"
    );
    fixture.agent.wait_log("A process is refused on the local socket", LIMIT).await?;
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_the_group_may_by_whichever_of_their_groups() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let directory = public_directory()?;
    // If the agent creates the directory itself, the group must be able to traverse it.
    let socket = directory.path().join("run/agent.sock");
    let fixture = LocalFixtureBuilder::default()
        .set("local.socket", socket.to_str().unwrap())
        .set("local.group", NOBODY.to_string())
        .up()
        .await?;
    let ids = |path: &Path| std::fs::metadata(path).map(|found| (found.mode() & 0o777, found.gid()));
    assert_eq!(ids(&socket)?, (0o660, NOBODY));
    assert_eq!(ids(socket.parent().unwrap())?, (0o750, NOBODY));
    for (gid, groups) in [(NOBODY, "--clear-groups"), (4711, "--groups=65534")] {
        let reply = ping_as(&socket, NOBODY, gid, groups)?.context("the kernel refused a member")?;
        assert_eq!(reply.outcome, Outcome::Success(Value::Bool(true)), "{gid} {groups}");
    }
    assert!(ping_as(&socket, NOBODY, 4711, "--clear-groups")?.is_none());
    // The socket becomes accessible to all users, so that being able to connect proves nothing.
    std::fs::set_permissions(socket.parent().unwrap(), std::fs::Permissions::from_mode(0o755))?;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666))?;
    let reported = refusal(ping_as(&socket, NOBODY, 4711, "--clear-groups")?);
    assert!(reported.contains("restart the agent"), "{reported}");
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_group_is_named() -> Result<()> {
    let options = AgentOptions::without_broker("http://127.0.0.1:1").set("local.group", "no-such-group");
    let mut agent = AgentProcess::start(options)?;
    assert_eq!(agent.exit_within(LIMIT).await?.code(), Some(1));
    assert!(agent.logs().contains("local.group: there is no group \"no-such-group\""), "{}", agent.logs());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_agents_socket_is_replaced_and_a_live_ones_never() -> Result<()> {
    let mut fixture = LocalFixtureBuilder::default().up().await?;
    let socket = fixture.agent.socket();
    let options = |url: &str| AgentOptions::without_broker(url).set("local.socket", socket.to_str().unwrap());
    let mut second = AgentProcess::start(options(&fixture.couch.url()))?;
    assert_eq!(second.exit_within(LIMIT).await?.code(), Some(1));
    assert!(second.logs().contains("another process serves"), "{}", second.logs());
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true, "the first one is still there");
    assert_eq!(fixture.connect().await?.call("rpc_ping", json!({})).await?, true);

    fixture.agent.kill9()?;
    assert!(socket.exists(), "it could not tidy up");
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    assert_eq!(fixture.connect().await?.call("rpc_ping", json!({})).await?, true);
    assert!(fixture.agent.terminate().await?.success());
    assert!(!socket.exists(), "it tidied up");
    Ok(())
}

/// With a broker the socket is not essential: the agent serves Trove and retries the socket.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_in_the_way_is_waited_for() -> Result<()> {
    let directory = public_directory()?;
    let socket = directory.path().join("agent.sock");
    std::fs::write(&socket, "something else")?;
    let fixture = trove_couchdb_tests::fixture::FixtureBuilder::default()
        .set("local.socket", socket.to_str().unwrap())
        .up()
        .await?;
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
    assert!(
        fixture.agent.logs().contains("is there and is no socket; move it away"),
        "{}",
        fixture.agent.logs()
    );
    std::fs::remove_file(&socket)?;
    fixture.agent.wait_log("Serving on the local socket", LIMIT).await?;
    assert_eq!(fixture.local().await?.call("rpc_ping", json!({})).await?, true);
    Ok(())
}

async fn hung_up_with(fixture: &LocalFixture, bytes: &[u8]) -> Result<Option<String>> {
    let client = fixture.connect().await?;
    // The agent may hang up before it has read everything.
    let _sent = client.send_bytes(bytes).await.is_ok();
    client.hung_up(LIMIT).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_frames_gets_an_error_and_is_disconnected() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().set("rpc.max_message_bytes", 20_000).up().await?;
    let reported = hung_up_with(&fixture, &[0; 4]).await?.context("not told")?;
    assert!(reported.contains("0 bytes long"), "{reported}");
    let too_long = frame::encode(&vec![b' '; 20_001])?;
    let reported = hung_up_with(&fixture, &too_long).await?.context("not told")?;
    assert!(reported.contains("20001 bytes long, at most 20000"), "{reported}");
    let reported = hung_up_with(&fixture, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await?.context("not told")?;
    assert!(reported.contains("at most 20000"), "{reported}");
    // Requests before the invalid frame are answered.
    let client = fixture.connect().await?;
    let ping = LocalClient::encode_call(&Request::new("rpc_ping", json!({})));
    let answer = client.expect_answer(&ping);
    client.send_bytes(&[frame::encode(&ping.body)?, vec![0; 4]].concat()).await?;
    assert_eq!(answer.within(LIMIT).await?, true);
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_hold_no_request_are_answered_where_possible() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().up().await?;
    let inner = |value: Value| envelope::encode(&value);
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    for body in [
        b"null".to_vec(),
        vec![0xFF; 1000],
        br#"{"oslo.version": "2.0"}"#.to_vec(),
        deep.into_bytes(),
        inner(json!({"method": 1})),
        inner(json!({"method": "rpc_ping", "args": [], "_unique_id": "x".repeat(10_000)})),
        // Encrypted, to an agent without a key.
        inner(json!({"method": "rpc_ping", "args": {}, "_context_context": "QUJD"})),
    ] {
        fixture.local.send_bytes(&frame::encode(&body)?).await?;
    }
    let broken = inner(json!({"method": "create_user", "args": 5, "_msg_id": "m", "_reply_q": "local"}));
    fixture.local.send_bytes(&frame::encode(&broken)?).await?;
    let reported = fixture.local.other(LIMIT, |reply| reply.msg_id == "m").await?;
    assert!(
        matches!(&reported.outcome, Outcome::Failure(failure) if failure.message.contains("args")),
        "{reported:?}"
    );
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true, "on the same connection");
    let client = fixture.connect().await?;
    client.send_bytes(&frame::encode(&[b'x'; 50])?[..20]).await?;
    drop(client);
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
    assert_eq!(fixture.local.others().len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_more_than_allowed_gets_an_error() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().set("local.max_connections", 3).up().await?;
    let (second, third) = (fixture.connect().await?, fixture.connect().await?);
    for client in [&second, &third] {
        assert_eq!(client.call("rpc_ping", json!({})).await?, true);
    }
    let reported = fixture.connect().await?.hung_up(LIMIT).await?.context("not told")?;
    assert!(reported.contains("3 are connected"), "{reported}");
    drop(third);
    for _ in 0..30_000 {
        let client = fixture.connect().await?;
        if client.call("rpc_ping", json!({})).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the place of a client that is gone is not free");
}

/// A client that sends but never reads does not block other clients, and its memory is bounded.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_stops_only_itself() -> Result<()> {
    use tokio::io::AsyncWriteExt;

    let fixture = LocalFixtureBuilder::default().in_memory(Options::default()).up().await?;
    let names: Vec<String> =
        (0..200).map(|number| format!("{}{number}", fixture.name("a-database-"))).collect();
    fixture.databases(&names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let before = fixture.agent.rss_kib()?;
    let mut deaf = tokio::net::UnixStream::connect(fixture.agent.socket()).await?;
    // Each reply has some 20 KiB; two thousand replies would be 40 MiB.
    let mut sent = 0;
    let pushing = async {
        for _ in 0..2000 {
            let call = LocalClient::encode_call(&Request::new("list_databases", json!({})));
            deaf.write_all(&frame::encode(&call.body).unwrap()).await.unwrap();
            sent += 1;
        }
    };
    // The agent stops reading, so the writer blocks.
    assert!(tokio::time::timeout(Duration::from_secs(3), pushing).await.is_err());
    assert!(sent < 2000, "{sent}");
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
    fixture.call("delete_database", json!({"database": {"_name": names[0]}})).await?;
    let grown = fixture.agent.rss_kib()?.saturating_sub(before);
    assert!(grown < 30_000, "{grown} KiB");
    Ok(())
}

/// A client may have more requests in flight than the agent accepts at once: the rest waits in its socket.
#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_are_all_answered() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().in_memory(Options::default()).up().await?;
    let db = fixture.name("db");
    fixture.memory()?.faults().add(Rule::new("PUT", &format!("/{db}"), Fault::Hang));
    let create =
        LocalClient::encode_call(&Request::new("create_database", json!({"databases": [{"_name": db}]})));
    let created = fixture.local.expect_answer(&create);
    fixture.local.send(&create).await?;
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let call = LocalClient::encode_call(&Request::new("list_databases", json!({})));
        waiting.push(fixture.local.expect_answer(&call));
        fixture.local.send(&call).await?;
    }
    let other = fixture.connect().await?;
    assert_eq!(other.call("rpc_ping", json!({})).await?, true, "another connection is not held up");
    let waits = other.call("get_agent_status", json!({})).await?["commands"]["waiting"].as_u64();
    assert!(waits.is_some_and(|waits| waits <= 16), "{waits:?}");
    fixture.memory()?.faults().clear();
    created.within(LIMIT).await?;
    for answer in waiting {
        assert!(answer.within(LIMIT).await?.to_string().contains(&db));
    }
    assert_eq!(failure(fixture.databases(&["_x"]).await).class, "InvalidRequest");
    Ok(())
}
