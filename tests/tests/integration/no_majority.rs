//! A cluster without its majority: a write that only a minority accepted is not done, even if one node shows
//! it.

use anyhow::Result;
use in_memory_couchdb::{Options, Trouble};
use serde_json::{Value, json};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder, user_object};
use trove_couchdb_tests::until::until;

async fn up(retry_timeout: i64) -> Result<Fixture> {
    let builder = FixtureBuilder::default().in_memory(Options::default());
    builder
        .set("rpc.call_retry_timeout", retry_timeout)
        .set("rpc.cast_retry_timeout", retry_timeout)
        .up()
        .await
}

fn two_of_three_are_down() -> Trouble {
    Trouble { peers_down: true, ..Trouble::default() }
}

fn members(security: &Value) -> &Value {
    &security["members"]["names"]
}

/// Mutation: minority-is-enough (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_and_a_revoke_need_a_majority() -> Result<()> {
    let mut fixture = up(1).await?;
    let (db, other) = (fixture.name("db"), fixture.name("other"));
    let (al, bo) = (fixture.name("al"), fixture.name("bo"));
    fixture.databases(&[&db, &other]).await?;
    fixture.user(&al, &[&db]).await?;
    fixture.user(&bo, &[]).await?;
    fixture.memory()?.trouble(two_of_three_are_down());
    let error = fixture.revoke(&al, &db).await.unwrap_err().to_string();
    assert!(error.contains(&db) && error.contains("no_majority"), "{error}");
    assert!(error.contains("couchdb@peer2, couchdb@peer3"), "the nodes are named: {error}");
    assert_eq!(members(&fixture.security(&db).await?), &json!([]), "this node has it");
    fixture.revoke(&al, &db).await.expect_err("what this node says is not what the cluster has");
    fixture.grant(&bo, &[&other]).await.expect_err("nor here");
    fixture.agent.kill9()?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    fixture.revoke(&al, &db).await.expect_err("nor after a restart");
    fixture.grant(&bo, &[&other]).await.expect_err("nor here");

    fixture.memory()?.trouble(Trouble::default());
    assert_eq!(members(&fixture.security(&db).await?), &json!([al]), "as a real cluster does");
    fixture.revoke(&al, &db).await?;
    fixture.grant(&bo, &[&other]).await?;
    assert_eq!(members(&fixture.security(&db).await?), &json!([]));
    assert_eq!(members(&fixture.security(&other).await?), &json!([bo]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_tried_until_a_majority_has_it() -> Result<()> {
    let fixture = up(60).await?;
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[&db]).await?;
    fixture.memory()?.trouble(two_of_three_are_down());
    fixture.memory()?.log().clear();
    let path = format!("/{db}/_security");
    let returning = async {
        until("two tries", async || Ok(fixture.memory()?.log().count("PUT", &path) >= 2)).await?;
        fixture.memory()?.trouble(Trouble::default());
        anyhow::Ok(())
    };
    let (revoked, returned) = tokio::join!(fixture.revoke(&al, &db), returning);
    returned?;
    revoked?;
    assert_eq!(members(&fixture.security(&db).await?), &json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_waits_for_the_majority_and_leaves_no_membership() -> Result<()> {
    let fixture = up(1).await?;
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[&db]).await?;
    fixture.memory()?.trouble(two_of_three_are_down());
    let delete = json!({"user": {"_name": al}});
    for _ in 0..2 {
        let error = fixture.cast("delete_user", delete.clone()).await?.unwrap_err();
        assert!(error.contains(&db) && error.contains("no_majority"), "{error}");
        assert!(fixture.user_document(&al).await?.is_some(), "it is not deleted");
    }
    fixture.memory()?.trouble(Trouble::default());
    fixture.must_cast("delete_user", delete).await?;
    fixture.must_cast("create_user", json!({"users": [user_object(&al, &[])]})).await?;
    assert!(!fixture.security(&db).await?.to_string().contains(&al));
    Ok(())
}
