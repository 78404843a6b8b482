//! The socket with unauthorised, malformed and silent clients.

#![allow(clippy::unwrap_used)]

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
    task::JoinHandle,
};
use trove_couchdb_protocol::host::MAX_FRAME;

use super::*;
use crate::audit::tests::Written;

/// A server in this process with its own policy.
struct Fixture {
    directory: tempfile::TempDir,
    written: Written,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

/// `status` reports a running service; `start` and `stop` take as long as `sleep`.
fn policy(hostd: &str, stop: &str) -> String {
    format!(
        "[hostd]\n{hostd}\n[service]\nname = \"couchdb\"\nsettle = 0\ntimeout = 3\nallow = [\"service-status\", \
         \"service-stop\"]\n[service.commands]\nstart = [\"/bin/true\"]\nstop = {stop}\nstatus = [\"/bin/true\"]\n"
    )
}

impl Fixture {
    fn new(text: &str, exits_when_idle: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("host.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let listener = listen(&directory.path().join("socket"), &path).unwrap();
        let written = Written::default();
        let server = Server::new(listener, &path, Audit::new(written.clone()), exits_when_idle);
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async { drop(stopped.await) }));
        Self { directory, written, stop: Some(stop), running }
    }

    fn for_us(stop: &str) -> Self {
        Self::new(&policy(&format!("account = \"{}\"", rustix::process::geteuid().as_raw()), stop), false)
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.socket()).await.unwrap()
    }

    async fn ask(&self, request: Value) -> Value {
        let mut stream = self.connect().await;
        send(&mut stream, request.to_string().as_bytes()).await;
        answer(&mut stream).await.unwrap()
    }
}

async fn send(stream: &mut UnixStream, payload: &[u8]) {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await.unwrap();
}

/// The next answer. `None` if the server has disconnected.
async fn answer(stream: &mut UnixStream) -> Option<Value> {
    let length = stream.read_u32().await.ok()?;
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).await.ok()?;
    Some(serde_json::from_slice(&payload).unwrap())
}

fn status() -> Value {
    json!({"id": "a1", "verb": "service-status"})
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_turn() {
    let fixture = Fixture::for_us("[\"/bin/true\"]");
    let mut stream = fixture.connect().await;
    for id in ["a1", "a2", "a3"] {
        send(&mut stream, json!({"id": id, "verb": "service-status"}).to_string().as_bytes()).await;
    }
    for id in ["a1", "a2", "a3"] {
        let answer = answer(&mut stream).await.unwrap();
        assert_eq!((answer["id"].as_str(), answer["done"]["state"].as_str()), (Some(id), Some("running")));
    }
    let lines = fixture.written.lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["outcome"], "done");
    assert_eq!(lines[0]["peer"]["pid"], std::process::id());
}

#[tokio::test]
async fn what_the_policy_does_not_allow_is_refused_and_audited() {
    let fixture = Fixture::for_us("[\"/bin/true\"]");
    for (request, part) in [
        (json!({"id": "a1", "verb": "service-restart"}), "add \"service-restart\" to service.allow"),
        (json!({"id": "a1", "verb": "service-stop", "service": "ssh"}), "its [service] is couchdb"),
    ] {
        let answer = fixture.ask(request).await;
        assert_eq!(answer["failed"]["kind"], "not-allowed");
        assert!(answer["failed"]["advice"].as_str().unwrap().contains(part), "{answer}");
    }
    let lines = fixture.written.lines();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line["outcome"] == "not-allowed"));
    assert_eq!(
        (lines[1]["verb"].as_str(), lines[1]["service"].as_str()),
        (Some("service-stop"), Some("ssh"))
    );
}

/// Root is always authorised, so a test as root can check only the decision. The integration tests use a
/// different account.
#[tokio::test]
async fn only_root_and_the_agents_account_may_ask() {
    assert!(may_ask(0, None) && may_ask(7, Some(7)));
    assert!(!may_ask(7, None) && !may_ask(7, Some(8)));
    assert_eq!(uid_of("root".to_owned()).await, Some(0));
    assert_eq!(uid_of("4711".to_owned()).await, Some(4711));
    assert_eq!(uid_of("nobody-has-this-name".to_owned()).await, None);
    if rustix::process::geteuid().is_root() {
        return;
    }
    let fixture = Fixture::new(&policy("account = \"4711\"", "[\"/bin/true\"]"), false);
    let mut stream = fixture.connect().await;
    assert_eq!(answer(&mut stream).await.unwrap()["failed"]["kind"], "forbidden");
    assert_eq!(fixture.written.lines()[0]["outcome"], "forbidden");
}

