//! The thirteen bugs of the Python agent, each reproduced on a real CouchDB; each test shows that this agent
//! is free of one.

use anyhow::Result;
use in_memory_couchdb::{InMemoryCouch, Options};
use reqwest::Method;
use serde_json::{Value, json};
use trove_couchdb_tests::couch::{Credentials, escape};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder, login};
use trove_couchdb_tests::shared_server::root_alone;

async fn listed(fixture: &Fixture, user: &str) -> Result<Vec<String>> {
    Ok(Fixture::databases_of(&fixture.call("get_user", json!({"username": user, "hostname": "%"})).await?))
}

/// 1. A fresh 3.x database (`_security` without `names`) makes every call that scans it raise.
#[tokio::test(flavor = "multi_thread")]
async fn bug_01_a_fresh_database_breaks_no_scan() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (fresh, al) = (fixture.name("fresh"), fixture.name("al"));
    fixture.databases(&[&fresh]).await?;
    assert_eq!(fixture.security(&fresh).await?["members"]["names"], Value::Null);
    fixture.user(&al, &[]).await?;
    assert!(listed(&fixture, &al).await?.is_empty());
    fixture.call("list_users", json!({"limit": 20, "marker": null, "include_marker": false})).await?;
    fixture.must_cast("delete_user", json!({"user": {"_name": al}})).await
}

/// 2. A grant replaces the members and wipes admins, roles and unknown keys.
#[tokio::test(flavor = "multi_thread")]
async fn bug_02_a_grant_keeps_every_member_and_everything_else() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (db, al, bo) = (fixture.name("db"), fixture.name("al"), fixture.name("bo"));
    fixture.databases(&[&db]).await?;
    let first = fixture.user(&al, &[&db]).await?;
    let second = fixture.user(&bo, &[]).await?;
    let before = json!({
        "members": {"names": [al], "roles": ["staff"]},
        "admins": {"names": ["boss"], "roles": ["_admin", "ops"]},
        "cloudant": {"nobody": []}, "couchdb_auth_only": true, "note": "kept",
    });
    fixture.set_security(&db, &before).await?;
    fixture.grant(&bo, &[&db]).await?;
    let mut expected = before;
    expected["members"]["names"] = json!([al, bo]);
    assert_eq!(fixture.security(&db).await?, expected);
    assert!(fixture.client.reads(&db, Some(&first)).await?, "the earlier member still reads");
    assert!(fixture.client.reads(&db, Some(&second)).await?);
    Ok(())
}

/// 3. Revoking the last member makes the database public.
#[tokio::test(flavor = "multi_thread")]
async fn bug_03_the_last_member_leaves_a_closed_database() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.databases(&[&db]).await?;
    let user = fixture.user(&al, &[]).await?;
    // A `_security` written by a different tool, without the role that the agent always adds.
    fixture.set_security(&db, &json!({"members": {"names": [al]}, "admins": {}})).await?;
    assert!(fixture.client.reads(&db, Some(&user)).await?);
    fixture.revoke(&al, &db).await?;
    assert!(!fixture.client.reads(&db, None).await?, "a stranger can't read");
    assert!(!fixture.anonymous_writes(&db).await?, "a stranger can't write");
    assert!(!fixture.client.reads(&db, Some(&user)).await?);
    let security = fixture.security(&db).await?;
    assert_eq!(security["members"], json!({"names": [], "roles": ["_admin"]}));
    Ok(())
}

/// 4. Revoking one of several silently does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn bug_04_revoking_one_of_several_works() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (db, al, bo) = (fixture.name("db"), fixture.name("al"), fixture.name("bo"));
    fixture.databases(&[&db]).await?;
    let (first, second) = (fixture.user(&al, &[&db]).await?, fixture.user(&bo, &[&db]).await?);
    fixture.revoke(&al, &db).await?;
    assert!(!fixture.client.reads(&db, Some(&first)).await?);
    assert!(fixture.client.reads(&db, Some(&second)).await?);
    assert!(listed(&fixture, &al).await?.is_empty());
    assert_eq!(listed(&fixture, &bo).await?, [db]);
    Ok(())
}

/// 5. A grant to a user that doesn't exist succeeds; `get_user` of a missing user returns one.
#[tokio::test(flavor = "multi_thread")]
async fn bug_05_a_missing_user_is_missing() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (db, ghost) = (fixture.name("db"), fixture.name("ghost"));
    fixture.databases(&[&db]).await?;
    let before = fixture.security(&db).await?;
    let error = fixture.grant(&ghost, &[&db]).await.unwrap_err().to_string();
    assert!(error.contains("UserNotFound") && error.contains(&ghost), "{error}");
    assert_eq!(fixture.security(&db).await?, before);
    assert_eq!(fixture.call("get_user", json!({"username": ghost, "hostname": "%"})).await?, Value::Null);
    Ok(())
}

