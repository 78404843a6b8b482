//! `os_admin` gets another password: nobody is refused meanwhile, and a crash at any point leaves a login.

use std::time::Duration;

use anyhow::{Context, Result};
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::{Value, json};
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::stage::{Plan, Stage};

const SOON: Duration = Duration::from_secs(30);

fn file(stage: &Stage) -> Result<Value> {
    let text = std::fs::read_to_string(stage.agent.credentials_file())?;
    serde_json::from_str(&text).context("the credentials file is not JSON")
}

fn os_admin(password: &Value) -> Result<Credentials> {
    Ok(Credentials::new("os_admin", password.as_str().context("no password")?))
}

/// Makes the password of `stage` a very old one and starts the agent with a schedule by which it is due.
async fn let_it_grow_old(stage: &mut Stage) -> Result<Value> {
    stage.agent.terminate().await?;
    let mut credentials = file(stage)?;
    credentials["since"] = json!(9);
    std::fs::write(stage.agent.credentials_file(), credentials.to_string())?;
    stage.agent.options().settings.push(("couchdb.rotate_os_admin_after".to_owned(), 3600.into()));
    Ok(credentials)
}

async fn until(what: &str, mut reached: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let wait = async {
        while !reached().await? {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(SOON, wait).await.with_context(|| format!("not within {SOON:?}: {what}"))?
}

async fn is_admin(stage: &Stage, login: &Credentials) -> Result<bool> {
    Ok(stage.client.get("/_session", Some(login)).await?.1["userCtx"]["roles"] == json!(["_admin"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_password_is_replaced_under_load_and_nobody_is_refused() -> Result<()> {
    let mut stage = Plan::default().in_memory(Options::default()).up().await?;
    let old = let_it_grow_old(&mut stage).await?;
    stage.agent.start_again()?;
    stage.agent.wait_ready().await?;
    let mut rounds = 0;
    until("another password", async || {
        let calls = (0..8).map(|_| stage.call("list_users", json!({})));
        for answer in futures_util::future::join_all(calls).await {
            answer?;
        }
        rounds += 1;
        Ok(file(&stage)?["password"] != old["password"] && rounds > 3)
    })
    .await?;
    let new = file(&stage)?;
    assert!(new["next_password"].is_null() && new["since"].as_u64() > Some(1_700_000_000), "not {new}");
    assert!(is_admin(&stage, &os_admin(&new["password"])?).await?);
    assert!(!is_admin(&stage, &os_admin(&old["password"])?).await?);
    assert!(!stage.agent.logs().contains(new["password"].as_str().unwrap()));
    stage.call("list_databases", json!({})).await?;
    Ok(())
}

/// At each step of the change: before and after CouchDB took the new password, and before the file says so.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_has_a_login_again() -> Result<()> {
    let put = || Rule::new("PUT", "*/_config/admins/os_admin", Fault::Hang).times(1);
    for hang in [put(), put().after_effect()] {
        let mut stage = Plan::default().in_memory(Options::default()).up().await?;
        let old = let_it_grow_old(&mut stage).await?;
        stage.memory()?.faults().add(hang);
        stage.agent.start_again()?;
        until("the PUT", async || Ok(stage.memory()?.faults().hits() > 0)).await?;
        let both = file(&stage)?;
        assert_eq!(both["password"], old["password"]);
        assert!(both["next_password"].is_string());
        stage.agent.kill9()?;
        stage.memory()?.faults().clear();
        // Whichever holds, nothing but the file and the server is left to tell.
        let settings = &mut stage.agent.options().settings;
        settings.retain(|(name, _)| name != "couchdb.rotate_os_admin_after");
        stage.memory()?.log().clear();
        stage.agent.start_again()?;
        stage.agent.wait_ready().await?;
        stage.call("list_users", json!({})).await?;
        let settled = file(&stage)?;
        assert!(settled["next_password"].is_null());
        assert!(is_admin(&stage, &os_admin(&settled["password"])?).await?);
    }
    Ok(())
}

/// CouchDB took the new password, and its answer was lost: the agent finds out by itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_is_no_lost_login() -> Result<()> {
    for fault in [
        Rule::new("PUT", "*/_config/admins/os_admin", Fault::Cut).times(1).after_effect(),
        Rule::new("PUT", "*/_config/admins/os_admin", Fault::Cut).times(1),
    ] {
        let mut stage = Plan::default().in_memory(Options::default()).up().await?;
        let old = let_it_grow_old(&mut stage).await?;
        stage.memory()?.faults().add(fault);
        stage.agent.start_again()?;
        until("the PUT", async || Ok(stage.memory()?.faults().hits() > 0)).await?;
        until("one password", async || Ok(file(&stage)?["next_password"].is_null())).await?;
        stage.call("list_users", json!({})).await?;
        let settled = file(&stage)?;
        assert!(is_admin(&stage, &os_admin(&settled["password"])?).await?);
        drop(old);
    }
    Ok(())
}
