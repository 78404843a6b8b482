//! Leftovers of other clients: users who deleted themselves, broken and public databases, names that are
//! taken.

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule, Version};
use reqwest::Method;
use serde_json::json;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder, user_object};

/// Deletes a user without the agent, as an operator does, or as the user itself may if `_users` is public.
async fn delete_past_the_agent(fixture: &Fixture, name: &str) -> Result<()> {
    let document = fixture.user_document(name).await?.expect("a user");
    let path = format!("/_users/org.couchdb.user%3A{name}?rev={}", document["_rev"].as_str().unwrap());
    let (status, _) =
        fixture.client.request(Method::DELETE, &path, Some(fixture.couch.admin()), None).await?;
    anyhow::ensure!(status.is_success(), "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_user_inherits_nothing_from_a_deleted_one_of_the_same_name() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (db, al, bo) = (fixture.name("db"), fixture.name("al"), fixture.name("bo"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[&db]).await?;
    delete_past_the_agent(&fixture, &al).await?;
    fixture.user(&al, &[]).await?;
    assert!(!fixture.security(&db).await?.to_string().contains(&al), "by create_user");

    fixture.grant(&al, &[&db]).await?;
    delete_past_the_agent(&fixture, &al).await?;
    fixture.user(&bo, &[]).await?;
    let rename = json!({"username": bo, "hostname": "%", "user_attrs": {"name": al}});
    fixture.must_cast("update_attributes", rename).await?;
    assert!(!fixture.security(&db).await?.to_string().contains(&al), "by a rename");

    fixture.grant(&al, &[&db]).await?;
    delete_past_the_agent(&fixture, &al).await?;
    let error = fixture.cast("delete_user", json!({"user": {"_name": al}})).await?.unwrap_err();
    assert!(error.contains("does not exist"), "{error}");
    assert!(!fixture.security(&db).await?.to_string().contains(&al), "by delete_user");
    Ok(())
}

/// CouchDB's own databases can have members too: a member of `_replicator` may start replications.
#[tokio::test(flavor = "multi_thread")]
async fn a_membership_in_a_database_of_couchdb_goes_with_the_user() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (al, zoe) = (fixture.name("al"), fixture.name("zoe"));
    fixture.user(&al, &[]).await?;
    let members = json!({"admins": {"roles": ["_admin"]}, "members": {"names": [al], "roles": ["_admin"]}});
    let path = "/_replicator/_security";
    assert!(fixture.client.put(path, Some(fixture.couch.admin()), &members).await?.0.is_success());
    let rename = json!({"username": al, "hostname": "%", "user_attrs": {"name": zoe}});
    fixture.must_cast("update_attributes", rename).await?;
    let named = fixture.client.get(path, Some(fixture.couch.admin())).await?.1;
    assert_eq!(named["members"]["names"], json!([zoe]));
    fixture.must_cast("delete_user", json!({"user": {"_name": zoe}})).await?;
    let left = fixture.client.get(path, Some(fixture.couch.admin())).await?.1;
    assert_eq!(left["members"], json!({"names": [], "roles": ["_admin"]}));
    Ok(())
}

/// An application's `_security` may be deeper and longer than most JSON libraries accept.
#[tokio::test(flavor = "multi_thread")]
async fn an_odd_security_object_stops_no_command() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (db, odd, al) = (fixture.name("db"), fixture.name("odd"), fixture.name("al"));
    fixture.databases(&[&db, &odd]).await?;
    fixture.user(&al, &[&db]).await?;
    let (deep, digits) = (format!("{}{}", "[".repeat(300), "]".repeat(300)), "9".repeat(400));
    let body =
        format!(r#"{{"app":{deep},"n":{digits},"members":{{"names":["{al}"],"roles":[],"x":{digits}}}}}"#);
    let path = format!("/{odd}/_security");
    fixture.memory()?.faults().add(Rule::new("GET", &path, Fault::Answer { status: 200, body }));
    let found = fixture.call("get_user", json!({"username": al, "hostname": "%"})).await?;
    assert_eq!(Fixture::databases_of(&found), [db.as_str(), odd.as_str()]);

    // Not a list: the one command that would have to edit it reports the error and the place.
    fixture.memory()?.faults().clear();
    let body = format!(r#"{{"admins":{{"names":["{al}"]}},"members":{{"names":{digits}}}}}"#);
    fixture.memory()?.faults().add(Rule::new("GET", &path, Fault::Answer { status: 200, body }));
    assert_eq!(
        Fixture::databases_of(&fixture.call("get_user", json!({"username": al, "hostname": "%"})).await?),
        [db]
    );
    let grant = json!({"username": al, "hostname": "%", "databases": [odd]});
    let error = fixture.cast("grant_access", grant).await?.unwrap_err();
    assert!(error.contains(&odd) && error.contains("members.names"), "{error}");
    Ok(())
}

/// CouchDB stored some users of a command and refuses the others.
#[tokio::test(flavor = "multi_thread")]
async fn users_that_are_refused_take_the_others_of_their_command_back() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (al, bo) = (fixture.name("al"), fixture.name("bo"));
    let body = r#"[{"ok":true,"id":"1","rev":"1-1"},{"id":"2","error":"forbidden","reason":"no bo here"}]"#
        .to_owned();
    let refusal = Rule::new("POST", "/_users/_bulk_docs", Fault::Answer { status: 201, body });
    fixture.memory()?.faults().add(refusal.times(1).after_effect());
    let users = json!({"users": [user_object(&al, &[]), user_object(&bo, &[])]});
    let error = fixture.cast("create_user", users.clone()).await?.unwrap_err();
    assert!(error.contains("no bo here"), "{error}");
    assert!(fixture.user_document(&al).await?.is_none());
    fixture.must_cast("create_user", users).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_opened_stops_no_command() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (status, _) = fixture.client.put("/broken.couch", Some(fixture.couch.admin()), &json!(null)).await?;
    assert!(status.is_success());
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[&db]).await?;
    let found = fixture.call("get_user", json!({"username": al, "hostname": "%"})).await?;
    assert_eq!(Fixture::databases_of(&found), [db]);
    fixture.must_cast("delete_user", json!({"user": {"_name": al}})).await
}

