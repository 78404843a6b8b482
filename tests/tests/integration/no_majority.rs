//! A cluster without its majority: what a minority took is not done, whatever a look at one node says.

use anyhow::Result;
use in_memory_couchdb::{Options, Trouble};
use serde_json::{Value, json};
use trove_couchdb_tests::stage::{Plan, Stage, user_object};
use trove_couchdb_tests::until::until;

async fn up(patience: i64) -> Result<Stage> {
    let plan = Plan::default().in_memory(Options::default());
    plan.set("rpc.call_patience", patience).set("rpc.cast_patience", patience).up().await
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
    let mut stage = up(1).await?;
    let (db, other) = (stage.name("db"), stage.name("other"));
    let (al, bo) = (stage.name("al"), stage.name("bo"));
    stage.databases(&[&db, &other]).await?;
    stage.user(&al, &[&db]).await?;
    stage.user(&bo, &[]).await?;
    stage.memory()?.trouble(two_of_three_are_down());
    let error = stage.revoke(&al, &db).await.unwrap_err().to_string();
    assert!(error.contains(&db) && error.contains("no_majority"), "{error}");
    assert!(error.contains("couchdb@peer2, couchdb@peer3"), "the nodes are named: {error}");
    assert_eq!(members(&stage.security(&db).await?), &json!([]), "this node has it");
    stage.revoke(&al, &db).await.expect_err("what this node says is not what the cluster has");
    stage.grant(&bo, &[&other]).await.expect_err("nor here");
    stage.agent.kill9()?;
    stage.agent.start_again()?;
    stage.agent.wait_ready().await?;
    stage.revoke(&al, &db).await.expect_err("nor after a restart");
    stage.grant(&bo, &[&other]).await.expect_err("nor here");

    stage.memory()?.trouble(Trouble::default());
    assert_eq!(members(&stage.security(&db).await?), &json!([al]), "as a real cluster does");
    stage.revoke(&al, &db).await?;
    stage.grant(&bo, &[&other]).await?;
    assert_eq!(members(&stage.security(&db).await?), &json!([]));
    assert_eq!(members(&stage.security(&other).await?), &json!([bo]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_tried_until_a_majority_has_it() -> Result<()> {
    let stage = up(60).await?;
    let (db, al) = (stage.name("db"), stage.name("al"));
    stage.databases(&[&db]).await?;
    stage.user(&al, &[&db]).await?;
    stage.memory()?.trouble(two_of_three_are_down());
    stage.memory()?.log().clear();
    let path = format!("/{db}/_security");
    let returning = async {
        until("two tries", async || Ok(stage.memory()?.log().count("PUT", &path) >= 2)).await?;
        stage.memory()?.trouble(Trouble::default());
        anyhow::Ok(())
    };
    let (revoked, returned) = tokio::join!(stage.revoke(&al, &db), returning);
    returned?;
    revoked?;
    assert_eq!(members(&stage.security(&db).await?), &json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_waits_for_the_majority_and_leaves_no_membership() -> Result<()> {
    let stage = up(1).await?;
    let (db, al) = (stage.name("db"), stage.name("al"));
    stage.databases(&[&db]).await?;
    stage.user(&al, &[&db]).await?;
    stage.memory()?.trouble(two_of_three_are_down());
    let delete = json!({"user": {"_name": al}});
    for _ in 0..2 {
        let error = stage.cast("delete_user", delete.clone()).await?.unwrap_err();
        assert!(error.contains(&db) && error.contains("no_majority"), "{error}");
        assert!(stage.user_document(&al).await?.is_some(), "it is not deleted");
    }
    stage.memory()?.trouble(Trouble::default());
    stage.must_cast("delete_user", delete).await?;
    stage.must_cast("create_user", json!({"users": [user_object(&al, &[])]})).await?;
    assert!(!stage.security(&db).await?.to_string().contains(&al));
    Ok(())
}
