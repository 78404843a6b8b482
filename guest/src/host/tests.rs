//! The client, against helpers that answer, refuse, hang up, send garbage, or do not exist.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
};
use trove_couchdb_protocol::host::{HostError, State, Wanted};

use super::*;

/// A helper that reads one request and sends these bytes; the task returns the request.
fn helper(directory: &tempfile::TempDir, answer: Vec<u8>) -> (Host, tokio::task::JoinHandle<Value>) {
    let path = directory.path().join("hostd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u32().await.unwrap();
        let mut request = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut request).await.unwrap();
        stream.write_all(&answer).await.unwrap();
        serde_json::from_slice(&request).unwrap()
    });
    (Host { socket: Some(path), timeout: Duration::from_secs(3) }, served)
}

fn framed(answer: &Value) -> Vec<u8> {
    let text = answer.to_string();
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

async fn ask(host: &Host) -> Result<ServiceReport, HostFailure> {
    host.ask("a1", Verb::ServiceRestart, None, None).await
}

#[tokio::test]
async fn a_request_goes_there_and_a_report_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let done = json!({"service": "couchdb", "state": "running", "detail": "x", "changed": true});
    let (host, served) = helper(&directory, framed(&json!({"id": "a1", "done": done})));
    let service = ServiceName::try_from("couchdb".to_owned()).unwrap();
    let within = Within::try_from(600).unwrap();
    let wait = Verb::ServiceWait(Wanted::Running);
    let report = host.ask("not an id!", wait, Some(service), Some(within)).await.unwrap();
    assert_eq!((report.observed.state, report.changed), (State::Running, true));
    let request = served.await.unwrap();
    assert_eq!(request["within"], 3, "no longer than host.timeout");
    assert_eq!(request["verb"], json!({"service-wait": "running"}));
    assert_eq!(request["id"].as_str().unwrap().len(), 32, "an id of our own");
}

#[tokio::test]
async fn what_the_helper_says_is_passed_on() {
    let directory = tempfile::tempdir().unwrap();
    let error = HostError::NotAllowed { what: "x".to_owned(), advice: "y".to_owned() };
    let (host, _served) = helper(&directory, framed(&json!({"failed": error})));
    assert_eq!(ask(&host).await, Err(HostFailure::Refused(error)));
}

#[tokio::test]
async fn a_helper_that_hangs_up_or_babbles_leaves_the_outcome_open() {
    for (answer, transient) in [
        (Vec::new(), true),
        (vec![0xFF; 4], true),
        (b"\0\0\0\x02{}".to_vec(), false),
        (b"\0\0\0\x10short".to_vec(), true),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (host, _served) = helper(&directory, answer);
        let failure = ask(&host).await.unwrap_err();
        assert!(failure.may_have_taken_effect() && !failure.is_refusal(), "{failure}");
        assert_eq!(failure.is_transient(), transient, "{failure}");
    }
}

#[tokio::test]
async fn without_a_helper_it_is_said_how_to_get_one() {
    let off = Host { socket: None, timeout: Duration::from_secs(3) };
    assert_eq!(off.absence(), Some(HostFailure::Off));
    let directory = tempfile::tempdir().unwrap();
    let missing = Host { socket: Some(directory.path().join("none.sock")), timeout: Duration::from_secs(3) };
    let absence = missing.absence().unwrap();
    assert!(absence.to_string().ends_with("systemctl enable --now trove-couchdb-hostd.socket"), "{absence}");
    assert!(absence.is_refusal() && !absence.is_transient());
    assert_eq!(ask(&missing).await, Err(absence));
    // A helper that was killed leaves its socket.
    let dead = directory.path().join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    let dead = Host { socket: Some(dead), timeout: Duration::from_secs(3) };
    assert_eq!(dead.absence(), None);
    let failure = ask(&dead).await.unwrap_err();
    assert!(failure.is_transient() && !failure.may_have_taken_effect(), "{failure}");
}

#[tokio::test]
async fn a_helper_that_hangs_costs_its_time_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hostd.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let limit = time::timeout(Duration::from_secs(20), async {
        let host = Host { socket: Some(path), timeout: Duration::from_secs(1) };
        ask(&host).await
    });
    assert_eq!(limit.await.unwrap(), Err(HostFailure::Silent { seconds: 9 }));
}
