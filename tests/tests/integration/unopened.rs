//! Databases that CouchDB lists but cannot open: a few are omitted and named, many are an error, and changes
//! that were not possible are made when the database opens.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule, Trouble};
use serde_json::{Value, json};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder, user_object};
use trove_couchdb_tests::until::until;

async fn up() -> Result<Fixture> {
    let builder = FixtureBuilder::default().in_memory(Options::default());
    builder.set("rpc.call_retry_timeout", 1).set("rpc.cast_retry_timeout", 1).up().await
}

fn damaged(databases: &[&str]) -> Trouble {
    let unopenable: BTreeSet<String> = databases.iter().map(|name| (*name).to_owned()).collect();
    Trouble { unopenable, ..Trouble::default() }
}

async fn restart(fixture: &mut Fixture) -> Result<()> {
    fixture.agent.kill9()?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await
}

fn user(name: &str) -> Value {
    json!({"username": name, "hostname": "%"})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_left_out_and_named() -> Result<()> {
    let fixture = up().await?;
    let (db, broken, al) = (fixture.name("db"), fixture.name("broken"), fixture.name("al"));
    fixture.databases(&[&db, &broken]).await?;
    fixture.user(&al, &[&db, &broken]).await?;
    fixture.memory()?.trouble(damaged(&[&broken]));
    let shown = fixture.call("get_user", user(&al)).await?;
    assert_eq!(Fixture::databases_of(&shown), [db.as_str()]);
    fixture.agent.wait_log(&broken, Duration::from_secs(10)).await?;
    let checked = fixture.call("check_databases", json!({})).await?;
    assert_eq!(checked["unknown"], json!([broken]));
    fixture.memory()?.trouble(Trouble::default());
    assert_eq!(fixture.call("check_databases", json!({})).await?["unknown"], json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_fails_once_is_asked_once_more() -> Result<()> {
    let fixture = up().await?;
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[&db]).await?;
    let body = r#"{"error":"internal_server_error","reason":"No DB shards could be opened."}"#.to_owned();
    let rule = Rule::new("GET", &format!("/{db}/_security"), Fault::Answer { status: 500, body });
    fixture.memory()?.faults().add(rule.times(1));
    let shown = fixture.call("get_user", user(&al)).await?;
    assert_eq!(Fixture::databases_of(&shown), [db.as_str()]);
    assert_eq!(fixture.memory()?.faults().hits(), 1);
    Ok(())
}

/// Mutation: unopened-left-out (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn many_that_do_not_open_are_an_error() -> Result<()> {
    let fixture = up().await?;
    let names: Vec<String> = (0..8).map(|number| fixture.name(&format!("db{number}"))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let al = fixture.name("al");
    fixture.databases(&names).await?;
    fixture.user(&al, &names).await?;
    fixture.memory()?.trouble(damaged(&names[1..]));
    let page = json!({"limit": null, "marker": null, "include_marker": false});
    for (method, args) in [("list_users", page), ("get_user", user(&al)), ("list_access", user(&al))] {
        let error = fixture.call(method, args).await.unwrap_err().to_string();
        assert!(error.contains("7 of 8 databases") && error.contains("limit of open files"), "{error}");
    }
    let error = fixture.cast("delete_user", json!({"user": {"_name": al}})).await?.unwrap_err();
    assert!(error.contains("could not open 7 of"), "{error}");
    assert!(fixture.user_document(&al).await?.is_some());
    Ok(())
}

/// A deletion while a database is damaged, a creation before it is repaired, and the repair.
///
/// Mutation: inherits-after-repair (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn no_new_user_inherits_what_a_deletion_left_in_a_damaged_database() -> Result<()> {
    let mut fixture = up().await?;
    let (broken, al) = (fixture.name("broken"), fixture.name("al"));
    fixture.databases(&[&broken]).await?;
    fixture.user(&al, &[&broken]).await?;
    fixture.memory()?.trouble(damaged(&[&broken]));
    fixture.must_cast("delete_user", json!({"user": {"_name": al}})).await?;
    restart(&mut fixture).await?;
    let create = json!({"users": [user_object(&al, &[])]});
    let error = fixture.cast("create_user", create.clone()).await?.unwrap_err();
    assert!(error.contains(&broken) && error.contains("older user of that name"), "{error}");
    let error = fixture.cast("update_attributes", {
        fixture.user(&fixture.name("bo"), &[]).await?;
        json!({"username": fixture.name("bo"), "hostname": "%", "user_attrs": {"name": al}})
    });
    assert!(error.await?.unwrap_err().contains(&broken));
    assert!(fixture.user_document(&al).await?.is_none_or(|document| document["_deleted"] == true));

    fixture.memory()?.trouble(Trouble::default());
    fixture.must_cast("create_user", create).await?;
    assert!(!fixture.security(&broken).await?.to_string().contains(&al), "before the user is there");
    Ok(())
}

/// This needs no further command.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_is_finished_in_a_damaged_database_when_it_opens() -> Result<()> {
    let mut fixture = up().await?;
    let (broken, gone) = (fixture.name("broken"), fixture.name("gone"));
    let (al, zoe) = (fixture.name("al"), fixture.name("zoe"));
    fixture.databases(&[&broken, &gone]).await?;
    fixture.user(&al, &[&broken, &gone]).await?;
    fixture.memory()?.trouble(damaged(&[&broken, &gone]));
    let rename = json!({"username": al, "hostname": "%", "user_attrs": {"name": zoe}});
    fixture.must_cast("update_attributes", rename).await?;
    let create = json!({"users": [user_object(&al, &[])]});
    assert!(fixture.cast("create_user", create.clone()).await?.is_err(), "it would get in");
    // Changes for a deleted database are not applied to the next database with that name.
    fixture.must_cast("delete_database", json!({"database": {"_name": gone}})).await?;
    restart(&mut fixture).await?;
    fixture.memory()?.trouble(Trouble::default());
    until("the rename is done", async || {
        Ok(fixture.security(&broken).await?["members"]["names"] == json!([zoe]))
    })
    .await?;
    fixture.must_cast("create_user", create).await?;
    assert_eq!(fixture.call("list_access", user(&al)).await?, json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erlang_term_is_one_short_line() -> Result<()> {
    let fixture = up().await?;
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[]).await?;
    let term = "{badmatch,\n   {error,\n      {shutdown, ".to_owned() + &"[<<\"a\">>],\n ".repeat(100);
    let body = json!({"error": "unknown_error", "reason": term}).to_string();
    fixture.memory()?.faults().add(Rule::new(
        "GET",
        &format!("/{db}/_security"),
        Fault::Answer { status: 500, body },
    ));
    let error = fixture.grant(&al, &[&db]).await.unwrap_err().to_string();
    assert!(error.contains("{badmatch, {error, {shutdown, [<<") && !error.contains('\n'), "{error}");
    assert!(error.len() < 300, "{error}");
    Ok(())
}