/// Mutation: admin-names-not-refused (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_server_administrator_is_taken() -> Result<()> {
    let fixture = Fixture::up().await?;
    // If a shared server's administrator is os_admin itself, the refusal is a different one.
    let own = fixture.couch.admin().name == "os_admin";
    let refusal = if own { "is reserved" } else { "is the name of a server administrator" };
    let admin = fixture.couch.admin().name.clone();
    let al = fixture.name("al");
    fixture.user(&al, &[]).await?;
    let rename = json!({"username": al, "hostname": "%", "user_attrs": {"name": admin}});
    for (method, args) in
        [("create_user", json!({"users": [user_object(&admin, &[])]})), ("update_attributes", rename)]
    {
        let error = fixture.cast(method, args).await?.unwrap_err();
        assert!(error.contains(refusal), "{method}: {error}");
    }
    assert!(fixture.user_document(&admin).await?.is_none() && fixture.user_document(&al).await?.is_some());

    // The name became an administrator's later: the administrator's password is effective, not the user's.
    let path = format!("/_node/_local/_config/admins/{al}");
    assert!(
        fixture
            .client
            .put(&path, Some(fixture.couch.admin()), &json!("of the administrator"))
            .await?
            .0
            .is_success()
    );
    let change = json!({"users": [{"name": al, "password": "new"}]});
    let error = fixture.cast("change_passwords", change).await?.unwrap_err();
    let (status, _) =
        fixture.client.request(Method::DELETE, &path, Some(fixture.couch.admin()), None).await?;
    assert!(status.is_success() && error.contains("is the name of a server administrator"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_database_that_cannot_be_closed_is_taken_back() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::new(Version::V2)).up().await?;
    let db = fixture.name("db");
    let body = r#"{"error":"forbidden","reason":"no"}"#.to_owned();
    fixture.memory()?.faults().add(Rule::new("PUT", "*/_security", Fault::Answer { status: 403, body }));
    let databases = json!({"databases": [{"_name": db}]});
    assert!(fixture.cast("create_database", databases).await?.is_err());
    fixture.memory()?.faults().clear();
    let (status, _) = fixture.client.get(&format!("/{db}"), Some(fixture.couch.admin())).await?;
    assert_eq!(status.as_u16(), 404);
    Ok(())
}

/// The response to the first PUT is lost, so the agent cannot know whether it created the database.
#[tokio::test(flavor = "multi_thread")]
async fn a_public_database_in_use_stays_public_when_its_creation_is_repeated() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::new(Version::V2)).up().await?;
    let (used, fresh) = (fixture.name("used"), fixture.name("fresh"));
    let (status, _) =
        fixture.client.put(&format!("/{used}"), Some(fixture.couch.admin()), &json!(null)).await?;
    assert!(status.is_success() && fixture.anonymous_writes(&used).await?);
    for (database, stays_public) in [(&used, true), (&fresh, false)] {
        let lost = Rule::new("PUT", &format!("/{database}"), Fault::Cut).times(1).after_effect();
        fixture.memory()?.faults().add(lost);
        fixture.databases(&[database]).await?;
        let path = format!("/{database}/another-document");
        let (status, _) = fixture.client.put(&path, None, &json!({})).await?;
        assert_eq!(status.is_success(), stays_public, "{database}");
    }
    Ok(())
}
