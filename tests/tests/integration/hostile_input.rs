//! Malformed, oversized, unencrypted, outdated and hostile messages: answered if possible, never run, and the
//! agent continues.

use std::{io::Write, time::Duration};

use anyhow::Result;
use flate2::{Compression, write::ZlibEncoder};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use trove_couchdb_protocol::{envelope, new_id};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rpc::{CallError, Request, RpcClient};
use trove_couchdb_tests::until::HUNG;

fn failure(result: Result<Value, CallError>) -> trove_couchdb_protocol::Failure {
    match result {
        Err(CallError::Failure(failure)) => failure,
        other => panic!("no failure: {other:?}"),
    }
}

/// Mutation: unreadable-not-acknowledged (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn garbage_does_not_stop_the_agent() -> Result<()> {
    let fixture = Fixture::up().await?;
    let inner = |value: Value| envelope::encode(&value);
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let mut bodies: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"\0".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        vec![0xFF; 1000],
        br#"{"oslo.version": "2.0"}"#.to_vec(),
        br#"{"oslo.version": "2.0", "oslo.message": {}}"#.to_vec(),
        br#"{"oslo.version": "2.0", "oslo.message": "\ud800"}"#.to_vec(),
        br#"{"oslo.version": "9.0", "oslo.message": "{}"}"#.to_vec(),
        deep.clone().into_bytes(),
        inner(json!({})),
        inner(json!({"method": 1})),
        inner(json!({"method": "rpc_ping", "args": []})),
        inner(json!({"method": "rpc_ping", "args": {}, "_msg_id": {}, "_reply_q": 7})),
        inner(json!({"method": "rpc_ping", "args": {}, "_msg_id": "x", "_reply_q": "q".repeat(300)})),
        inner(json!({"method": "rpc_ping", "args": {}, "version": "one", "_unique_id": new_id()})),
        inner(json!({"method": "\u{0}", "args": {}, "version": "1.0", "_unique_id": "x".repeat(100_000)})),
    ];
    // Each of these is sent more often than the prefetch allows deliveries.
    let takes_a_place = [
        json!({"method": "rpc_ping", "args": [], "_msg_id": "x", "_reply_q": "q".repeat(300)}),
        json!({"method": "rpc_ping", "args": [], "_msg_id": "x", "_reply_q": "q".repeat(100)}),
        json!({"method": "rpc_ping", "args": {}, "version": "1.0", "_msg_id": "x", "_reply_q": "gone",
               "_timeout": u64::MAX}),
    ];
    for _ in 0..70 {
        bodies.extend(takes_a_place.iter().cloned().map(inner));
    }
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..200 {
        let length = random.random_range(0..200);
        bodies.push((0..length).map(|_| random.random()).collect());
    }
    for body in &bodies {
        fixture.rpc.publish_raw(body).await?;
    }
    assert_eq!(fixture.call("rpc_ping", json!({})).await?, true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_call_gets_the_reason() -> Result<()> {
    let fixture = Fixture::up().await?;
    for (method, args, says) in [
        ("create_database", json!({}), "databases"),
        ("create_database", json!({"databases": "x"}), "databases"),
        ("create_database", json!({"databases": [{"_name": 7}]}), "_name"),
        ("create_user", json!({"users": [{"_password": "x"}]}), "_name"),
        ("grant_access", json!({"username": "al", "hostname": "%"}), "databases"),
        ("list_users", json!({"limit": "many"}), "limit"),
        ("get_user", json!({"username": null, "hostname": "%"}), "username"),
    ] {
        let failure = failure(fixture.call(method, args).await);
        assert!(failure.message.contains(says), "{method}: {failure:?}");
    }
    let unknown = failure(fixture.call("no_such_method", json!({})).await);
    assert_eq!(
        (unknown.class.as_str(), unknown.module.as_str()),
        ("NoSuchMethod", "oslo_messaging.rpc.dispatcher")
    );
    for version in ["2.0", "1.4", "0.9"] {
        let refused =
            failure(fixture.rpc.request(&Request::new("rpc_ping", json!({})).version(version)).await);
        assert_eq!(refused.class, "UnsupportedVersion", "{version}");
    }
    for version in ["1.0", "1.1", "1.2", "1.3"] {
        fixture.rpc.request(&Request::new("rpc_ping", json!({})).version(version)).await?;
    }
    let extra = json!({"username": "nobody-here", "hostname": "%", "added_in_trove_99": {"x": 1}});
    assert_eq!(fixture.call("get_user", extra).await?, Value::Null);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_method_of_the_guest_api_is_refused_at_once() -> Result<()> {
    let fixture = Fixture::up().await?;
    for method in [
        "restart",
        "start_db_with_conf_changes",
        "upgrade",
        "pre_upgrade",
        "post_upgrade",
        "create_backup",
        "mount_volume",
        "unmount_volume",
        "resize_fs",
        "update_overrides",
        "apply_overrides",
        "reset_configuration",
        "guest_log_list",
        "guest_log_action",
        "module_list",
        "module_apply",
        "module_remove",
        "get_replication_snapshot",
        "attach_replica",
        "detach_replica",
        "enable_as_master",
        "make_read_only",
        "get_replica_context",
        "demote_replication_master",
        "get_last_txn",
        "get_latest_txn_id",
        "wait_for_txn",
        "cleanup_source_on_replica_detach",
        "backup_required_for_replication",
        "get_hwinfo",
        "get_diagnostics",
        "update_guest",
        "rebuild",
        "pre_create_backup",
        "post_create_backup",
        "ssl_show",
        "ssl_action",
        "ssl_rollback",
    ] {
        let refused = failure(fixture.rpc.request(&Request::new(method, json!({})).version("1.3")).await);
        assert!(refused.message.contains("not support") && refused.message.contains(method), "{refused:?}");
        assert_eq!(refused.class, "NotSupported");
    }
    let refused = fixture.cast("restart", json!({})).await?.unwrap_err();
    assert!(refused.contains("not support"), "{refused}");
    Ok(())
}

/// Mutation: any-size (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_message_is_refused_and_answered() -> Result<()> {
    let fixture = FixtureBuilder::default().set("rpc.max_message_bytes", 65_536).up().await?;
    let db = fixture.name("db");
    let padded = json!({"databases": [{"_name": db}], "padding": "x".repeat(100_000)});
    let refused = failure(fixture.call("create_database", padded).await);
    assert!(refused.message.contains("65536") || refused.message.contains("large"), "{refused:?}");
    assert!(!fixture.call("list_databases", json!({})).await?.to_string().contains(&db));
    Ok(())
}

/// Trove's own serializer accepts unencrypted messages although a key is set, and does not notice a wrong
/// key.
///
/// Mutation: clear-runs-in-spite-of-a-key (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn with_a_key_nothing_unencrypted_runs() -> Result<()> {
    let fixture = FixtureBuilder::default().encrypted().up().await?;
    let db = fixture.name("db");
    let broker = trove_couchdb_tests::rabbitmq::shared().await?;
    let args = || json!({"databases": [{"_name": db}]});
    for key in [None, Some("another-key-of-32-characters-....")] {
        let stranger = RpcClient::connect(&broker.amqp_uri(), fixture.exchange(), &fixture.id, key).await?;
        let refused = failure(stranger.call("create_database", args()).await);
        assert!(refused.message.contains("crypt"), "{refused:?}");
        stranger.cast(&Request::new("create_database", args())).await?;
    }
    let listed = fixture.call("list_databases", json!({})).await?.to_string();
    assert!(!listed.contains(&db), "{listed}");
    Ok(())
}

