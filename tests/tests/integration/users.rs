//! Users: created, shown, listed, changed and deleted.

use anyhow::Result;
use in_memory_couchdb::{Fault, InMemoryCouch, Options, Rule};
use serde_json::{Value, json};
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder, login, user_object};

async fn get(fixture: &Fixture, name: &str) -> Result<Value> {
    Ok(fixture.call("get_user", json!({"username": name, "hostname": "%"})).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_user_logs_in_and_uses_its_databases_only() -> Result<()> {
    let fixture = FixtureBuilder::default().encrypted().up().await?;
    let (mine, other, al) = (fixture.name("mine"), fixture.name("other"), fixture.name("al"));
    fixture.databases(&[&mine, &other]).await?;
    let user = fixture.user(&al, &[&mine]).await?;
    assert!(fixture.client.logs_in(&user).await?);
    assert!(fixture.client.reads(&mine, Some(&user)).await?);
    assert!(fixture.client.put(&format!("/{mine}/doc"), Some(&user), &json!({})).await?.0.is_success());
    assert!(!fixture.client.reads(&other, Some(&user)).await?);
    assert_eq!(
        get(&fixture, &al).await?,
        json!({
            "_name": al, "_host": "%", "_password": null, "_is_root": false,
            "_databases": [{"_name": mine, "_collate": null, "_character_set": null}]
        })
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_odd_characters_are_themselves() -> Result<()> {
    let fixture = Fixture::up().await?;
    let db = fixture.name("db");
    fixture.databases(&[&db]).await?;
    for base in [
        "with space",
        "at@example.com",
        "sla/sh",
        "..",
        "100%41",
        "q?x=1&y#z",
        "ünï-名前-🙂",
        "a+b",
        "A'\"\\",
    ] {
        let name = fixture.name(base);
        let user = fixture.user(&name, &[&db]).await?;
        assert!(fixture.client.reads(&db, Some(&user)).await?, "{name}");
        assert_eq!(get(&fixture, &name).await?["_name"], name.as_str());
        fixture.must_cast("delete_user", json!({"user": {"_name": name, "_host": "%"}})).await?;
        assert_eq!(get(&fixture, &name).await?, Value::Null);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_names_are_refused_with_their_rule_and_create_no_user() -> Result<()> {
    let fixture = Fixture::up().await?;
    let good = fixture.name("good");
    let long = "x".repeat(256);
    for (bad, rule) in [
        ("_hidden", "_"),
        ("a:b", ":"),
        ("", "empty"),
        ("tab\there", "control"),
        (long.as_str(), "255"),
        ("os_admin", "reserved"),
        ("root", "reserved"),
    ] {
        let users = json!({"users": [user_object(&good, &[]), user_object(bad, &[])]});
        let error = fixture.cast("create_user", users).await?.unwrap_err();
        assert!(error.contains(rule), "{bad:?}: {error}");
        assert!(!error.contains(&format!("{good}-pw")), "{error}");
    }
    assert_eq!(get(&fixture, &good).await?, Value::Null);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_users_are_hashed_here_and_written_at_once() -> Result<()> {
    let fixture = Fixture::up().await?;
    let names: Vec<String> = (0..8).map(|number| fixture.name(&format!("u{number}"))).collect();
    let users: Vec<Value> = names.iter().map(|name| user_object(name, &[])).collect();
    let log = fixture.couch.memory().map(InMemoryCouch::log);
    log.inspect(|log| log.clear());
    fixture.must_cast("create_user", json!({ "users": users })).await?;
    if let Some(log) = log {
        // First the documents, then the same documents without the mark of an unfinished command.
        assert_eq!(log.count("POST", "/_users/_bulk_docs"), 2);
        assert_eq!(log.count("PUT", "/_users/*"), 0);
        assert!(log.entries().iter().all(|entry| !entry.carried_password), "no password goes over HTTP");
    }
    for name in &names {
        assert!(fixture.client.logs_in(&login(name)).await?, "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_database_or_a_taken_name_creates_no_user() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (al, bo, db) = (fixture.name("al"), fixture.name("bo"), fixture.name("nowhere"));
    let error = fixture.cast("create_user", json!({"users": [user_object(&al, &[&db])]})).await?.unwrap_err();
    assert!(error.contains(&db) && error.contains("does not exist"), "{error}");
    assert_eq!(get(&fixture, &al).await?, Value::Null);

    let first = fixture.user(&al, &[]).await?;
    let users = json!({"users": [user_object(&bo, &[]), {"_name": al, "_password": "another"}]});
    let error = fixture.cast("create_user", users).await?.unwrap_err();
    assert!(error.contains("already exists"), "{error}");
    assert_eq!(get(&fixture, &bo).await?, Value::Null);
    assert!(fixture.client.logs_in(&first).await?, "the old password still holds");
    let twice = json!({"users": [user_object(&bo, &[]), user_object(&bo, &[])]});
    assert!(fixture.cast("create_user", twice).await?.unwrap_err().contains("twice"));
    let none = json!({"users": [{"_name": bo, "_password": null}]});
    assert!(fixture.cast("create_user", none).await?.unwrap_err().contains("password"));
    Ok(())
}

/// Mutation: orphan-memberships (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_leaves_no_membership_behind() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (one, two, al) = (fixture.name("one"), fixture.name("two"), fixture.name("al"));
    fixture.databases(&[&one, &two]).await?;
    let user = fixture.user(&al, &[&one, &two]).await?;
    fixture
        .set_security(&two, &json!({"members": {"names": [al]}, "admins": {"names": [al, "boss"]}}))
        .await?;
    fixture.must_cast("delete_user", json!({"user": {"_name": al}})).await?;
    for db in [&one, &two] {
        assert!(!fixture.security(db).await?.to_string().contains(&al));
        assert!(!fixture.client.reads(db, None).await?, "not public");
    }
    assert_eq!(fixture.security(&two).await?["admins"]["names"], json!(["boss"]));
    assert!(fixture.client.refuses(&user).await?);
    // A later user of that name inherits nothing.
    fixture.user(&al, &[]).await?;
    assert!(Fixture::databases_of(&get(&fixture, &al).await?).is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_complete_in_order_and_end() -> Result<()> {
    let fixture = Fixture::up().await?;
    let db = fixture.name("db");
    fixture.databases(&[&db]).await?;
    let mut names: Vec<String> = (0..7).map(|number| fixture.name(&format!("page{number}@x"))).collect();
    names.sort();
    let users: Vec<Value> = names.iter().map(|name| user_object(name, &[&db])).collect();
    fixture.must_cast("create_user", json!({ "users": users })).await?;
    let mut marker = Some(names[0].clone() + "@%");
    let mut seen = Vec::new();
    let mut include = true;
    while let Some(from) = marker {
        let args = json!({"limit": 3, "marker": from, "include_marker": include});
        let page = fixture.call("list_users", args).await?;
        let users = page[0].as_array().unwrap();
        assert!(users.len() <= 3);
        for user in users {
            seen.push(user["_name"].as_str().unwrap().to_owned());
            if names.contains(seen.last().unwrap()) {
                assert_eq!(Fixture::databases_of(user), [db.as_str()]);
            }
        }
        marker = page[1].as_str().map(str::to_owned);
        include = false;
        assert!(users.len() == 3 || marker.is_none(), "a short page is the last one");
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
    assert_eq!(seen.iter().filter(|name| names.contains(name)).count(), 7);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn markers_as_the_api_sends_them() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (al, at) = (fixture.name("al"), fixture.name("al@host"));
    fixture.user(&al, &[]).await?;
    fixture.user(&at, &[]).await?;
    for (marker, found) in [
        (format!("{al}@%"), &al),
        (format!("{al}@10.0.0.1"), &al),
        (al.clone(), &al),
        (format!("{at}@%"), &at),
        (format!("{}%40%25", at.replace('@', "%40")), &at),
        (at.clone(), &at),
    ] {
        let page =
            fixture.call("list_users", json!({"limit": 1, "marker": marker, "include_marker": true})).await?;
        assert_eq!(page[0][0]["_name"], found.as_str(), "{marker}");
    }
    for limit in [json!(-1), json!("3")] {
        assert!(
            fixture.call("list_users", json!({"limit": limit, "marker": null})).await.is_err(),
            "{limit}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_change_and_everything_else_stays() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (al, bo, ghost) = (fixture.name("al"), fixture.name("bo"), fixture.name("ghost"));
    let old = fixture.user(&al, &[]).await?;
    fixture.user(&bo, &[]).await?;
    let mut document = fixture.user_document(&al).await?.unwrap();
    document["roles"] = json!(["staff"]);
    document["extra"] = json!({"kept": [1, null]});
    let path = format!("/_users/org.couchdb.user:{al}");
    assert!(fixture.client.put(&path, Some(fixture.couch.admin()), &document).await?.0.is_success());

    let change = |name: &str, password: &str| json!({"name": name, "host": "%", "password": password});
    let both = json!({"users": [change(&al, "first"), change(&bo, "bo2"), change(&al, "nëw")]});
    fixture.must_cast("change_passwords", both).await?;
    assert!(fixture.client.logs_in(&Credentials::new(&al, "nëw")).await?);
    assert!(fixture.client.logs_in(&Credentials::new(&bo, "bo2")).await?);
    assert!(fixture.client.refuses(&old).await?);
    let after = fixture.user_document(&al).await?.unwrap();
    assert_eq!((&after["roles"], &after["extra"]), (&document["roles"], &document["extra"]));

    let error = fixture
        .cast("change_passwords", json!({"users": [change(&al, "x"), change(&ghost, "y")]}))
        .await?
        .unwrap_err();
    assert!(error.contains(&ghost), "{error}");
    assert!(fixture.client.logs_in(&Credentials::new(&al, "nëw")).await?, "nothing changed");
    Ok(())
}

/// With `couch_peruser` CouchDB deletes a deleted user's own database, and a rename deletes the old user.
///
/// Mutation: own-database-goes-with-a-rename (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_would_delete_a_users_own_database_is_refused() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (al, zoe) = (fixture.name("al"), fixture.name("zoe"));
    let user = fixture.user(&al, &[]).await?;
    let admin = fixture.couch.admin().clone();
    let set = async |key: &str, value: &str| {
        fixture
            .client
            .put(&format!("/_node/_local/_config/couch_peruser/{key}"), Some(&admin), &json!(value))
            .await
    };
    let rename = json!({"username": al, "hostname": "%", "user_attrs": {"name": zoe}});
    set("delete_dbs", "true").await?;
    set("enable", "true").await?;
    let error = fixture.cast("update_attributes", rename.clone()).await?.unwrap_err();
    assert!(error.contains("couch_peruser") && error.contains("delete_dbs"), "{error}");
    assert!(fixture.client.logs_in(&user).await?, "nothing changed");
    assert_eq!(get(&fixture, &zoe).await?, Value::Null);
    set("delete_dbs", "false").await?;
    fixture.must_cast("update_attributes", rename).await?;
    assert!(fixture.client.logs_in(&Credentials::new(&zoe, &user.password)).await?);
    Ok(())
}

/// Mutation: attachments-lost (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_would_lose_attachments_is_refused() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (al, zoe) = (fixture.name("al"), fixture.name("zoe"));
    fixture.user(&al, &[]).await?;
    let mut document = fixture.user_document(&al).await?.expect("a user");
    document["_attachments"] = json!({"photo.png": {"stub": true, "revpos": 1, "length": 9}});
    let answer = Fault::Answer { status: 200, body: document.to_string() };
    fixture.memory()?.faults().add(Rule::new("GET", &format!("/_users/*{al}"), answer));
    let rename = json!({"username": al, "hostname": "%", "user_attrs": {"name": zoe}});
    let error = fixture.cast("update_attributes", rename).await?.unwrap_err();
    assert!(error.contains("has attachments"), "{error}");
    assert!(fixture.user_document(&zoe).await?.is_none(), "nothing changed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_takes_hash_and_memberships_along() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (db, al, zoe, bo) = (fixture.name("db"), fixture.name("al"), fixture.name("zoe"), fixture.name("bo"));
    fixture.databases(&[&db]).await?;
    let user = fixture.user(&al, &[&db]).await?;
    fixture.user(&bo, &[&db]).await?;
    let update = |name: &str, attrs: Value| json!({"username": name, "hostname": "%", "user_attrs": attrs});

    let error = fixture.cast("update_attributes", update(&al, json!({"name": bo}))).await?.unwrap_err();
    assert!(error.contains("already exists"), "{error}");
    assert!(fixture.cast("update_attributes", update(&al, json!({"name": "root"}))).await?.is_err());
    let error = fixture
        .cast("update_attributes", update(&al, json!({"name": zoe, "password": ""})))
        .await?
        .unwrap_err();
    assert!(error.contains("password"), "{error}");
    assert!(fixture.client.reads(&db, Some(&user)).await?, "nothing changed");

    fixture.must_cast("update_attributes", update(&al, json!({"name": zoe}))).await?;
    let renamed = Credentials::new(&zoe, &user.password);
    assert!(fixture.client.reads(&db, Some(&renamed)).await?, "with the old password");
    assert_eq!(get(&fixture, &al).await?, Value::Null);
    assert!(!fixture.security(&db).await?.to_string().contains(&format!("\"{al}\"")));
    assert_eq!(Fixture::databases_of(&get(&fixture, &bo).await?), [db.as_str()]);

    fixture
        .must_cast(
            "update_attributes",
            update(&zoe, json!({"name": al, "password": "new", "host": "10.0.0.1"})),
        )
        .await?;
    assert!(fixture.client.reads(&db, Some(&Credentials::new(&al, "new"))).await?);
    fixture.must_cast("update_attributes", update(&al, json!({"password": "newer"}))).await?;
    assert!(fixture.client.reads(&db, Some(&Credentials::new(&al, "newer"))).await?);
    fixture.must_cast("update_attributes", update(&al, json!({}))).await?;
    let error = fixture.cast("update_attributes", update(&zoe, json!({"name": "x"}))).await?.unwrap_err();
    assert!(error.contains("does not exist"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_databases_of_a_page_come_from_one_pass() -> Result<()> {
    let fixture = Fixture::up().await?;
    let databases: Vec<String> = (0..10).map(|number| fixture.name(&format!("d{number}"))).collect();
    let databases: Vec<&str> = databases.iter().map(String::as_str).collect();
    fixture.databases(&databases).await?;
    // A base name of its own, so that users of other tests are not listed between these.
    let names: Vec<String> = (0..20).map(|number| fixture.name(&format!("one-pass{number:02}"))).collect();
    let users: Vec<Value> = names.iter().map(|name| user_object(name, &databases)).collect();
    fixture.must_cast("create_user", json!({ "users": users })).await?;
    let log = fixture.couch.memory().map(InMemoryCouch::log);
    log.inspect(|log| log.clear());
    let page =
        fixture.call("list_users", json!({"limit": 20, "marker": names[0], "include_marker": true})).await?;
    let page = page[0].as_array().unwrap();
    assert_eq!(page.iter().map(|user| user["_name"].as_str().unwrap()).collect::<Vec<_>>(), names);
    assert!(page.iter().all(|user| Fixture::databases_of(user).len() == 10));
    if let Some(log) = log {
        let passes = log.count("GET", "*/_security");
        assert_eq!(passes, 10, "once for each database, whatever the number of users");
        assert_eq!(log.count("GET", "/_users/_all_docs"), 1);
    }
    Ok(())
}