#[tokio::test]
async fn hostile_frames_cost_their_connection_and_nothing_else() {
    let fixture = Fixture::for_us("[\"/bin/true\"]");
    let mut hostile: Vec<Vec<u8>> = vec![
        // A length of 4 GiB, of one byte too many, and of zero.
        vec![0xFF; 4],
        u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes().to_vec(),
        vec![0; 4],
        b"\0\0\0\x05hello".to_vec(),
        b"\0\0\0\x02{}".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
    ];
    let deep = "[".repeat(10_000);
    let mut frame = u32::try_from(deep.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(deep.bytes());
    hostile.push(frame);
    let count = hostile.len();
    for bytes in hostile {
        let mut stream = fixture.connect().await;
        stream.write_all(&bytes).await.unwrap();
        let told = answer(&mut stream).await.unwrap();
        assert_eq!(told["failed"]["kind"], "malformed", "{told}");
        assert!(told.get("id").is_none());
        assert_eq!(answer(&mut stream).await, None, "the connection is over");
    }
    let lines = fixture.written.lines();
    assert_eq!(lines.len(), count);
    assert!(lines.iter().all(|line| line["outcome"] == "malformed"));
    assert_eq!(fixture.ask(status()).await["done"]["state"], "running");
}

#[tokio::test]
async fn a_frame_that_is_cut_off_is_nothing() {
    let fixture = Fixture::for_us("[\"/bin/true\"]");
    let mut stream = fixture.connect().await;
    stream.write_all(&[0, 0, 0, 50, b'{']).await.unwrap();
    drop(stream);
    assert_eq!(fixture.ask(status()).await["done"]["state"], "running");
}

#[tokio::test]
async fn one_connection_too_many_gets_an_error() {
    let ours = rustix::process::geteuid().as_raw();
    let fixture = Fixture::new(
        &policy(&format!("account = \"{ours}\"\nmax_connections = 2"), "[\"/bin/true\"]"),
        false,
    );
    let first = fixture.connect().await;
    let _second = fixture.connect().await;
    // `connect` returns when the kernel has queued the connection: when the server answers the third client,
    // it has counted the first two.
    let mut third = fixture.connect().await;
    assert_eq!(answer(&mut third).await.unwrap()["failed"]["kind"], "overloaded");
    drop(first);
    time::sleep(Duration::from_millis(100)).await;
    assert_eq!(fixture.ask(status()).await["done"]["state"], "running");
}

#[tokio::test]
async fn it_exits_when_idle_and_not_while_a_client_is_connected() {
    let ours = rustix::process::geteuid().as_raw();
    let fixture =
        Fixture::new(&policy(&format!("account = \"{ours}\"\nidle_exit = 1"), "[\"/bin/true\"]"), true);
    let stream = fixture.connect().await;
    time::sleep(Duration::from_millis(1500)).await;
    assert!(!fixture.running.is_finished());
    drop(stream);
    time::timeout(Duration::from_secs(5), fixture.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_process_of_our_own_listening_never_exits_when_idle() {
    let ours = rustix::process::geteuid().as_raw();
    let fixture =
        Fixture::new(&policy(&format!("account = \"{ours}\"\nidle_exit = 1"), "[\"/bin/true\"]"), false);
    time::sleep(Duration::from_millis(1500)).await;
    assert!(!fixture.running.is_finished());
}

#[tokio::test]
async fn a_hanging_back_end_costs_its_deadline_and_others_are_served() {
    let fixture = Fixture::for_us("[\"/bin/sleep\", \"60\"]");
    let mut slow = fixture.connect().await;
    send(&mut slow, json!({"id": "slow", "verb": "service-stop"}).to_string().as_bytes()).await;
    time::sleep(Duration::from_millis(300)).await;
    let busy = fixture.ask(json!({"id": "a2", "verb": "service-stop"})).await;
    assert_eq!(busy["failed"]["kind"], "busy");
    assert_eq!(fixture.ask(status()).await["done"]["state"], "running");
    let late = answer(&mut slow).await.unwrap();
    assert_eq!(
        (late["failed"]["kind"].as_str(), late["failed"]["seconds"].as_u64()),
        (Some("late"), Some(3))
    );
}

#[tokio::test]
async fn what_has_begun_is_finished_although_its_caller_and_the_server_go() {
    let mut fixture = Fixture::for_us("[\"/bin/sleep\", \"1\"]");
    let mut caller = fixture.connect().await;
    send(&mut caller, json!({"id": "a1", "verb": "service-stop"}).to_string().as_bytes()).await;
    time::sleep(Duration::from_millis(300)).await;
    drop(caller);
    fixture.stop.take().unwrap().send(()).unwrap();
    fixture.running.await.unwrap();
    let lines = fixture.written.lines();
    assert_eq!((lines.len(), lines[0]["verb"].as_str()), (1, Some("service-stop")), "{lines:?}");
}

#[tokio::test]
async fn without_a_valid_policy_nothing_is_done_and_the_reason_is_reported() {
    let fixture = Fixture::for_us("[\"/bin/true\"]");
    std::fs::write(fixture.directory.path().join("host.toml"), "[service]\nnam = 1\n").unwrap();
    if rustix::process::geteuid().is_root() {
        let told = fixture.ask(status()).await;
        assert_eq!(told["failed"]["kind"], "policy");
        assert!(told["failed"]["reason"].as_str().unwrap().contains("nam"), "{told}");
    }
}

#[tokio::test]
async fn the_socket_is_for_owner_and_group_and_takes_nobodys_place() {
    let fixture = Fixture::for_us("[\"/bin/true\"]");
    let path = fixture.socket();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let policy = fixture.directory.path().join("host.toml");
    let served = listen(&path, &policy).unwrap_err();
    assert!(served.contains("another process serves"), "{served}");
    assert!(listen(&policy, &policy).unwrap_err().contains("is no socket"));
    let dead = fixture.directory.path().join("dead");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    assert!(listen(&dead, &policy).is_ok());
}
