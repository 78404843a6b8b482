//! Databases that CouchDB lists and can't open: a few are left out and named, many are an error, and what could not be done
//! to one is done when it opens.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule, Trouble};
use serde_json::{Value, json};
use trove_couchdb_tests::stage::{Plan, Stage, user_object};
use trove_couchdb_tests::until::until;

async fn up() -> Result<Stage> {
    let plan = Plan::default().in_memory(Options::default());
    plan.set("rpc.call_patience", 1).set("rpc.cast_patience", 1).up().await
}

fn damaged(databases: &[&str]) -> Trouble {
    let unopenable: BTreeSet<String> = databases.iter().map(|name| (*name).to_owned()).collect();
    Trouble { unopenable, ..Trouble::default() }
}

async fn restart(stage: &mut Stage) -> Result<()> {
    stage.agent.kill9()?;
    stage.agent.start_again()?;
    stage.agent.wait_ready().await
}

fn user(name: &str) -> Value {
    json!({"username": name, "hostname": "%"})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_left_out_and_named() -> Result<()> {
    let stage = up().await?;
    let (db, broken, al) = (stage.name("db"), stage.name("broken"), stage.name("al"));
    stage.databases(&[&db, &broken]).await?;
    stage.user(&al, &[&db, &broken]).await?;
    stage.memory()?.trouble(damaged(&[&broken]));
    let shown = stage.call("get_user", user(&al)).await?;
    assert_eq!(Stage::databases_of(&shown), [db.as_str()]);
    stage.agent.wait_log(&broken, Duration::from_secs(10)).await?;
    let checked = stage.call("check_databases", json!({})).await?;
    assert_eq!(checked["unknown"], json!([broken]));
    stage.memory()?.trouble(Trouble::default());
    assert_eq!(stage.call("check_databases", json!({})).await?["unknown"], json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fails_once_is_asked_once_more() -> Result<()> {
    let stage = up().await?;
    let (db, al) = (stage.name("db"), stage.name("al"));
    stage.databases(&[&db]).await?;
    stage.user(&al, &[&db]).await?;
    let body = r#"{"error":"internal_server_error","reason":"No DB shards could be opened."}"#.to_owned();
    let rule = Rule::new("GET", &format!("/{db}/_security"), Fault::Answer { status: 500, body });
    stage.memory()?.faults().add(rule.times(1));
    let shown = stage.call("get_user", user(&al)).await?;
    assert_eq!(Stage::databases_of(&shown), [db.as_str()]);
    assert_eq!(stage.memory()?.faults().hits(), 1);
    Ok(())
}

/// Mutation: unopened-left-out (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn many_that_do_not_open_are_an_error() -> Result<()> {
    let stage = up().await?;
    let names: Vec<String> = (0..8).map(|number| stage.name(&format!("db{number}"))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let al = stage.name("al");
    stage.databases(&names).await?;
    stage.user(&al, &names).await?;
    stage.memory()?.trouble(damaged(&names[1..]));
    let page = json!({"limit": null, "marker": null, "include_marker": false});
    for (method, args) in [("list_users", page), ("get_user", user(&al)), ("list_access", user(&al))] {
        let error = stage.call(method, args).await.unwrap_err().to_string();
        assert!(error.contains("7 of 8 databases") && error.contains("limit of open files"), "{error}");
    }
    let error = stage.cast("delete_user", json!({"user": {"_name": al}})).await?.unwrap_err();
    assert!(error.contains("could not open 7 of"), "{error}");
    assert!(stage.user_document(&al).await?.is_some());
    Ok(())
}

/// The deletion while a database is damaged, the creation before it is repaired, and the repair.
///
/// Mutation: inherits-after-repair (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn nobody_inherits_what_a_deletion_left_in_a_damaged_database() -> Result<()> {
    let mut stage = up().await?;
    let (broken, al) = (stage.name("broken"), stage.name("al"));
    stage.databases(&[&broken]).await?;
    stage.user(&al, &[&broken]).await?;
    stage.memory()?.trouble(damaged(&[&broken]));
    stage.must_cast("delete_user", json!({"user": {"_name": al}})).await?;
    restart(&mut stage).await?;
    let create = json!({"users": [user_object(&al, &[])]});
    let error = stage.cast("create_user", create.clone()).await?.unwrap_err();
    assert!(error.contains(&broken) && error.contains("older user of that name"), "{error}");
    let error = stage.cast("update_attributes", {
        stage.user(&stage.name("bo"), &[]).await?;
        json!({"username": stage.name("bo"), "hostname": "%", "user_attrs": {"name": al}})
    });
    assert!(error.await?.unwrap_err().contains(&broken));
    assert!(stage.user_document(&al).await?.is_none_or(|document| document["_deleted"] == true));

    stage.memory()?.trouble(Trouble::default());
    stage.must_cast("create_user", create).await?;
    assert!(!stage.security(&broken).await?.to_string().contains(&al), "before the user is there");
    Ok(())
}

/// Nobody has to send a command for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_is_finished_in_a_damaged_database_when_it_opens() -> Result<()> {
    let mut stage = up().await?;
    let (broken, gone) = (stage.name("broken"), stage.name("gone"));
    let (al, zoe) = (stage.name("al"), stage.name("zoe"));
    stage.databases(&[&broken, &gone]).await?;
    stage.user(&al, &[&broken, &gone]).await?;
    stage.memory()?.trouble(damaged(&[&broken, &gone]));
    let rename = json!({"username": al, "hostname": "%", "user_attrs": {"name": zoe}});
    stage.must_cast("update_attributes", rename).await?;
    let create = json!({"users": [user_object(&al, &[])]});
    assert!(stage.cast("create_user", create.clone()).await?.is_err(), "it would get in");
    // What goes with its database need not be done in the next one of that name.
    stage.must_cast("delete_database", json!({"database": {"_name": gone}})).await?;
    restart(&mut stage).await?;
    stage.memory()?.trouble(Trouble::default());
    until("the rename is done", async || {
        Ok(stage.security(&broken).await?["members"]["names"] == json!([zoe]))
    })
    .await?;
    stage.must_cast("create_user", create).await?;
    assert_eq!(stage.call("list_access", user(&al)).await?, json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erlang_term_is_one_short_line() -> Result<()> {
    let stage = up().await?;
    let (db, al) = (stage.name("db"), stage.name("al"));
    stage.databases(&[&db]).await?;
    stage.user(&al, &[]).await?;
    let term = "{badmatch,\n   {error,\n      {shutdown, ".to_owned() + &"[<<\"a\">>],\n ".repeat(100);
    let body = json!({"error": "unknown_error", "reason": term}).to_string();
    stage.memory()?.faults().add(Rule::new(
        "GET",
        &format!("/{db}/_security"),
        Fault::Answer { status: 500, body },
    ));
    let error = stage.grant(&al, &[&db]).await.unwrap_err().to_string();
    assert!(error.contains("{badmatch, {error, {shutdown, [<<") && !error.contains('\n'), "{error}");
    assert!(error.len() < 300, "{error}");
    Ok(())
}
