//! Settings of the server: password rules, limits for rounds, a different users database, conflicting
//! documents, and maintenance mode. Success is reported only if the user can log in, and a refusal has the
//! server's reason.

use anyhow::Result;
use in_memory_couchdb::Options;
use serde_json::{Value, json};
use trove_couchdb_tests::couch::{Credentials, Method};
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixtureBuilder};
use trove_couchdb_tests::rpc::CallError;
use trove_couchdb_tests::until::until;

const RULE: &str = r#"[{".{10,}", "Password min length is 10 chars."}]"#;
const REASON: &str = "Password does not conform to requirements. Password min length is 10 chars.";

/// A fixture whose server has these settings, once the agent has its login.
async fn stage_with(settings: &[(&str, &str, &str)]) -> Result<LocalFixture> {
    stage_of(1_000, settings).await
}

/// A fixture whose server hashes with this many rounds.
async fn stage_of(iterations: u32, settings: &[(&str, &str, &str)]) -> Result<LocalFixture> {
    let options = Options { iterations: Some(iterations), ..Options::default() };
    let options =
        settings.iter().fold(options, |options, (section, key, value)| options.set(section, key, value));
    let fixture = LocalFixtureBuilder::default()
        .in_memory(options)
        .set("couchdb.sha256_iterations", 5_000)
        .set("rpc.call_retry_timeout", 1)
        .set("heartbeat.interval", 1)
        .up()
        .await?;
    until("a login", async || Ok(state(&fixture).await?.0 == "healthy")).await?;
    Ok(fixture)
}

/// The state of CouchDB as reported by the agent.
async fn state(fixture: &LocalFixture) -> Result<(Value, String)> {
    let status = fixture.call("get_agent_status", json!({})).await?;
    let couchdb = &status["couchdb"];
    Ok((couchdb["state"].clone(), couchdb["reason"].as_str().unwrap_or_default().to_owned()))
}

async fn configure(fixture: &LocalFixture, key: &str, value: &str) -> Result<()> {
    let path = format!("/_node/_local/_config/{key}");
    let (status, body) = fixture.client.put(&path, Some(fixture.couch.admin()), &json!(value)).await?;
    anyhow::ensure!(status.is_success(), "PUT {path}: {body}");
    Ok(())
}

fn new_user(name: &str, password: &str) -> Value {
    json!({"_name": name, "_host": "%", "_password": password, "_databases": []})
}

fn change(name: &str, password: &str) -> Value {
    json!({"users": [{"name": name, "host": "%", "password": password}]})
}

fn failure(result: Result<Value, CallError>) -> String {
    result.unwrap_err().to_string()
}

async fn document(fixture: &LocalFixture, name: &str) -> Result<Option<Value>> {
    let path = format!("/_users/org.couchdb.user%3A{name}");
    let (status, body) = fixture.client.get(&path, Some(fixture.couch.admin())).await?;
    Ok(status.is_success().then_some(body))
}

