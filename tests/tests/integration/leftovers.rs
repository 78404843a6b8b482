//! What others left behind: users who deleted themselves, broken and public databases, names that are taken.

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule, Version};
use reqwest::Method;
use serde_json::json;
use trove_couchdb_tests::stage::{Plan, Stage, user_object};

/// Deletes a user past the agent, as an operator does, or the user itself where `_users` is public.
async fn delete_past_the_agent(stage: &Stage, name: &str) -> Result<()> {
    let document = stage.user_document(name).await?.expect("a user");
    let path = format!("/_users/org.couchdb.user%3A{name}?rev={}", document["_rev"].as_str().unwrap());
    let (status, _) = stage.client.request(Method::DELETE, &path, Some(stage.couch.admin()), None).await?;
    anyhow::ensure!(status.is_success(), "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_user_inherits_nothing_from_a_deleted_one_of_the_same_name() -> Result<()> {
    let stage = Stage::up().await?;
    let (db, al, bo) = (stage.name("db"), stage.name("al"), stage.name("bo"));
    stage.databases(&[&db]).await?;
    stage.user(&al, &[&db]).await?;
    delete_past_the_agent(&stage, &al).await?;
    stage.user(&al, &[]).await?;
    assert!(!stage.security(&db).await?.to_string().contains(&al), "by create_user");

    stage.grant(&al, &[&db]).await?;
    delete_past_the_agent(&stage, &al).await?;
    stage.user(&bo, &[]).await?;
    let rename = json!({"username": bo, "hostname": "%", "user_attrs": {"name": al}});
    stage.must_cast("update_attributes", rename).await?;
    assert!(!stage.security(&db).await?.to_string().contains(&al), "by a rename");

    stage.grant(&al, &[&db]).await?;
    delete_past_the_agent(&stage, &al).await?;
    let error = stage.cast("delete_user", json!({"user": {"_name": al}})).await?.unwrap_err();
    assert!(error.contains("does not exist"), "{error}");
    assert!(!stage.security(&db).await?.to_string().contains(&al), "by delete_user");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_opened_stops_nobody() -> Result<()> {
    let stage = Plan::default().in_memory(Options::default()).up().await?;
    let (status, _) = stage.client.put("/broken.couch", Some(stage.couch.admin()), &json!(null)).await?;
    assert!(status.is_success());
    let (db, al) = (stage.name("db"), stage.name("al"));
    stage.databases(&[&db]).await?;
    stage.user(&al, &[&db]).await?;
    let found = stage.call("get_user", json!({"username": al, "hostname": "%"})).await?;
    assert_eq!(Stage::databases_of(&found), [db]);
    stage.must_cast("delete_user", json!({"user": {"_name": al}})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_server_administrator_is_taken() -> Result<()> {
    let stage = Stage::up().await?;
    let admin = stage.couch.admin().name.clone();
    let al = stage.name("al");
    stage.user(&al, &[]).await?;
    let rename = json!({"username": al, "hostname": "%", "user_attrs": {"name": admin}});
    for (method, args) in
        [("create_user", json!({"users": [user_object(&admin, &[])]})), ("update_attributes", rename)]
    {
        let error = stage.cast(method, args).await?.unwrap_err();
        assert!(error.contains("is the name of a server administrator"), "{method}: {error}");
    }
    assert!(stage.user_document(&admin).await?.is_none() && stage.user_document(&al).await?.is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_database_that_cannot_be_closed_is_taken_back() -> Result<()> {
    let stage = Plan::default().in_memory(Options::new(Version::V2)).up().await?;
    let db = stage.name("db");
    let body = r#"{"error":"forbidden","reason":"no"}"#.to_owned();
    stage.memory()?.faults().add(Rule::new("PUT", "*/_security", Fault::Answer { status: 403, body }));
    let databases = json!({"databases": [{"_name": db}]});
    assert!(stage.cast("create_database", databases).await?.is_err());
    stage.memory()?.faults().clear();
    let (status, _) = stage.client.get(&format!("/{db}"), Some(stage.couch.admin())).await?;
    assert_eq!(status.as_u16(), 404);
    Ok(())
}

/// The answer to the first PUT is lost, so the agent can't know whether the database is its own work.
#[tokio::test(flavor = "multi_thread")]
async fn a_public_database_in_use_stays_public_when_its_creation_is_repeated() -> Result<()> {
    let stage = Plan::default().in_memory(Options::new(Version::V2)).up().await?;
    let (used, fresh) = (stage.name("used"), stage.name("fresh"));
    let (status, _) = stage.client.put(&format!("/{used}"), Some(stage.couch.admin()), &json!(null)).await?;
    assert!(status.is_success() && stage.anonymous_writes(&used).await?);
    for (database, stays_public) in [(&used, true), (&fresh, false)] {
        let lost = Rule::new("PUT", &format!("/{database}"), Fault::Cut).times(1).after_effect();
        stage.memory()?.faults().add(lost);
        stage.databases(&[database]).await?;
        let path = format!("/{database}/another-document");
        let (status, _) = stage.client.put(&path, None, &json!({})).await?;
        assert_eq!(status.is_success(), stays_public, "{database}");
    }
    Ok(())
}