/// 6. `delete_user` of a missing user first rewrites every database, then raises.
#[tokio::test(flavor = "multi_thread")]
async fn bug_06_deleting_a_missing_user_touches_nothing() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (db, ghost) = (fixture.name("db"), fixture.name("ghost"));
    fixture.databases(&[&db]).await?;
    let object = json!({"members": {"names": [ghost]}, "note": "somebody else's"});
    fixture.set_security(&db, &object).await?;
    let log = fixture.couch.memory().map(InMemoryCouch::log);
    log.inspect(|log| log.clear());
    let error = fixture.cast("delete_user", json!({"user": {"_name": ghost}})).await?.unwrap_err();
    assert!(error.contains("does not exist"), "{error}");
    if let Some(log) = log {
        assert_eq!((log.count("PUT", "*"), log.count("GET", "*/_security")), (0, 0));
    }
    assert_eq!(fixture.security(&db).await?, object);
    Ok(())
}

/// 7. Shell injection through user names, database names and passwords.
#[tokio::test(flavor = "multi_thread")]
async fn bug_07_no_name_or_password_reaches_a_shell() -> Result<()> {
    let fixture = Fixture::up().await?;
    let marker = fixture.agent.directory().join("pwned");
    let command = format!("touch {}", marker.display());
    let db = fixture.name("db");
    fixture.databases(&[&db]).await?;
    for (name, password) in [
        (fixture.name("a'; touch pwned; '"), "x".to_owned()),
        (fixture.name("b$(touch pwned)"), format!("\"; {command}; \"")),
        (fixture.name("c`touch pwned`"), format!("$({command})")),
        (fixture.name("d\" & touch pwned & \""), format!("`{command}`")),
    ] {
        let user = json!({"_name": name, "_password": password, "_databases": [{"_name": db}]});
        fixture.must_cast("create_user", json!({"users": [user]})).await?;
        assert!(fixture.client.reads(&db, Some(&Credentials::new(&name, &password))).await?, "{name}");
        fixture.must_cast("delete_user", json!({"user": {"_name": name}})).await?;
    }
    let odd = json!({"databases": [{"_name": "x; touch pwned"}]});
    assert!(fixture.cast("create_database", odd).await?.is_err());
    assert!(!marker.exists());
    Ok(())
}

/// 8. Passwords readable in `ps` by any uid, and in tracebacks.
#[tokio::test(flavor = "multi_thread")]
async fn bug_08_no_process_shows_a_password() -> Result<()> {
    let fixture = Fixture::up().await?;
    let al = fixture.name("al");
    let secret = format!("planted{}", fixture.id);
    let watching = tokio::spawn({
        let secret = secret.clone();
        async move {
            let mut seen = Vec::new();
            for _ in 0..200 {
                seen.extend(command_lines_with(&secret));
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            seen
        }
    });
    let user = json!({"_name": al, "_password": secret, "_databases": []});
    fixture.must_cast("create_user", json!({"users": [user]})).await?;
    let again = fixture.cast("create_user", json!({"users": [user]})).await?.unwrap_err();
    assert!(!again.contains(&secret));
    assert!(fixture.client.logs_in(&Credentials::new(&al, &secret)).await?);
    assert_eq!(watching.await?, Vec::<String>::new());
    assert!(!fixture.agent.logs().contains(&secret));
    Ok(())
}

fn command_lines_with(text: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).into_owned()).filter(|line| line.contains(text)).collect()
}

/// 9. Reserved users are listed; a design document appears as a user.
#[tokio::test(flavor = "multi_thread")]
async fn bug_09_reserved_users_and_design_documents_are_not_users() -> Result<()> {
    let fixture = Fixture::up().await?;
    let _alone = root_alone(&fixture.couch).await;
    for name in ["os_admin", "root"] {
        // A document of the same name, created by an authorised client.
        let path = format!("/_users/org.couchdb.user:{name}");
        let document =
            json!({"_id": format!("org.couchdb.user:{name}"), "name": name, "type": "user", "roles": []});
        let (status, _) = fixture.client.put(&path, Some(fixture.couch.admin()), &document).await?;
        assert!(status.is_success() || status.as_u16() == 409, "{status}");
    }
    let page =
        fixture.call("list_users", json!({"limit": null, "marker": null, "include_marker": false})).await?;
    let names: Vec<&str> =
        page[0].as_array().unwrap().iter().filter_map(|user| user["_name"].as_str()).collect();
    assert!(
        !names.iter().any(|name| ["os_admin", "root"].contains(name) || name.contains("_design")),
        "{names:?}"
    );
    for method in ["get_user", "list_access"] {
        let error = fixture.call(method, json!({"username": "os_admin", "hostname": "%"})).await.unwrap_err();
        assert!(error.to_string().contains("reserved"), "{error}");
    }
    let error = fixture.cast("delete_user", json!({"user": {"_name": "os_admin"}})).await?.unwrap_err();
    assert!(error.contains("reserved"), "{error}");
    for name in ["os_admin", "root"] {
        let rev = fixture.user_document(name).await?.expect("it is still there")["_rev"].clone();
        let path = format!("/_users/org.couchdb.user:{name}?rev={}", rev.as_str().unwrap());
        fixture.client.request(Method::DELETE, &path, Some(fixture.couch.admin()), None).await?;
    }
    Ok(())
}

