//! A recorded message that is sent again has no effect: at once, after a restart, with a new id, or in parts.

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use trove_couchdb_protocol::{
    Cipher, Context as GuestContext, Outcome, ReplyAddress, ReplyQueue, Secret, encode_reply, envelope,
    new_id,
    trove::{ConductorCast, ServiceStatus},
};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder, login};
use trove_couchdb_tests::rpc::{Message, Request, notification};
use trove_couchdb_tests::shared_server::root_alone;
use trove_couchdb_tests::until::HUNG;

fn inner(message: &Message) -> Result<Map<String, Value>> {
    Ok(envelope::decode(&message.body, usize::MAX)?)
}

fn body(inner: Map<String, Value>) -> Vec<u8> {
    let text = Value::Object(inner).to_string();
    json!({"oslo.version": "2.0", "oslo.message": text}).to_string().into_bytes()
}

/// A cast as an eavesdropper records it.
fn recorded(fixture: &Fixture, method: &str, args: Value) -> Message {
    let request = Request::new(method, args).notified(notification(&fixture.id, method));
    fixture.rpc.encode_cast(&request)
}

/// Waits until all messages sent before are finished.
async fn all_is_over(fixture: &Fixture) -> Result<()> {
    fixture.call("list_users", json!({})).await?;
    Ok(())
}

async fn restart(fixture: &mut Fixture) -> Result<()> {
    fixture.agent.terminate().await?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await
}

/// A password that was changed since must not become valid again.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_password_does_not_come_back() -> Result<()> {
    for builder in [FixtureBuilder::default(), FixtureBuilder::default().encrypted()] {
        let mut fixture = builder.up().await?;
        let al = fixture.name("al");
        fixture.user(&al, &[]).await?;
        let change = |password: &str| json!({"users": [{"name": al, "host": "%", "password": password}]});
        let old = recorded(&fixture, "change_passwords", change(&login(&al).password));
        fixture.rpc.send(&old).await?;
        fixture.must_cast("change_passwords", change("new")).await?;
        let new = trove_couchdb_tests::couch::Credentials::new(&al, "new");
        for _ in 0..2 {
            fixture.rpc.send(&old).await?;
            all_is_over(&fixture).await?;
            assert!(fixture.client.get("/_session", Some(&new)).await?.0.is_success());
            restart(&mut fixture).await?;
        }
    }
    Ok(())
}

/// Encrypted messages are recognised by their contents: a new id, a different context or a modified IV does
/// not help.
///
/// Mutation: parts-replayed (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_recorded_message_are_known() -> Result<()> {
    let mut fixture = FixtureBuilder::default().encrypted().up().await?;
    let (db, other, al) = (fixture.name("db"), fixture.name("other"), fixture.name("al"));
    fixture.databases(&[&db, &other]).await?;
    fixture.user(&al, &[]).await?;
    let grant =
        recorded(&fixture, "grant_access", json!({"username": al, "hostname": "%", "databases": [db]}));
    fixture.rpc.send(&grant).await?;
    all_is_over(&fixture).await?;
    fixture.revoke(&al, &db).await?;
    let fresh =
        recorded(&fixture, "grant_access", json!({"username": "x", "hostname": "%", "databases": ["x"]}));

    let old = inner(&grant)?;
    let another_id = {
        let mut message = old.clone();
        message.insert("_unique_id".into(), new_id().into());
        message
    };
    let another_context = {
        let mut message = another_id.clone();
        message.insert("_context_context".into(), inner(&fresh)?["_context_context"].clone());
        message
    };
    let one_part = {
        let mut message = inner(&fresh)?;
        message["args"]["databases"] = old["args"]["databases"].clone();
        message["args"]["username"] = old["args"]["username"].clone();
        message
    };
    let another_vector = {
        let mut message = another_context.clone();
        for (_, part) in message["args"].as_object_mut().context("no arguments")? {
            let mut sealed = BASE64_STANDARD.decode(part.as_str().context("not encrypted")?)?;
            // Flips a bit that keeps the JSON valid: the case of the first letter.
            sealed[1] ^= 0x20;
            *part = BASE64_STANDARD.encode(sealed).into();
        }
        message
    };
    for _ in 0..2 {
        for message in [&another_id, &another_context, &one_part, &another_vector] {
            let mut message = message.clone();
            message.insert("_unique_id".into(), new_id().into());
            fixture.rpc.publish_raw(&body(message)).await?;
        }
        all_is_over(&fixture).await?;
        assert!(!fixture.client.reads(&db, Some(&login(&al))).await?);
        assert_eq!(fixture.security(&db).await?["members"]["names"].as_array().map_or(0, Vec::len), 0);
        restart(&mut fixture).await?;
    }
    // A new message with the same contents is a normal command.
    fixture.grant(&al, &[&db]).await?;
    assert!(fixture.client.reads(&db, Some(&login(&al))).await?);
    Ok(())
}

