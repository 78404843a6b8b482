//! CouchDB 1.x and 2.x, which have no recordings, and the speed of the in-memory server.
//!
//! The expectations are those of the 1.6.1 and 2.3.1 manuals and sources.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use client::{Response, basic, try_send};
use in_memory_couchdb::{InMemoryCouch, Options, Version};
use serde_json::{Value, json};

const READY_SHA1: &str =
    "-pbkdf2-c02dd71445a9b228796a069d0e5b1056e11b5891,5a7ba6e0a0d2f1b9c1cd3b8a7c7d4a33,10";

async fn anonymous(couch: &InMemoryCouch, method: &str, target: &str, body: &str) -> Response {
    try_send(couch.port(), method, target, &BTreeMap::new(), body).await.unwrap()
}

async fn as_user(
    couch: &InMemoryCouch,
    user: (&str, &str),
    method: &str,
    target: &str,
    body: &str,
) -> Response {
    try_send(couch.port(), method, target, &basic(user.0, user.1), body).await.unwrap()
}

#[tokio::test]
async fn couchdb_1x_starts_as_an_admin_party_with_system_databases() {
    let couch = InMemoryCouch::start(Options::new(Version::V1)).await.unwrap();
    let welcome = anonymous(&couch, "GET", "/", "").await.json();
    assert_eq!((&welcome["version"], &welcome["vendor"]["version"]), (&json!("1.6.1"), &json!("1.6.1")));
    assert_eq!(anonymous(&couch, "GET", "/_all_dbs", "").await.json(), json!(["_replicator", "_users"]));
    assert_eq!(anonymous(&couch, "GET", "/_users/_design/_auth", "").await.status, 200);
    assert_eq!(anonymous(&couch, "GET", "/_node/_local/_config/admins", "").await.status, 404);
    assert_eq!(anonymous(&couch, "GET", "/db", "").await.json()["reason"], "no_db_file");
    assert_eq!(anonymous(&couch, "PUT", "/db", "").await.status, 201);
    assert_eq!(anonymous(&couch, "GET", "/db/_security", "").await.json(), json!({}));
    assert_eq!(anonymous(&couch, "PUT", "/_config/admins/boss", "\"pw\"").await.json(), json!(""));
    // 1.x hashes before it answers.
    let stored = as_user(&couch, ("boss", "pw"), "GET", "/_config/admins/boss", "").await.json();
    assert!(stored.as_str().unwrap().starts_with("-pbkdf2-"), "{stored}");
    assert_eq!(anonymous(&couch, "GET", "/_config/admins", "").await.status, 401);
    assert_eq!(anonymous(&couch, "PUT", "/db2", "").await.status, 401);
}

#[tokio::test]
async fn couchdb_1x_hashes_a_ready_hash_again_unless_it_is_raw() {
    let couch = InMemoryCouch::start(Options::new(Version::V1)).await.unwrap();
    let hash = Value::from(READY_SHA1).to_string();
    anonymous(&couch, "PUT", "/_config/admins/raw?raw=true", &hash).await;
    assert_eq!(as_user(&couch, ("raw", "bobpw"), "GET", "/_config/admins/raw", "").await.json(), READY_SHA1);
    as_user(&couch, ("raw", "bobpw"), "PUT", "/_config/admins/twice", &hash).await;
    assert_eq!(as_user(&couch, ("twice", "bobpw"), "GET", "/_session", "").await.status, 401);
    assert_eq!(as_user(&couch, ("twice", READY_SHA1), "GET", "/_session", "").await.status, 200);
}

