//! Hostile JSON: duplicate keys, deep nesting, huge numbers, unusual text, wrong types, and huge amounts.
//! Each is refused with a clear failure, and a flood of it fits into memory.

use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::{Value, json};
use trove_couchdb_protocol::new_id;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rpc::{CallError, Message};

const LIMIT: Duration = trove_couchdb_tests::until::HUNG;

/// A call whose message is this text, which no JSON library would write.
fn raw_call(fixture: &Fixture, fields: &str) -> Message {
    let (unique_id, msg_id) = (new_id(), new_id());
    let reply_queue = fixture.rpc.reply_queue();
    let message = format!(
        r#"{{"_msg_id": "{msg_id}", "_reply_q": "{reply_queue}", "_unique_id": "{unique_id}", "version": "1.0", {fields}}}"#
    );
    let body = json!({"oslo.version": "2.0", "oslo.message": message}).to_string().into_bytes();
    Message { unique_id, msg_id: Some(msg_id), expiration: None, body }
}

async fn answer_to(fixture: &Fixture, message: &Message) -> Result<Value, CallError> {
    let reply = fixture.rpc.expect_reply(message);
    fixture.rpc.send(message).await.map_err(CallError::Transport)?;
    reply.within(LIMIT).await
}

/// Mutation: with `serde_json::from_str` instead of `json::parse` in `protocol/src/oslo/envelope.rs`,
/// duplicate keys are accepted and the last one is used.
#[tokio::test(flavor = "multi_thread")]
async fn json_that_hurts_is_refused_with_a_clear_failure() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (al, bo) = (fixture.name("al"), fixture.name("bo"));
    fixture.user(&al, &[]).await?;
    fixture.user(&bo, &[]).await?;
    fixture.memory()?.log().clear();

    let delete = |user: &str| format!(r#""method": "delete_user", "args": {{"user": {user}}}"#);
    let list = |limit: &str| format!(r#""method": "list_users", "args": {{"limit": {limit}}}"#);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let many = vec!["{\"_name\":\"a\"}"; 100_000].join(",");
    let huge = "9".repeat(400);
    let cases = [
        // It would be unclear which of the two is audited and which is deleted.
        (delete(&format!(r#"{{"_name": "{al}", "_name": "{bo}"}}"#)), "has the key `_name` twice"),
        (delete(&format!(r#"{{"_name": "{al}", "\u005fname": "{bo}"}}"#)), "has the key `_name` twice"),
        (
            format!(r#"{}, "args": {{}}"#, delete(&format!(r#"{{"_name": "{al}"}}"#))),
            "has the key `args` twice",
        ),
        (
            format!(r#""method": "rpc_ping", {}"#, delete(&format!(r#"{{"_name": "{al}"}}"#))),
            "has the key `method` twice",
        ),
        (delete(&format!(r#"{{"_name": "{al}", "x": {deep}}}"#)), "recursion limit exceeded"),
        (delete(r#"{"_name": "\ud800"}"#), "unexpected end of hex escape"),
        (delete(&format!(r#"{{"_name": "{al}\u0000"}}"#)), "control characters are not possible"),
        (delete(r#"{"_name": 7}"#), "`user._name` must be text"),
        (delete(r#"["_name"]"#), "`user` must be an object"),
        (list(&huge), "number out of range"),
        (list("1e999"), "number out of range"),
        (list("100000000000000000000"), "`limit` must be a whole number"),
        (list("-1"), "`limit` must be a whole number"),
        (list("1.5"), "`limit` must be a whole number"),
        (format!(r#""method": "rpc_ping", "_timeout": {huge}"#), "number out of range"),
        (
            format!(r#""method": "create_database", "args": {{"databases": [{many}]}}"#),
            "bytes, at most 1048576 are accepted",
        ),
        (
            format!(r#""method": "create_database", "args": {{"databases": [{}0]}}"#, "0,".repeat(100_000)),
            "more than 50000 values",
        ),
        (
            format!(
                r#""method": "create_database", "args": {{"databases": [{}"a"]}}"#,
                r#""a","#.repeat(10_000)
            ),
            "names 10001 users and databases, and at most 10000 are accepted",
        ),
        (
            format!(r#""method": "rpc_ping", "_context_x": [{}0]"#, "0,".repeat(20_000)),
            "`context` must be an object of at most",
        ),
        (r#""method": "rpc_ping", "_context_x": {"a": 1, "a": 2}"#.to_owned(), "has the key `a` twice"),
    ];
    for (fields, says) in &cases {
        match answer_to(&fixture, &raw_call(&fixture, fields)).await {
            Err(CallError::Failure(failure)) => {
                assert!(failure.message.contains(says), "{fields:.200}: {}", failure.message);
            }
            other => panic!("{fields:.200}: {other:?}"),
        }
    }
    assert!(fixture.memory()?.log().entries().iter().all(|entry| !entry.target.contains("_users/org")));
    assert!(fixture.user_document(&al).await?.is_some() && fixture.user_document(&bo).await?.is_some());
    Ok(())
}

/// As in oslo.messaging: such a caller gets no heartbeats, or those for whole seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_that_is_none_does_not_cost_the_call() -> Result<()> {
    let fixture = FixtureBuilder::default().up().await?;
    let longest = u64::MAX.to_string();
    for timeout in
        ["2.5", r#""4""#, "-1", "1e30", "[[]]", r#"{"a": 1}"#, r#""soon""#, "true", longest.as_str()]
    {
        let call = raw_call(&fixture, &format!(r#""method": "rpc_ping", "_timeout": {timeout}"#));
        assert_eq!(answer_to(&fixture, &call).await?, true, "{timeout}");
    }
    Ok(())
}

/// Asserts the agent's peak memory. An idle agent uses 16 MiB.
fn assert_peak(fixture: &Fixture, limit_mib: u64, after: &str) -> Result<()> {
    let peak = fixture.agent.peak_rss_kib()? / 1024;
    anyhow::ensure!(peak < limit_mib, "{peak} MiB after {after}, more than {limit_mib}");
    Ok(())
}

/// Mutation: values-without-number (docs/guarantees.md).
/// Without the budget of values in `protocol/src/oslo/request.rs` the small messages took 144 MiB (49 with
/// it); with serde's untagged enum in `protocol/src/oslo/address.rs` the large ones took 301 MiB (73 without
/// it).
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_costly_messages_fits_into_memory() -> Result<()> {
    let fixture =
        FixtureBuilder::default().in_memory(Options::default()).set("log.filter", "warn").up().await?;
    let megabyte = |piece: &str| {
        let text = vec![piece; 900_000 / json!(piece).to_string().len()].join(",");
        format!("[{text}]")
    };
    // The most expensive JSON: many small objects; then lists, numbers, and text with escapes.
    for piece in [r#"{"":0}"#, "[]", "0", r#""\u0001""#, r#"{"a":{}}"#] {
        let values = megabyte(piece);
        for fields in [
            format!(r#""method": "create_user", "args": {{"users": {values}}}"#),
            format!(r#""method": "rpc_ping", "_context_x": {values}"#),
            format!(r#""method": {values}"#),
        ] {
            for _ in 0..4 {
                fixture.rpc.publish_raw(&raw_call(&fixture, &fields).body).await?;
            }
        }
        fixture.call("rpc_ping", json!({})).await?;
        assert_peak(&fixture, 100, piece)?;
    }
    // Beyond the limit, but still searched for a sender.
    let ids = format!("[{}0]", "0,".repeat(7_000_000));
    let message = format!(r#"{{"_msg_id": {ids}, "method": "rpc_ping"}}"#);
    let body = json!({"oslo.version": "2.0", "oslo.message": message}).to_string().into_bytes();
    for _ in 0..4 {
        fixture.rpc.publish_raw(&body).await?;
        fixture.call("rpc_ping", json!({})).await?;
    }
    assert_peak(&fixture, 160, "messages of 14 MB")
}

/// A backlog of commands that wait for a hanging CouchDB, each with the largest accepted context, and of
/// commands with a far larger context, which must not wait with them.
///
/// Mutation: without `MAX_VALUES` in `protocol/src/oslo/context.rs` this took 583 MiB (150 with it).
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_fat_commands_fits_into_memory() -> Result<()> {
    let fixture =
        FixtureBuilder::default().in_memory(Options::default()).set("log.filter", "warn").up().await?;
    fixture.memory()?.faults().add(Rule::new("*", "/*", Fault::Hang));
    let contexts = [2_400, 24_000].map(|objects| format!("[{}0]", r#"{"":0},"#.repeat(objects)));
    let call = |number: usize, context: &str| {
        let user = format!(r#""method": "get_user", "args": {{"username": "u{number}"}}"#);
        raw_call(&fixture, &format!(r#"{user}, "_context_x": {context}"#))
    };
    // Almost as many as the broker delivers at once (`broker.prefetch`).
    for number in 0..60 {
        for context in &contexts {
            fixture.rpc.publish_raw(&call(number, context).body).await?;
        }
    }
    // A refused command needs no CouchDB, and was read after all the others.
    let refused = answer_to(&fixture, &call(60, &contexts[1])).await;
    assert!(matches!(refused, Err(CallError::Failure(_))), "{refused:?}");
    assert_peak(&fixture, 300, "a backlog of fat commands")?;
    fixture.memory()?.faults().clear();
    Ok(())
}
