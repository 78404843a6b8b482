//! Fault injection, stop and start: what the agent's tests rely on when they break CouchDB.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use client::{Response, basic, try_send};
use in_memory_couchdb::{Fault, InMemoryCouch, Options, Rule, Version};
use serde_json::json;

async fn node(options: Options) -> InMemoryCouch {
    let mut options = options.admin("boss", "pw");
    options.iterations = Some(10);
    InMemoryCouch::start(options).await.unwrap()
}

async fn ask(couch: &InMemoryCouch, method: &str, target: &str) -> std::io::Result<Response> {
    try_send(couch.port(), method, target, &basic("boss", "pw"), "").await
}

#[tokio::test]
async fn a_lost_reply_took_effect_only_if_told_to() {
    let couch = node(Options::default()).await;
    couch.faults().add(Rule::new("PUT", "/lost", Fault::Cut).times(1));
    couch.faults().add(Rule::new("PUT", "/made", Fault::Cut).times(1).after_effect());
    ask(&couch, "PUT", "/lost").await.unwrap_err();
    ask(&couch, "PUT", "/made").await.unwrap_err();
    assert_eq!(ask(&couch, "GET", "/_all_dbs").await.unwrap().json(), json!(["made"]));
    assert_eq!(ask(&couch, "PUT", "/made").await.unwrap().status, 412);
    assert_eq!(couch.faults().hits(), 2);
    assert_eq!(couch.log().count("PUT", "/*"), 3);
    let cut = couch.log().entries().remove(0);
    assert_eq!((cut.target.as_str(), cut.status), ("/lost", None));
}

#[tokio::test]
async fn an_answer_can_break_off_in_its_body() {
    let couch = node(Options::default()).await;
    couch.faults().add(Rule::new("GET", "/", Fault::CutMidBody).times(1));
    let broken = ask(&couch, "GET", "/").await.unwrap();
    assert_eq!(broken.status, 200);
    assert!(!broken.body.is_empty() && !broken.is_complete(), "{broken:?}");
    assert!(ask(&couch, "GET", "/").await.unwrap().is_complete());
}

