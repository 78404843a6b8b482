//! Smoke test of the harness itself: start and stop of the broker, and that the Python peer and the Rust
//! client agree on the wire, independently of the agent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use trove_couchdb_tests::conductor::Conductor;
use trove_couchdb_tests::couch::CouchServer;
use trove_couchdb_tests::python::{PeerOptions, PythonPeer};
use trove_couchdb_tests::rabbitmq::{self, RabbitNode};
use trove_couchdb_tests::real_couch::RealBuilder;
use trove_couchdb_tests::rpc::{CallError, Request, RpcClient, declare_exchange};

const KEY: &str = "oj47q4kuzlRq7dAFMPggh1Lj5XClBLVU";
const SOON: Duration = trove_couchdb_tests::until::HUNG;

async fn peer(guest_id: &str, key: Option<&str>, oslo: &[&str]) -> PythonPeer {
    let options = PeerOptions {
        transport_url: rabbitmq::shared().await.unwrap().transport_url(),
        exchange: format!("exchange-{guest_id}"),
        guest_id: guest_id.to_owned(),
        key: key.map(str::to_owned),
        oslo: oslo.iter().map(|&line| line.to_owned()).collect(),
    };
    PythonPeer::start(&options).await.unwrap()
}

#[tokio::test]
async fn a_broker_survives_a_kill_and_an_orderly_stop_on_the_same_port() {
    let mut node = RabbitNode::start().await.unwrap();
    let port = node.port();
    node.kill9().unwrap();
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
    node.start_again().await.unwrap();
    assert!(node.start_again().await.is_err(), "a running node must not be started twice");
    node.stop().await.unwrap();
    assert_eq!(node.port(), port);
}

#[tokio::test]
async fn python_speaks_with_python_in_every_mode() {
    let modes: [(&str, Option<&str>, &[&str]); 4] = [
        ("clear", None, &[]),
        ("secure", Some(KEY), &[]),
        ("plain-login-durable", None, &["rabbit_login_method=PLAIN", "amqp_durable_queues=true"]),
        ("quorum", Some(KEY), &["rabbit_quorum_queue=true"]),
    ];
    for (id, key, oslo) in modes {
        let peer = peer(id, key, oslo).await;
        peer.predeclare().await.unwrap();
        peer.start_echo_guest().await.unwrap();
        let sent = json!({"users": [{"_name": "zoë", "_password": null}], "limit": 3});
        assert_eq!(peer.call("echo", sent.clone()).await.unwrap().unwrap(), sent, "{id}");
        assert_eq!(peer.event(SOON).await.unwrap(), json!({"event": "echo", "args": sent}), "{id}");
        let error = peer.call("fail", json!({"message": "no such thing"})).await.unwrap().unwrap_err();
        assert_eq!(error.class, "RemoteError", "{id}: {}", error.trace);
        assert_eq!(error.remote_class.as_deref(), Some("EchoError"), "{id}");
        assert_eq!(error.remote_message.as_deref(), Some("no such thing"), "{id}");
    }
}

#[tokio::test]
async fn python_sees_a_timeout_when_there_is_no_server() {
    let peer = peer("nobody", None, &[]).await;
    peer.predeclare().await.unwrap();
    let error =
        peer.request(json!({"op": "call", "method": "rpc_ping", "timeout": 1})).await.unwrap().unwrap_err();
    assert_eq!(error.class, "MessagingTimeout", "{}", error.trace);
}

#[tokio::test]
async fn our_client_and_pythons_server_agree_in_clear_and_encrypted() {
    for (id, key) in [("ours-clear", None), ("ours-secure", Some(KEY))] {
        let peer = peer(id, key, &[]).await;
        peer.start_echo_guest().await.unwrap();
        let uri = rabbitmq::shared().await.unwrap().amqp_uri();
        let rpc = RpcClient::connect(&uri, &format!("exchange-{id}"), id, key).await.unwrap();

        let sent = json!({"users": [{"_name": "zoë", "_password": null}], "limit": 3});
        assert_eq!(rpc.call("echo", sent.clone()).await.unwrap(), sent, "{id}");
        let Err(CallError::Failure(failure)) = rpc.call("fail", json!({"message": "no such thing"})).await
        else {
            panic!("{id}: a failure must be an error");
        };
        assert_eq!(
            (failure.class.as_str(), failure.message.as_str()),
            ("EchoError", "no such thing"),
            "{id}"
        );

        rpc.cast(&Request::new("echo", json!({"n": 1}))).await.unwrap();
        let event = |n: u32| json!({"event": "echo", "args": {"n": n}});
        assert_eq!(peer.event(SOON).await.unwrap()["args"], sent, "{id}");
        assert_eq!(peer.event(SOON).await.unwrap(), event(1), "{id}");

        let message = rpc.encode_call(&Request::new("echo", json!({"n": 2})));
        let reply = rpc.expect_reply(&message);
        rpc.send(&message).await.unwrap();
        rpc.send(&message).await.unwrap();
        assert_eq!(reply.within(SOON).await.unwrap(), json!({"n": 2}), "{id}");
        assert_eq!(peer.event(SOON).await.unwrap(), event(2), "{id}");
        rpc.call("echo", json!({"n": 3})).await.unwrap();
        assert_eq!(peer.event(SOON).await.unwrap(), event(3), "{id}: oslo.messaging drops the duplicate");
        assert!(rpc.unexpected_replies().is_empty(), "{id}: {:?}", rpc.unexpected_replies());
    }
}