/// The broker's redelivery of an unacknowledged message is not a replay; that of an acknowledged one is, and
/// is not answered.
///
/// Mutation: tags-not-written (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn the_same_call_after_a_restart_is_neither_run_nor_answered_again() -> Result<()> {
    let mut fixture = FixtureBuilder::default().encrypted().up().await?;
    let db = fixture.name("db");
    fixture.databases(&[&db]).await?;
    let call = fixture.rpc.encode_call(&Request::new("delete_database", json!({"database": {"_name": db}})));
    let reply = fixture.rpc.expect_reply(&call);
    fixture.rpc.send(&call).await?;
    reply.within(HUNG).await?;
    restart(&mut fixture).await?;
    fixture.databases(&[&db]).await?;
    fixture.rpc.send(&call).await?;
    all_is_over(&fixture).await?;
    let listed = fixture.call("list_databases", json!({})).await?.to_string();
    assert!(listed.contains(&db), "{listed}");
    assert!(fixture.rpc.unexpected_replies().is_empty());
    Ok(())
}

/// Recorded messages that change nothing: reads, refused commands, the agent's own replies and heartbeats. A
/// command without arguments only needs a context from one of them.
///
/// Mutation: reads-leave-no-marks (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn parts_of_reads_and_of_the_agents_own_messages_make_no_command() -> Result<()> {
    let mut fixture = FixtureBuilder::default().encrypted().up().await?;
    let _alone = root_alone(&fixture.couch).await;
    let al = fixture.name("al");
    fixture.user(&al, &[]).await?;
    let cipher = Cipher::new(&Secret::new(fixture.key.as_deref().context("no key")?));
    let read = recorded(&fixture, "get_user", json!({"username": al, "hostname": "%"}));
    let refused = recorded(&fixture, "create_user", json!({"users": [{"_name": "root", "_password": "x"}]}));
    for message in [&read, &refused] {
        fixture.rpc.send(message).await?;
    }
    all_is_over(&fixture).await?;
    let heartbeat = ConductorCast::Heartbeat { sent: 1.0, status: Some(ServiceStatus::Healthy) };
    let heartbeat = heartbeat.encode(&fixture.id, &GuestContext::for_guest("req-1"), Some(&cipher));
    let own = Value::Object(envelope::decode(&heartbeat, usize::MAX)?);
    let address = ReplyAddress { msg_id: new_id(), reply_queue: ReplyQueue::local() };
    let answer = encode_reply(&address, &new_id(), &Outcome::Success(json!({"_name": al})), Some(&cipher));
    let answer = Value::Object(envelope::decode(&answer, usize::MAX)?);

    let forged = |method: &str, context: &Value, args: Value| {
        let message = json!({
            "method": method, "args": args, "version": "1.0", "_unique_id": new_id(), "_context_context": context
        });
        message.as_object().cloned().unwrap_or_default()
    };
    let contexts = [
        inner(&read)?["_context_context"].clone(),
        inner(&refused)?["_context_context"].clone(),
        own["_context_context"].clone(),
    ];
    for round in 0..2 {
        for context in &contexts {
            fixture.rpc.publish_raw(&body(forged("enable_root", context, json!({})))).await?;
        }
        let context = cipher.encrypt(&json!({}));
        let user = json!({"user": answer["result"]});
        fixture.rpc.publish_raw(&body(forged("delete_user", &context.into(), user))).await?;
        all_is_over(&fixture).await?;
        assert_eq!(fixture.call("is_root_enabled", json!({})).await?, json!(false), "round {round}");
        assert!(fixture.user_document(&al).await?.is_some(), "round {round}");
        // Marks of reads reach the disk with the next change.
        fixture.user(&fixture.name("bo"), &[]).await.ok();
        restart(&mut fixture).await?;
    }
    Ok(())
}