#[tokio::test]
async fn couchdb_2x_is_a_party_on_the_node_path_and_leaves_databases_open() {
    let mut options = Options::new(Version::V2);
    options.settle_after = Duration::from_millis(1);
    let couch = InMemoryCouch::start(options).await.unwrap();
    assert_eq!(anonymous(&couch, "GET", "/_all_dbs", "").await.json(), json!([]));
    assert_eq!(anonymous(&couch, "PUT", "/_users", "").await.status, 201);
    let hash = Value::from(READY_SHA1).to_string();
    assert_eq!(anonymous(&couch, "PUT", "/_node/_local/_config/admins/boss", &hash).await.status, 200);
    let boss = ("boss", "bobpw");
    assert_eq!(as_user(&couch, boss, "PUT", "/db", "").await.status, 201);
    assert_eq!(anonymous(&couch, "PUT", "/db/doc", "{}").await.status, 201, "open by default");
    let user = json!({ "name": "u", "password": "upw", "roles": [], "type": "user" }).to_string();
    assert_eq!(as_user(&couch, boss, "PUT", "/_users/org.couchdb.user:u", &user).await.status, 201);
    let own = as_user(&couch, ("u", "upw"), "GET", "/_users/org.couchdb.user:u", "").await.json();
    assert_eq!((&own["iterations"], own.get("pbkdf2_prf")), (&json!(10), None));
    let session = as_user(&couch, ("u", "upw"), "GET", "/_session", "").await.json();
    assert_eq!(session["info"]["authentication_db"], "_users");
    assert_eq!(as_user(&couch, ("u", "upw"), "GET", "/_users/_all_docs", "").await.status, 403);
}

#[tokio::test]
async fn strict_settings_count_at_once() {
    let couch = InMemoryCouch::start(Options::new(Version::V3_3).admin("boss", "pw")).await.unwrap();
    let boss = ("boss", "pw");
    assert_eq!(anonymous(&couch, "GET", "/", "").await.status, 200);
    let key = "/_node/_local/_config/chttpd/require_valid_user";
    assert_eq!(as_user(&couch, boss, "PUT", key, "\"true\"").await.json(), "");
    assert_eq!(anonymous(&couch, "GET", "/_up", "").await.status, 401);
    assert_eq!(as_user(&couch, boss, "DELETE", key, "").await.json(), "true");
    let key = "/_node/_local/_config/chttpd/require_valid_user_except_for_up";
    as_user(&couch, boss, "PUT", key, "\"true\"").await;
    assert_eq!(anonymous(&couch, "GET", "/_up", "").await.status, 200);
    assert_eq!(anonymous(&couch, "GET", "/", "").await.status, 401);
}

#[tokio::test]
async fn a_batch_of_users_has_a_result_each() {
    let mut options = Options::new(Version::V3_5).admin("boss", "pw");
    options.iterations = Some(10);
    options.settle_after = Duration::ZERO;
    let couch = InMemoryCouch::start(options).await.unwrap();
    let boss = ("boss", "pw");
    as_user(&couch, boss, "PUT", "/_users", "").await;
    while as_user(&couch, boss, "GET", "/_users/_design/_auth", "").await.status != 200 {
        tokio::task::yield_now().await;
    }
    let user = |name: &str| json!({ "_id": format!("org.couchdb.user:{name}"), "name": name, "roles": [], "type": "user" });
    let docs = json!({ "docs": [user("a"), user("_b"), user("a")] }).to_string();
    let results = as_user(&couch, boss, "POST", "/_users/_bulk_docs", &docs).await.json();
    assert_eq!(results[0]["ok"], true);
    assert_eq!(results[1]["reason"], "Username may not start with underscore.");
    assert_eq!(results[2]["error"], "conflict");
}

/// A real server takes 0.24 ms each; the limit only detects a slowness that would spoil the agent's
/// measurements.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_security_objects_are_read_quickly() {
    let mut options = Options::new(Version::V3_5).admin("boss", "pw");
    options.iterations = Some(10);
    let couch = InMemoryCouch::start(options).await.unwrap();
    let boss = ("boss", "pw");
    for number in 0..1000 {
        assert_eq!(as_user(&couch, boss, "PUT", &format!("/db{number}"), "").await.status, 201);
    }
    let started = Instant::now();
    for number in 0..1000 {
        assert_eq!(as_user(&couch, boss, "GET", &format!("/db{number}/_security"), "").await.status, 200);
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "1,000 requests took {took:?}");
    println!("1,000 GET _security took {took:?}");
}
