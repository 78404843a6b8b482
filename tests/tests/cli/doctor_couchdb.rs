//! `doctor` with a CouchDB that is down, public, locked, or not the one that the agent knew.

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::json;
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixtureBuilder};
use trove_couchdb_tests::until::HUNG;

use crate::doctor_host::Found;
use crate::tool::Tool;

async fn fixture() -> Result<(LocalFixture, Tool)> {
    let fixture = LocalFixtureBuilder::default().in_memory(Options::default()).up().await?;
    let cli = Tool::configured(&fixture.agent);
    Ok((fixture, cli))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_couchdb_that_is_down() -> Result<()> {
    let (mut fixture, cli) = fixture().await?;
    fixture.agent.terminate().await?;
    fixture.couch.memory_mut().unwrap().stop().await;
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["agent.socket", "couchdb.reachable"]);
    assert!(found.detail("couchdb.reachable").contains("refused"), "{found:#?}");
    assert_eq!(found.status("databases.public"), "skipped");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_does_not_fit_is_tried_once_however_often_the_doctor_looks() -> Result<()> {
    let (mut fixture, cli) = fixture().await?;
    fixture.agent.terminate().await?;
    let right = std::fs::read_to_string(fixture.agent.credentials_file())?;
    let wrong = json!({"username": "os_admin", "password": "not this one"}).to_string();
    trove_couchdb_tests::agent::write_private(&fixture.agent.credentials_file(), &wrong)?;
    fixture.memory()?.log().clear();
    for _ in 0..6 {
        let found = Found::by(&cli).await?;
        assert_eq!(found.status("couchdb.login"), "failed", "{found:#?}");
    }
    // The agent notices it, too.
    fixture.agent.start_again()?;
    fixture.agent.wait_log("No os_admin login on CouchDB yet", HUNG).await?;
    let log = fixture.memory()?.log();
    let refused = log.entries().iter().filter(|entry| entry.status == Some(401)).count();
    assert_eq!(refused, 1, "{:#?}", log.entries());
    trove_couchdb_tests::agent::write_private(&fixture.agent.credentials_file(), &right)?;
    fixture.agent.wait_ready().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_password_that_was_cut_short() -> Result<()> {
    let (mut fixture, cli) = fixture().await?;
    fixture.agent.terminate().await?;
    let file = fixture.agent.credentials_file();
    let mut content: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    content["next_password"] = content["password"].take();
    content["password"] = "the old one".into();
    trove_couchdb_tests::agent::write_private(&file, &content.to_string())?;
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["agent.socket"]);
    assert_eq!((found.status("credentials.file"), found.status("couchdb.login")), ("warning", "warning"));
    let error = Tool::local(&fixture.agent).refused(1, &["credentials", "os_admin", "--reveal"]).await?;
    assert!(error.contains("being changed"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_account_and_one_that_the_agent_was_refused() -> Result<()> {
    let (mut fixture, cli) = fixture().await?;
    fixture.agent.terminate().await?;
    for _ in 0..5 {
        fixture.client.refuses(&Credentials::new("os_admin", "wrong")).await?;
    }
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["agent.socket", "couchdb.lockout"]);
    assert_eq!(found.status("couchdb.login"), "skipped", "a locked account tells nothing of its password");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_reports_is_not_asked_again() -> Result<()> {
    let (mut fixture, cli) = fixture().await?;
    let wrong = json!({"username": "os_admin", "password": "not this one"}).to_string();
    trove_couchdb_tests::agent::write_private(&fixture.agent.credentials_file(), &wrong)?;
    fixture.agent.terminate().await?;
    fixture.agent.start_again()?;
    fixture.agent.wait_log("No os_admin login on CouchDB yet", HUNG).await?;
    for _ in 0..3_000 {
        let status = Tool::local(&fixture.agent).json(&["status"]).await;
        if status.is_ok_and(|status| status["couchdb"]["state"] == "no_login") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let log = fixture.memory()?.log();
    log.clear();
    let found = Found::by(&cli).await?;
    assert_eq!(found.status("couchdb.login"), "failed", "{found:#?}");
    assert_eq!(found.status("agent.couchdb"), "failed", "{found:#?}");
    let refused = log.entries().iter().filter(|entry| entry.status == Some(401)).count();
    assert_eq!(refused, 0, "the doctor sent no password");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_party() -> Result<()> {
    let (mut fixture, cli) = fixture().await?;
    fixture.agent.terminate().await?;
    let admin = fixture.couch.admin().clone();
    for name in ["os_admin", admin.name.as_str()] {
        let path = format!("/_node/_local/_config/admins/{name}");
        let deleted =
            fixture.client.request(trove_couchdb_tests::couch::Method::DELETE, &path, Some(&admin), None);
        assert!(deleted.await?.0.is_success(), "{name}");
    }
    let found = Found::by(&cli).await?;
    assert!(found.failed().contains(&"couchdb.admin_party"), "{found:#?}");
    assert_ne!(found.status("couchdb.login"), "ok", "in an admin party a login proves nothing");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_that_were_opened_or_damaged() -> Result<()> {
    let (mut fixture, cli) = fixture().await?;
    fixture.databases(&["closed", "open", "spoiled"]).await?;
    let admin = fixture.couch.admin().clone();
    let put = async |database: &str, object| {
        fixture.client.put(&format!("/{database}/_security"), Some(&admin), &object).await
    };
    put("open", json!({})).await?;
    // No real server stores such a value; one that did would return it.
    let body = r#"{"members": {"names": "al"}}"#.to_owned();
    let spoiled = Rule::new("GET", "/spoiled/_security", Fault::Answer { status: 200, body });
    fixture.memory()?.faults().add(spoiled);
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["databases.malformed", "databases.public"]);
    assert!(found.detail("databases.public").ends_with("write open"), "{found:#?}");
    fixture.agent.terminate().await?;
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["agent.socket", "databases.malformed", "databases.public"]);
    assert!(found.detail("databases.malformed").ends_with("spoiled"), "while the agent is down, too");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_on_couchdbs_port() -> Result<()> {
    let (mut fixture, _) = fixture().await?;
    fixture.agent.terminate().await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
            drop(tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await);
        }
    });
    let cli =
        Tool::configured(&fixture.agent).env("TROVE_COUCHDB_COUCHDB__URL", &format!("http://{address}"));
    let found = Found::by(&cli).await?;
    found.must_have_failed(&["agent.socket", "couchdb.reachable"]);
    Ok(())
}