/// Mutation: password-rules-not-asked (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_rules_decide_on_every_password() -> Result<()> {
    let fixture = stage_with(&[("chttpd_auth", "password_regexp", RULE)]).await?;
    let (al, bo, zoe) = (fixture.name("al"), fixture.name("bo"), fixture.name("zoe"));
    let good = "long-enough-1";
    let refused = |error: &str| {
        assert!(error.contains(REASON) && !error.contains("sh0rt"), "{error}");
    };
    let two = json!({"users": [new_user(&al, good), new_user(&bo, "sh0rt")]});
    refused(&failure(fixture.call("create_user", two).await));
    assert!(document(&fixture, &al).await?.is_none() && document(&fixture, &bo).await?.is_none());

    fixture.call("create_user", json!({"users": [new_user(&al, good)]})).await?;
    let stored = document(&fixture, &al).await?.unwrap();
    assert!(stored.get("password").is_none() && stored["derived_key"].is_string());
    refused(&failure(fixture.call("change_passwords", change(&al, "sh0rt")).await));
    let rename = |password: &str| json!({"username": al, "hostname": "%", "user_attrs": {"name": zoe, "password": password}});
    refused(&failure(fixture.call("update_attributes", rename("sh0rt")).await));
    assert!(document(&fixture, &zoe).await?.is_none());
    assert!(fixture.client.logs_in(&Credentials::new(&al, good)).await?);
    fixture.call("change_passwords", change(&al, "long-enough-2")).await?;
    assert!(fixture.client.logs_in(&Credentials::new(&al, "long-enough-2")).await?);
    fixture.call("update_attributes", rename("long-enough-3")).await?;
    assert!(fixture.client.logs_in(&Credentials::new(&zoe, "long-enough-3")).await?);

    // CouchDB itself has no rules for server administrators.
    refused(&failure(fixture.call("enable_root_with_password", json!({"root_password": "sh0rt"})).await));
    assert_eq!(fixture.call("is_root_enabled", json!({})).await?, false);
    let root = fixture.call("enable_root", json!({})).await?;
    let root = Credentials::new("root", root["_password"].as_str().unwrap());
    assert!(fixture.client.logs_in(&root).await?);
    assert!(document(&fixture, "root").await?.is_none(), "what asked for the rules is stored nowhere");
    fixture.call("disable_root", json!({})).await?;

    // A change of the rules takes effect at once.
    configure(&fixture, "chttpd_auth/password_regexp", "[]").await?;
    fixture.call("change_passwords", change(&zoe, "sh0rt")).await?;
    assert!(fixture.client.logs_in(&Credentials::new(&zoe, "sh0rt")).await?);
    configure(&fixture, "chttpd_auth/password_regexp", "no list").await?;
    let error = failure(fixture.call("change_passwords", change(&zoe, good)).await);
    assert!(error.contains("Server cannot hash passwords at this time."), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_password_of_root_keeps_common_rules() -> Result<()> {
    let rules = r#"[".{12,}", "[A-Z]+", "[a-z]+", "\\d+"]"#;
    let fixture = stage_with(&[("chttpd_auth", "password_regexp", rules)]).await?;
    let root = fixture.call("enable_root", json!({})).await?;
    let root = Credentials::new("root", root["_password"].as_str().unwrap());
    assert!(fixture.client.logs_in(&root).await?);
    fixture.call("disable_root", json!({})).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_keep_to_the_servers_limits_for_rounds() -> Result<()> {
    // At the first login CouchDB replaces a hash with a different number of rounds.
    let fixture = stage_of(900, &[]).await?;
    configure(&fixture, "chttpd_auth/max_iterations", "900").await?;
    let user = fixture.user(&fixture.name("al"), &[]).await?;
    assert!(fixture.client.logs_in(&user).await?);
    assert_eq!(document(&fixture, &user.name).await?.unwrap()["iterations"], 900);
    Ok(())
}

/// Mutation: users-elsewhere-are-not-noticed (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn users_that_couchdb_looks_for_elsewhere_are_not_made() -> Result<()> {
    let fixture = stage_with(&[]).await?;
    let al = fixture.user(&fixture.name("al"), &[]).await?;
    configure(&fixture, "chttpd_auth/authentication_db", "people").await?;
    let bo = fixture.name("bo");
    for (method, args) in [
        ("create_user", json!({"users": [new_user(&bo, "pw")]})),
        ("change_passwords", change(&al.name, "pw")),
        ("update_attributes", json!({"username": al.name, "hostname": "%", "user_attrs": {"name": bo}})),
    ] {
        let error = failure(fixture.call(method, args).await);
        assert!(
            error.contains(r#"looks for users in database "people" (authentication_db of [chttpd_auth])"#),
            "{error}"
        );
    }
    assert!(document(&fixture, &bo).await?.is_none());
    Ok(())
}

/// Adds a conflicting revision of a user's document.
async fn plant_conflict(fixture: &LocalFixture, name: &str, edit: impl Fn(&mut Value)) -> Result<()> {
    let mut other = document(fixture, name).await?.unwrap();
    other["_rev"] = json!("1-00000000000000000000000000000001");
    other["salt"] = json!("another");
    edit(&mut other);
    let body = json!({"docs": [other], "new_edits": false});
    let admin = Some(fixture.couch.admin());
    let (status, body) =
        fixture.client.request(Method::POST, "/_users/_bulk_docs", admin, Some(&body)).await?;
    anyhow::ensure!(status.is_success(), "{body}");
    Ok(())
}

/// CouchDB refuses every login of a user whose document has conflicts.
///
/// Mutation: conflicts-of-users-stay (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_resolves_conflicts_in_which_nothing_is_lost_and_names_others() -> Result<()> {
    let fixture = stage_with(&[]).await?;
    let al = fixture.user(&fixture.name("al"), &[]).await?;
    plant_conflict(&fixture, &al.name, |_| {}).await?;
    assert!(fixture.client.refuses(&al).await?, "this is why it matters");
    fixture.call("change_passwords", change(&al.name, "pw-2")).await?;
    assert!(fixture.client.logs_in(&Credentials::new(&al.name, "pw-2")).await?);

    let bo = fixture.user(&fixture.name("bo"), &[]).await?;
    plant_conflict(&fixture, &bo.name, |other| other["roles"] = json!(["staff"])).await?;
    let before = document(&fixture, &bo.name).await?;
    let rename = json!({"username": bo.name, "hostname": "%", "user_attrs": {"name": fixture.name("zoe")}});
    for (method, args) in [("change_passwords", change(&bo.name, "pw-2")), ("update_attributes", rename)] {
        let error = failure(fixture.call(method, args).await);
        assert!(
            error.contains("has 1 conflicting revision(s) that differ in more than the password"),
            "{error}"
        );
    }
    assert_eq!(document(&fixture, &bo.name).await?, before);
    Ok(())
}

/// Mutation: maintenance-is-healthy (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_in_maintenance_mode_is_not_healthy_and_commands_say_so() -> Result<()> {
    let fixture = stage_with(&[]).await?;
    let al = fixture.user(&fixture.name("al"), &[]).await?;
    configure(&fixture, "couchdb/maintenance_mode", "true").await?;
    until("it is seen", async || Ok(state(&fixture).await?.0 == "maintenance")).await?;
    assert!(state(&fixture).await?.1.contains("in maintenance mode"), "{:?}", state(&fixture).await?);
    for (method, args) in [
        ("list_databases", json!({})),
        ("change_passwords", change(&al.name, "pw")),
        ("get_user", json!({"username": al.name, "hostname": "%"})),
    ] {
        let error = failure(fixture.call(method, args).await);
        assert!(error.contains("in maintenance mode"), "{method}: {error}");
    }
    // The mode "nolb" only removes the node from load balancing; it still serves.
    configure(&fixture, "couchdb/maintenance_mode", "nolb").await?;
    until("it is over", async || Ok(state(&fixture).await?.0 == "healthy")).await?;
    fixture.call("change_passwords", change(&al.name, "pw")).await?;
    Ok(())
}