#[tokio::test]
async fn errors_delays_and_hangs() {
    let couch = node(Options::default()).await;
    let busy = Fault::Answer { status: 503, body: r#"{"error":"busy","reason":"later"}"#.into() };
    couch.faults().add(Rule::new("GET", "/_up", busy).times(1));
    couch.faults().add(Rule::new("GET", "/_up", Fault::DelayMs(80)).times(1));
    couch.faults().add(Rule::new("GET", "/_all_dbs", Fault::Hang));
    assert_eq!(ask(&couch, "GET", "/_up").await.unwrap().status, 503);
    let asked = Instant::now();
    assert_eq!(ask(&couch, "GET", "/_up").await.unwrap().status, 200);
    assert!(asked.elapsed() >= Duration::from_millis(80));
    let hanging = ask(&couch, "GET", "/_all_dbs");
    tokio::pin!(hanging);
    tokio::time::timeout(Duration::from_millis(100), &mut hanging).await.unwrap_err();
    couch.faults().clear();
    assert_eq!(hanging.await.unwrap().status, 200);
}

#[tokio::test]
async fn another_process_injects_faults_and_reads_the_log_over_http() {
    let couch = node(Options { fault_routes: true, ..Options::default() }).await;
    let rule = r#"{"method":"GET","path":"/_up","times":1,"fault":{"answer":{"status":500,"body":"{}"}}}"#;
    let added = try_send(couch.port(), "POST", "/_fault", &BTreeMap::new(), rule).await.unwrap();
    assert_eq!(added.status, 201);
    assert_eq!(ask(&couch, "GET", "/_up").await.unwrap().status, 500);
    let body = r#"{"name":"boss","password":"pw"}"#;
    assert_eq!(
        try_send(couch.port(), "POST", "/_session", &basic("boss", "pw"), body).await.unwrap().status,
        200
    );
    ask(&couch, "GET", "/a%2Fb/../c?x=%22").await.unwrap();
    let log = try_send(couch.port(), "GET", "/_fault/log", &BTreeMap::new(), "").await.unwrap().json();
    assert_eq!(log[1]["carried_password"], true);
    assert_eq!(log[2]["target"], "/a%2Fb/../c?x=%22");
    assert_eq!(log[2]["user"], "boss");
}

#[tokio::test]
async fn a_restart_keeps_data_and_sessions_and_cuts_connections() {
    let mut couch = node(Options::default()).await;
    assert_eq!(ask(&couch, "PUT", "/db").await.unwrap().status, 201);
    let body = r#"{"name":"boss","password":"pw"}"#;
    let session = try_send(couch.port(), "POST", "/_session", &basic("boss", "pw"), body).await.unwrap();
    let cookie = session.headers.get("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    couch.faults().add(Rule::new("GET", "/db", Fault::Hang));
    let port = couch.port();
    let hanging = tokio::spawn(async move { try_send(port, "GET", "/db", &basic("boss", "pw"), "").await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    couch.stop().await;
    hanging.await.unwrap().unwrap_err();
    ask(&couch, "GET", "/db").await.unwrap_err();
    couch.faults().clear();
    couch.start_again().await.unwrap();
    assert_eq!(couch.port(), port);
    assert_eq!(ask(&couch, "GET", "/db").await.unwrap().status, 200);
    let headers = BTreeMap::from([("cookie".to_owned(), cookie)]);
    let who = try_send(port, "GET", "/_session", &headers, "").await.unwrap().json();
    assert_eq!(who["userCtx"]["name"], "boss");
}

#[tokio::test]
async fn a_3x_reads_its_first_admin_from_local_d_or_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options {
        ini_dir: Some(dir.path().to_owned()),
        iterations: Some(10),
        ..Options::new(Version::V3_5)
    };
    let refused = InMemoryCouch::start(options()).await.unwrap_err();
    assert!(refused.to_string().starts_with("No Admin Account Found"), "{refused}");
    std::fs::write(dir.path().join("10-agent.ini"), "[admins]\nboss = pw\n").unwrap();
    let mut couch = InMemoryCouch::start(options()).await.unwrap();
    assert_eq!(ask(&couch, "GET", "/_all_dbs").await.unwrap().status, 200);
    let key = "/_node/_local/_config/admins/boss";
    let stored = ask(&couch, "GET", key).await.unwrap().json();
    assert!(stored.as_str().unwrap().starts_with("-pbkdf2:sha256-"), "{stored}");
    // Once hashed, the plain text in the file is ignored …
    std::fs::write(dir.path().join("10-agent.ini"), "[admins]\nboss = other\n").unwrap();
    couch.stop().await;
    couch.start_again().await.unwrap();
    assert_eq!(ask(&couch, "GET", key).await.unwrap().json(), stored);
    // … until the hash is deleted.
    assert_eq!(ask(&couch, "DELETE", key).await.unwrap().json(), stored);
    couch.stop().await;
    couch.start_again().await.unwrap();
    assert_eq!(ask(&couch, "GET", "/_all_dbs").await.unwrap().status, 401);
    let other = try_send(couch.port(), "GET", "/_all_dbs", &basic("boss", "other"), "").await.unwrap();
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn what_is_kept_is_there_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let kept = || Options { keep: Some(directory.path().join("kept.json")), ..Options::default() };
    let couch = node(kept()).await;
    assert_eq!(ask(&couch, "PUT", "/shop").await.unwrap().status, 201);
    let target = "/shop/_security";
    let security = json!({"admins": {}, "members": {"names": ["al"]}});
    let auth = basic("boss", "pw");
    assert_eq!(
        try_send(couch.port(), "PUT", target, &auth, &security.to_string()).await.unwrap().status,
        200
    );
    try_send(couch.port(), "PUT", "/shop/first", &auth, r#"{"kind":"order"}"#).await.unwrap();
    try_send(couch.port(), "PUT", "/_node/_local/_config/admins/os_admin", &auth, "\"secret\"")
        .await
        .unwrap();
    couch.admins_are_hashed().await;
    let first = ask(&couch, "GET", "/shop/first").await.unwrap().body;
    let admin = ask(&couch, "GET", "/_node/_local/_config/admins/os_admin").await.unwrap().body;
    assert!(admin.contains("-pbkdf2"), "{admin}");

    // Only the file of the first node is left.
    drop(couch);
    let couch = node(kept()).await;
    assert_eq!(ask(&couch, "GET", "/shop/first").await.unwrap().body, first);
    assert_eq!(ask(&couch, "GET", target).await.unwrap().json(), security);
    assert_eq!(ask(&couch, "GET", "/_node/_local/_config/admins/os_admin").await.unwrap().body, admin);
    let as_admin = basic("os_admin", "secret");
    assert_eq!(try_send(couch.port(), "GET", "/_session", &as_admin, "").await.unwrap().status, 200);

    std::fs::write(directory.path().join("kept.json"), "{").unwrap();
    let refused = InMemoryCouch::start(kept().admin("boss", "pw")).await.unwrap_err().to_string();
    assert!(refused.contains("kept.json"), "{refused}");
}

/// As on a real server, so that an administrator who is removed from the file is gone.
#[tokio::test]
async fn what_is_set_is_kept_in_the_last_ini_file() {
    let directory = tempfile::tempdir().unwrap();
    let last = directory.path().join("zz.ini");
    std::fs::write(directory.path().join("10.ini"), "[couchdb]\nsingle_node = true\n").unwrap();
    std::fs::write(&last, "[admins]\nboss = pw\n").unwrap();
    let options = || Options {
        keep: Some(directory.path().join("kept.json")),
        ini_dir: Some(directory.path().to_owned()),
        iterations: Some(10),
        ..Options::default()
    };
    let couch = InMemoryCouch::start(options()).await.unwrap();
    let hashed = std::fs::read_to_string(&last).unwrap();
    assert!(hashed.starts_with("[admins]\nboss = -pbkdf2"), "{hashed}");
    let admins = "/_node/_local/_config/admins/al";
    try_send(couch.port(), "PUT", admins, &basic("boss", "pw"), "\"secret\"").await.unwrap();
    couch.admins_are_hashed().await;
    drop(couch);
    assert!(std::fs::read_to_string(&last).unwrap().contains("\nal = -pbkdf2"));

    let couch = InMemoryCouch::start(options()).await.unwrap();
    let session = try_send(couch.port(), "GET", "/_session", &basic("al", "secret"), "").await.unwrap();
    assert_eq!(session.status, 200);
    try_send(couch.port(), "DELETE", admins, &basic("boss", "pw"), "").await.unwrap();
    assert_eq!(std::fs::read_to_string(&last).unwrap(), hashed);
}