#[tokio::test]
async fn our_client_gives_up_when_there_is_no_answer() {
    let uri = rabbitmq::shared().await.unwrap().amqp_uri();
    let rpc = RpcClient::connect(&uri, "exchange-silence", "silence", None).await.unwrap();
    let request = Request::new("rpc_ping", json!({})).timeout(Duration::from_millis(300));
    assert!(matches!(rpc.request(&request).await, Err(CallError::Timeout(_))));
}

#[tokio::test]
async fn the_couchdb_has_an_admin_and_nothing_for_others() {
    let server = CouchServer::start().await.unwrap();
    let client = server.client().unwrap();
    assert!(client.logs_in(server.admin()).await.unwrap());
    let (status, _) = client.put("/harness", Some(server.admin()), &json!({})).await.unwrap();
    assert!(status.is_success() || status == 412, "{status}");
    assert!(client.reads("harness", Some(server.admin())).await.unwrap());
    assert!(!client.reads("harness", None).await.unwrap());
    let (status, _) = client.request(Method::DELETE, "/harness", Some(server.admin()), None).await.unwrap();
    assert!(status.is_success(), "{status}");
}

#[tokio::test]
async fn a_durable_exchange_is_taken_as_it_is() {
    let uri = rabbitmq::shared().await.unwrap().amqp_uri();
    declare_exchange(&uri, "exchange-durable", true).await.unwrap();
    let rpc = RpcClient::connect(&uri, "exchange-durable", "durable", None).await.unwrap();
    Conductor::listen(&uri, "exchange-durable", "conductor-durable", None).await.unwrap();
    assert!(rpc.channel().await.is_ok(), "no declaration may have closed the connection");
    assert!(declare_exchange(&uri, "exchange-durable", false).await.is_err(), "the broker keeps the flag");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_node_keeps_its_data_and_may_become_a_newer_release() {
    let builder = RealBuilder::default().version("3.3").ini("[couchdb]\nmax_document_size = 4711");
    let Some(mut node) = builder.up().await.unwrap() else { return };
    assert!(node.version().starts_with("3.3."));
    node.admin_request(Method::PUT, "/kept", None).await.unwrap();
    let path = "/_node/_local/_config/couchdb/max_document_size";
    assert_eq!(node.admin_request(Method::GET, path, None).await.unwrap(), "4711");
    node.kill9().unwrap();
    assert!(node.client().unwrap().get("/", None).await.is_err());
    if node.start_again_as("3.5").await.unwrap() {
        let greeting = node.admin_request(Method::GET, "/", None).await.unwrap();
        assert_eq!(greeting["version"], node.version());
        node.admin_request(Method::GET, "/kept", None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_node_without_an_admin_ends_until_there_is_one() {
    let Some(mut node) = RealBuilder::default().without_admin().start().unwrap() else { return };
    assert!(!node.exits().await.unwrap().success());
    let admins = format!("[admins]\n{} = {}\n", node.admin().name, node.admin().password);
    std::fs::write(node.local_d().join("30-admin.ini"), admins).unwrap();
    node.start_again().await.unwrap();
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_cluster_has_no_majority_without_two_of_its_nodes() {
    let Some(mut cluster) = RealBuilder::default().cluster().await.unwrap() else { return };
    cluster.nodes[0].admin_request(Method::PUT, "/d", None).await.unwrap();
    cluster.nodes[2].admin_request(Method::GET, "/d", None).await.unwrap();
    for index in [1, 2] {
        cluster.nodes[index].kill9().unwrap();
    }
    cluster.wait_members(&[0], 1).await.unwrap();
    let (client, admin) = (cluster.nodes[0].client().unwrap(), cluster.nodes[0].admin());
    let answer =
        client.put("/d/_security", Some(admin), &json!({"members": {"names": ["al"]}})).await.unwrap();
    assert_eq!((answer.0.as_u16(), &answer.1["reason"]), (500, &json!("no_majority")));
    for index in [1, 2] {
        cluster.nodes[index].start_again().await.unwrap();
    }
    cluster.wait_members(&[0, 1, 2], 3).await.unwrap();
    let answer = cluster.nodes[0].admin_request(Method::PUT, "/d/_security", Some(&json!({}))).await.unwrap();
    assert_eq!(answer, json!({"ok": true}));
}
