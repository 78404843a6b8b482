//! Commands that an outage of CouchDB interrupts for longer than their retry timeout: the unfinished state is
//! marked, and the same command finishes it.

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::{Value, json};
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixtureBuilder};
use trove_couchdb_tests::rpc::CallError;
use trove_couchdb_tests::until::until;

const DATABASES: usize = 5;

/// A fixture with databases, the last of which is not writable.
async fn fixture() -> Result<(LocalFixture, Vec<String>)> {
    let fixture = LocalFixtureBuilder::default()
        .in_memory(Options { iterations: Some(1_000), ..Options::default() })
        .set("couchdb.sha256_iterations", 1_000)
        .set("rpc.call_retry_timeout", 1)
        .up()
        .await?;
    until("a login", async || {
        Ok(fixture.call("get_agent_status", json!({})).await?["couchdb"]["state"] == "healthy")
    })
    .await?;
    let databases: Vec<String> = (0..DATABASES).map(|number| fixture.name(&format!("db{number}"))).collect();
    fixture.databases(&databases.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    Ok((fixture, databases))
}

/// Makes the last database's `_security` unwritable from now on.
fn cut(fixture: &LocalFixture, databases: &[String]) -> Result<()> {
    let path = format!("/{}/_security", databases[DATABASES - 1]);
    fixture.memory()?.faults().add(Rule::new("PUT", &path, Fault::Cut));
    Ok(())
}

fn new_user(name: &str, password: &str, databases: &[String]) -> Value {
    json!({"users": [{"_name": name, "_host": "%", "_password": password, "_databases": databases}]})
}

fn rename(name: &str, new: &str, password: &str) -> Value {
    json!({"username": name, "hostname": "%", "user_attrs": {"name": new, "password": password}})
}

fn failure(result: Result<Value, CallError>) -> String {
    result.unwrap_err().to_string()
}

async fn document(fixture: &LocalFixture, name: &str) -> Result<Option<Value>> {
    let path = format!("/_users/org.couchdb.user%3A{name}");
    let (status, body) = fixture.client.get(&path, Some(fixture.couch.admin())).await?;
    Ok(status.is_success().then_some(body))
}

async fn reads_all(fixture: &LocalFixture, databases: &[String], login: &Credentials) -> Result<bool> {
    for database in databases {
        if !fixture.client.reads(database, Some(login)).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Mutation: half-made-users-are-not-marked (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_was_cut_short_is_finished_by_the_same_command_and_by_no_other() -> Result<()> {
    let (fixture, databases) = fixture().await?;
    let al = fixture.name("al");
    cut(&fixture, &databases)?;
    let error = failure(fixture.call("create_user", new_user(&al, "pw-1", &databases)).await);
    for part in
        ["broke off", "exists, with access to at least", "of 5 databases; send the same command again"]
    {
        assert!(error.contains(part), "{error}");
    }
    fixture.memory()?.faults().clear();

    // Meanwhile it is a normal user: listed, shown, with a password that can be changed.
    let shown = fixture.call("get_user", json!({"username": al, "hostname": "%"})).await?;
    assert_eq!(shown["_name"], al.as_str());
    let change = json!({"users": [{"name": al, "host": "%", "password": "pw-2"}]});
    fixture.call("change_passwords", change).await?;
    assert!(fixture.client.logs_in(&Credentials::new(&al, "pw-2")).await?);
    let other = failure(fixture.call("create_user", new_user(&al, "pw-3", &databases[..1])).await);
    assert!(other.contains("half made by a create_user with 5 database(s)"), "{other}");

    let more = databases.iter().rev().cloned().collect::<Vec<_>>();
    fixture.call("create_user", new_user(&al, "pw-4", &more)).await?;
    assert!(reads_all(&fixture, &databases, &Credentials::new(&al, "pw-4")).await?);
    assert!(fixture.client.refuses(&Credentials::new(&al, "pw-2")).await?);
    assert!(document(&fixture, &al).await?.unwrap().get("trove_unfinished").is_none());
    let taken = failure(fixture.call("create_user", new_user(&al, "pw-5", &databases)).await);
    assert!(taken.contains("already exists; change its password"), "{taken}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_made_user_can_be_deleted() -> Result<()> {
    let (fixture, databases) = fixture().await?;
    let al = fixture.name("al");
    cut(&fixture, &databases)?;
    failure(fixture.call("create_user", new_user(&al, "pw-1", &databases)).await);
    fixture.memory()?.faults().clear();
    fixture.call("delete_user", json!({"user": {"_name": al, "_host": "%"}})).await?;
    let new = fixture.user(&al, &[]).await?;
    for database in &databases {
        assert!(!fixture.client.reads(database, Some(&new)).await?, "{database}");
    }
    Ok(())
}

/// Mutation: half-renamed-users-are-deleted (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_was_cut_short_is_finished_by_the_same_command_and_loses_nothing_before() -> Result<()>
{
    let (fixture, databases) = fixture().await?;
    let (al, zoe, bo) = (fixture.name("al"), fixture.name("zoe"), fixture.name("bo"));
    fixture.user(&al, &databases.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    cut(&fixture, &databases)?;
    let error = failure(fixture.call("update_attributes", rename(&al, &zoe, "pw-1")).await);
    for part in ["both exist, and at least", "send the same command again"] {
        assert!(error.contains(part), "{error}");
    }
    fixture.memory()?.faults().clear();

    let delete = |name: &str| json!({"user": {"_name": name, "_host": "%"}});
    let change = |name: &str| json!({"users": [{"name": name, "host": "%", "password": "pw-2"}]});
    for (method, args) in [
        ("delete_user", delete(&al)),
        ("delete_user", delete(&zoe)),
        ("change_passwords", change(&al)),
        ("change_passwords", change(&zoe)),
        ("create_user", new_user(&al, "pw-2", &[])),
        ("create_user", new_user(&zoe, "pw-2", &[])),
        ("update_attributes", rename(&al, &bo, "pw-2")),
        ("update_attributes", rename(&zoe, &al, "pw-2")),
    ] {
        let refused = failure(fixture.call(method, args.clone()).await);
        let cause = format!("the rename of user {al:?} to {zoe:?} was cut short");
        assert!(refused.contains(&cause), "{method} {args}: {refused}");
    }
    fixture.call("update_attributes", rename(&al, &zoe, "pw-3")).await?;
    assert!(reads_all(&fixture, &databases, &Credentials::new(&zoe, "pw-3")).await?);
    assert!(document(&fixture, &al).await?.is_none());
    assert!(document(&fixture, &zoe).await?.unwrap().get("trove_unfinished").is_none());
    fixture.call("delete_user", delete(&zoe)).await?;
    Ok(())
}

/// Meanwhile a different user got the old name, without the agent: the rename must not remove that user's
/// access.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_was_cut_short_is_not_finished_with_another_user() -> Result<()> {
    let (fixture, databases) = fixture().await?;
    let (al, zoe) = (fixture.name("al"), fixture.name("zoe"));
    fixture.user(&al, &databases.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    cut(&fixture, &databases)?;
    failure(fixture.call("update_attributes", rename(&al, &zoe, "pw-1")).await);
    fixture.memory()?.faults().clear();

    let path = format!("/_users/org.couchdb.user%3A{al}");
    let admin = Some(fixture.couch.admin());
    let rev = document(&fixture, &al).await?.unwrap()["_rev"].as_str().unwrap().to_owned();
    let other = json!({"_rev": rev, "type": "user", "name": al, "roles": [], "password": "theirs"});
    assert!(fixture.client.put(&path, admin, &other).await?.0.is_success());

    let refused = failure(fixture.call("update_attributes", rename(&al, &zoe, "pw-1")).await);
    assert!(refused.contains("already exists"), "{refused}");
    let last = &databases[DATABASES - 1];
    assert!(fixture.client.reads(last, Some(&Credentials::new(&al, "theirs"))).await?);
    // The remaining mark no longer has an effect.
    fixture.call("delete_user", json!({"user": {"_name": zoe, "_host": "%"}})).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_no_member_is_found_before_the_user_is_made() -> Result<()> {
    let (fixture, databases) = fixture().await?;
    let al = fixture.name("al");
    let odd = json!({"members": {"names": {"al": true}}});
    let spoilt = Fault::Answer { status: 200, body: odd.to_string() };
    fixture.memory()?.faults().add(Rule::new("GET", &format!("/{}/_security", databases[2]), spoilt));
    let error = failure(fixture.call("create_user", new_user(&al, "pw-1", &databases)).await);
    assert!(error.contains(&databases[2]) && error.contains("not of the shape"), "{error}");
    assert!(document(&fixture, &al).await?.is_none());
    Ok(())
}
