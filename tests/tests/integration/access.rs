//! Access: a grant or revoke changes one user's membership and nothing else.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::{Value, json};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::rpc::Request;
use trove_couchdb_tests::until::{HUNG, until_hit};

#[tokio::test(flavor = "multi_thread")]
async fn granted_listed_and_revoked() -> Result<()> {
    let fixture = FixtureBuilder::default().encrypted().up().await?;
    let (one, two, al) = (fixture.name("one"), fixture.name("two"), fixture.name("al"));
    fixture.databases(&[&one, &two]).await?;
    let user = fixture.user(&al, &[]).await?;
    assert_eq!(fixture.grant(&al, &[&one, &two]).await?, Value::Null);
    assert_eq!(fixture.grant(&al, &[&one]).await?, Value::Null);
    assert_eq!(fixture.security(&one).await?["members"]["names"], json!([al]), "no duplicate");
    let listed = fixture.call("list_access", json!({"username": al, "hostname": "%"})).await?;
    let object = |name: &str| json!({"_name": name, "_collate": null, "_character_set": null});
    assert_eq!(listed, json!([object(&one), object(&two)]));
    assert_eq!(fixture.revoke(&al, &one).await?, Value::Null);
    assert_eq!(fixture.revoke(&al, &one).await?, Value::Null, "again is harmless");
    assert!(!fixture.client.reads(&one, Some(&user)).await?);
    assert!(fixture.client.reads(&two, Some(&user)).await?);
    Ok(())
}

/// All other entries of `_security` stay, and a database without members left is still closed.
///
/// Mutations: last-member-opens, grant-drops-unknown-keys.
#[tokio::test(flavor = "multi_thread")]
async fn one_name_changes_and_nothing_else() -> Result<()> {
    let fixture = FixtureBuilder::default().up().await?;
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[]).await?;
    let object = |names: Value| {
        json!({
            "members": {"names": names, "roles": ["staff"], "note": "by hand"},
            "admins": {"names": ["boss", al], "roles": ["_admin", "ops"]},
            "cloudant": {"nobody": ["_reader"]}, "couchdb_auth_only": true,
        })
    };
    fixture.set_security(&db, &object(json!(["bo", "cy"]))).await?;
    fixture.grant(&al, &[&db]).await?;
    assert_eq!(fixture.security(&db).await?, object(json!(["bo", "cy", al])));
    fixture.revoke(&al, &db).await?;
    assert_eq!(fixture.security(&db).await?, object(json!(["bo", "cy"])));

    fixture.set_security(&db, &json!({"members": {"names": [al]}, "kept": 1})).await?;
    fixture.revoke(&al, &db).await?;
    assert!(!fixture.client.reads(&db, None).await? && !fixture.anonymous_writes(&db).await?);
    assert_eq!(fixture.security(&db).await?["kept"], 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_users_and_databases_are_named_and_nothing_changes() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (db, nowhere, al, ghost) =
        (fixture.name("db"), fixture.name("nowhere"), fixture.name("al"), fixture.name("ghost"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[]).await?;
    let before = fixture.security(&db).await?;
    let error = fixture.grant(&al, &[&db, &nowhere]).await.unwrap_err().to_string();
    assert!(error.contains("DatabaseNotFound") && error.contains(&nowhere), "{error}");
    let error = fixture.revoke(&al, &nowhere).await.unwrap_err().to_string();
    assert!(error.contains("DatabaseNotFound"), "{error}");
    let error = fixture
        .call("list_access", json!({"username": ghost, "hostname": "%"}))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("UserNotFound"), "{error}");
    assert_eq!(fixture.security(&db).await?, before);
    Ok(())
}

/// Mutation: system-databases-can-be-named (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn system_databases_and_accounts_can_not_be_granted() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[]).await?;
    let users = fixture.security("_users").await?;
    for database in ["_users", "_replicator", "_global_changes", "_node/_local/_config", "_session"] {
        assert!(fixture.grant(&al, &[database]).await.is_err(), "{database}");
        assert!(fixture.revoke(&al, database).await.is_err(), "{database}");
    }
    for user in ["os_admin", "root"] {
        let error = fixture.grant(user, &[&db]).await.unwrap_err().to_string();
        assert!(error.contains("reserved"), "{error}");
    }
    assert_eq!(fixture.security("_users").await?, users);
    Ok(())
}