fn compressed(name: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("compression".into(), AMQPValue::LongString(name.into()));
    BasicProperties::default().with_headers(headers)
}

fn zlib(clear: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(clear)?;
    Ok(encoder.finish()?)
}

/// Decompression bombs, broken streams and undecodable data use neither much memory nor prefetch slots.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_decompress_is_dropped_and_forgotten() -> Result<()> {
    let fixture = FixtureBuilder::default().up().await?;
    let bomb = zlib(&vec![b'['; 64 * 1024 * 1024])?;
    let cut_off = zlib(&envelope::encode(&json!({"method": "rpc_ping"})))?;
    for _ in 0..70 {
        fixture.rpc.publish(&bomb, compressed("application/x-gzip")).await?;
        fixture.rpc.publish(&cut_off[..20], compressed("application/x-gzip")).await?;
        fixture.rpc.publish(b"BZh9", compressed("application/x-bz2")).await?;
    }
    let ping = fixture.rpc.encode_call(&Request::new("rpc_ping", json!({})));
    let answered = fixture.rpc.expect_reply(&ping);
    fixture.rpc.publish(&zlib(&ping.body)?, compressed("application/x-gzip")).await?;
    assert_eq!(answered.within(HUNG).await?, true);
    let logs = fixture.agent.logs();
    for reason in ["bytes when it is decompressed", "can't be decompressed", "correct kombu_compression."] {
        assert_eq!(logs.matches(reason).count(), 70, "{reason}");
    }
    let peak = fixture.agent.peak_rss_kib()? / 1024;
    assert!(peak < 60, "{peak} MiB");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_is_gone_blocks_no_other() -> Result<()> {
    // A reply is retried for a minute; a call that waited for that would time out after half of it.
    let fixture = Fixture::up().await?;
    let al = fixture.name("al");
    fixture.user(&al, &[]).await?;
    let body = envelope::encode(&json!({
        "method": "get_user", "args": {"username": al, "hostname": "%"}, "version": "1.0",
        "_msg_id": new_id(), "_reply_q": format!("reply_{}", new_id()), "_timeout": null, "_unique_id": new_id(),
    }));
    fixture.rpc.publish_raw(&body).await?;
    let quick =
        Request::new("get_user", json!({"username": al, "hostname": "%"})).timeout(Duration::from_secs(30));
    fixture.rpc.request(&quick).await?;
    Ok(())
}