/// 10. `true` or `null` in a `_security` breaks it.
#[tokio::test(flavor = "multi_thread")]
async fn bug_10_true_and_null_in_security_are_kept() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[]).await?;
    let mut object =
        json!({"members": {"names": [], "roles": ["_admin"]}, "couchdb_auth_only": true, "note": null});
    fixture.set_security(&db, &object).await?;
    fixture.grant(&al, &[&db]).await?;
    assert_eq!(listed(&fixture, &al).await?, [db.as_str()]);
    object["members"]["names"] = json!([al]);
    assert_eq!(fixture.security(&db).await?, object);
    Ok(())
}

/// 11. Every HTTP error counts as success; with a wrong admin password `list_databases` returns databases
/// named `error` and `reason`, and the account gets locked.
#[tokio::test(flavor = "multi_thread")]
async fn bug_11_errors_are_errors_and_a_wrong_password_is_tried_once() -> Result<()> {
    let fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let memory = fixture.memory()?;
    // os_admin's password is changed without the agent.
    let other = Credentials::new("os_admin", "another");
    let path = "/_node/_local/_config/admins/os_admin";
    let hash = "-hashed-7bc44dd13fa7ac9b6b9fb4a2b4a2a2a2a2a2a2a2,salt";
    fixture.client.put(path, Some(fixture.couch.admin()), &json!(hash)).await?;
    memory.log().clear();
    for _ in 0..10 {
        let error = fixture.call("list_databases", json!({})).await.unwrap_err();
        assert!(error.to_string().contains("login") || error.to_string().contains("os_admin"), "{error}");
    }
    let refused = memory.log().entries().iter().filter(|entry| entry.status == Some(401)).count();
    // One by a command or the health check, one by bootstrap: fewer than the five that lock the account.
    assert!(refused <= 3, "{refused} refused logins");
    assert!(fixture.client.refuses(&other).await?);
    Ok(())
}

/// 12. On CouchDB 2 and later root can't be enabled, yet a password is returned; without a given password the
/// word `None` is sent.
#[tokio::test(flavor = "multi_thread")]
async fn bug_12_root_really_gets_the_password_that_is_returned() -> Result<()> {
    let fixture = Fixture::up().await?;
    let _alone = root_alone(&fixture.couch).await;
    let root = fixture.call("enable_root", json!({})).await?;
    let password = root["_password"].as_str().unwrap().to_owned();
    assert!(password.len() >= 20 && password != "None", "a real password");
    assert!(fixture.client.logs_in(&Credentials::new("root", &password)).await?);
    fixture.call("disable_root", json!({})).await?;
    assert!(fixture.client.refuses(&Credentials::new("root", &password)).await?);
    Ok(())
}

/// 13. `a/b` isn't escaped; one database name over 32 characters breaks `list_databases`.
#[tokio::test(flavor = "multi_thread")]
async fn bug_13_slashes_and_long_names_work() -> Result<()> {
    let fixture = Fixture::up().await?;
    let (slash, long) = (fixture.name("a/b+c$(x)"), fixture.name(&"l".repeat(200)));
    let al = fixture.name("al");
    fixture.databases(&[&slash, &long]).await?;
    fixture.user(&al, &[&slash, &long]).await?;
    let listed = fixture
        .call("list_databases", json!({"limit": null, "marker": null, "include_marker": false}))
        .await?;
    let names: Vec<&str> =
        listed[0].as_array().unwrap().iter().filter_map(|db| db["_name"].as_str()).collect();
    assert!(names.contains(&slash.as_str()) && names.contains(&long.as_str()), "{names:?}");
    let path = escape(&slash);
    assert!(fixture.client.reads(&path, Some(&login(&al))).await?);
    assert!(!fixture.client.reads(&path, None).await?);
    fixture.must_cast("delete_database", json!({"database": {"_name": slash}})).await?;
    assert!(!fixture.client.reads(&path, Some(fixture.couch.admin())).await?);
    Ok(())
}