/// Mutation: grant-replaces-members (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_grants_all_stand() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (db, other) = (fixture.name("db"), fixture.name("other"));
    fixture.databases(&[&db, &other]).await?;
    let names: Vec<String> = (0..12).map(|number| fixture.name(&format!("u{number:02}"))).collect();
    let users: Vec<Value> =
        names.iter().map(|name| json!({"_name": name, "_password": "pw", "_databases": []})).collect();
    fixture.must_cast("create_user", json!({ "users": users })).await?;
    let databases = [db.as_str(), other.as_str()];
    let grants = names.iter().map(|name| fixture.grant(name, &databases));
    for granted in join_all(grants).await {
        granted?;
    }
    for database in databases {
        let security = fixture.security(database).await?;
        let mut members: Vec<&str> = security["members"]["names"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        members.sort_unstable();
        assert_eq!(members, names, "{database}");
    }
    Ok(())
}

/// An overwritten `_security` is noticed when it is read back, and repaired.
///
/// Mutation: security-not-read-back (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_lost_is_written_again() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[]).await?;
    let faults = fixture.memory()?.faults();
    // The first PUT is answered with success but stores nothing.
    faults.add(
        Rule::new("PUT", "*/_security", Fault::Answer { status: 200, body: r#"{"ok":true}"#.to_owned() })
            .times(1),
    );
    fixture.grant(&al, &[&db]).await?;
    assert_eq!(faults.hits(), 1);
    assert_eq!(fixture.security(&db).await?["members"]["names"], json!([al]));
    Ok(())
}

/// Commands on the same user keep their order; a read sees earlier commands; other commands do not wait.
///
/// Mutations: turn-given-up-early, grant-without-its-database, grant-without-its-user (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn order_is_kept_where_it_matters() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (slow, quick, al, bo) =
        (fixture.name("slow"), fixture.name("quick"), fixture.name("al"), fixture.name("bo"));
    fixture.databases(&[&slow, &quick]).await?;
    fixture.user(&al, &[]).await?;
    fixture.user(&bo, &[]).await?;
    let path = format!("/{slow}/_security");
    fixture.memory()?.faults().add(Rule::new("PUT", &path, Fault::Hang).times(1));
    let send = async |method: &str, args: Value| -> Result<_> {
        let call = fixture.rpc.encode_call(&Request::new(method, args));
        let reply = fixture.rpc.expect_reply(&call);
        fixture.rpc.send(&call).await?;
        Ok(reply)
    };
    let granted = send("grant_access", json!({"username": al, "hostname": "%", "databases": [slow]})).await?;
    until_hit(fixture.memory()?).await?;
    fixture.grant(&bo, &[&quick]).await?; // An unrelated command does not wait.

    // The grant locks its user and its database: the first two commands wait for the user, the third for the
    // database.
    let changed = send("change_passwords", json!({"users": [{"name": al, "password": "new"}]})).await?;
    let listed = send("list_databases", json!({})).await?;
    let access = send("list_access", json!({"username": al, "hostname": "%"})).await?;
    // A later reply shows that they have arrived.
    fixture.call("rpc_ping", json!({})).await?;
    let status = fixture.call("get_agent_status", json!({})).await?;
    let commands = &status["commands"];
    assert_eq!((&commands["running"], &commands["waiting"]), (&json!(1), &json!(3)), "{status}");
    fixture.memory()?.faults().clear();
    for reply in [granted, changed, listed] {
        reply.within(HUNG).await?;
    }
    let access = access.within(HUNG).await?;
    assert_eq!(access.as_array().unwrap().len(), 1, "the read saw the grant that came before it");
    Ok(())
}

/// The caller was already told that the call failed, and may have sent other commands since.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_not_run_after_its_caller_has_given_up() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let (slow, other, al) = (fixture.name("slow"), fixture.name("other"), fixture.name("al"));
    fixture.databases(&[&slow, &other]).await?;
    fixture.user(&al, &[]).await?;
    fixture
        .memory()?
        .faults()
        .add(Rule::new("PUT", &format!("/{slow}/_security"), Fault::DelayMs(3000)).times(1));
    let grant = |database: &str| {
        Request::new("grant_access", json!({"username": al, "hostname": "%", "databases": [database]}))
    };
    let first = fixture.rpc.encode_call(&grant(&slow));
    let granted = fixture.rpc.expect_reply(&first);
    fixture.rpc.send(&first).await?;
    let late =
        fixture.rpc.request(&grant(&other).timeout(Duration::from_secs(2))).await.unwrap_err().to_string();
    assert!(late.contains("Busy") && late.contains("try again"), "told why, before its own time-out: {late}");
    granted.within(HUNG).await?;
    let access = fixture.call("list_access", json!({"username": al, "hostname": "%"})).await?;
    assert_eq!(access.as_array().unwrap().len(), 1, "only the first: {access}");
    Ok(())
}
