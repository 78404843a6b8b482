//! `os_admin` gets another password: nobody is refused meanwhile, and a crash at any point leaves a login.

use anyhow::{Context, Result};
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::{Value, json};
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::local_stage::{LocalPlan, LocalStage};
use trove_couchdb_tests::stage::{Plan, Stage};
use trove_couchdb_tests::until::{until, until_hit};

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
        until_hit(stage.memory()?).await?;
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
        until_hit(stage.memory()?).await?;
        until("one password", async || Ok(file(&stage)?["next_password"].is_null())).await?;
        stage.call("list_users", json!({})).await?;
        // One that had no effect may be tried again while we look: then the file has another password.
        let mut settled = file(&stage)?;
        while !is_admin(&stage, &os_admin(&settled["password"])?).await? {
            let now = file(&stage)?;
            assert_ne!(now["password"], settled["password"], "the file's password is refused");
            settled = now;
        }
        drop(old);
    }
    Ok(())
}

/// One that hashes fast, and a password that is being changed: by an operator, over the socket.
async fn begin(stage: &LocalStage) -> Result<()> {
    let local = stage.connect().await?;
    tokio::spawn(async move { local.call("rotate_os_admin", json!({})).await.map(drop) });
    Ok(())
}

fn quick() -> LocalPlan {
    LocalPlan::default().alone().set("couchdb.sha256_iterations", 1000)
}

/// On a server whose requests can be held up.
fn quick_in_memory() -> LocalPlan {
    LocalPlan::default().in_memory(Options::default()).set("couchdb.sha256_iterations", 1000)
}

fn passwords(stage: &LocalStage) -> Result<Value> {
    let text = std::fs::read_to_string(stage.agent.credentials_file())?;
    serde_json::from_str(&text).context("the credentials file is not JSON")
}

fn refusals(stage: &LocalStage) -> Result<usize> {
    Ok(stage.memory()?.log().entries().iter().filter(|entry| entry.status == Some(401)).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_command_it_is_another_one_at_once() -> Result<()> {
    let stage = quick().up().await?;
    let old = passwords(&stage)?;
    assert_eq!(stage.call("rotate_os_admin", json!({})).await?, Value::Null);
    let new = passwords(&stage)?;
    assert!(new["password"] != old["password"] && new["next_password"].is_null(), "not {new}");
    stage.databases(&["films"]).await?;
    assert!(stage.client.logs_in(&os_admin(&new["password"])?).await?);
    assert!(stage.client.refuses(&os_admin(&old["password"])?).await?);
    Ok(())
}

/// What docs/operations.md tells who has lost it while the agent still works.
#[tokio::test(flavor = "multi_thread")]
async fn a_credentials_file_that_is_gone_is_written_anew() -> Result<()> {
    let mut stage = quick().up().await?;
    std::fs::remove_file(stage.agent.credentials_file())?;
    stage.call("rotate_os_admin", json!({})).await?;
    let new = passwords(&stage)?;
    assert!(stage.client.logs_in(&os_admin(&new["password"])?).await?);
    stage.agent.kill9()?;
    stage.agent.start_again()?;
    stage.agent.wait_ready().await?;
    stage.connect().await?.call("list_users", json!({})).await?;
    Ok(())
}

/// `kill -9` at each request of a rotation, before and after CouchDB did what was asked: one login is left, the file has
/// it, and nobody is locked out.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_request_it_has_a_login_again() -> Result<()> {
    for after_effect in [false, true] {
        for step in 0_u32.. {
            let mut stage = quick_in_memory().up().await?;
            let old = passwords(&stage)?;
            let faults = stage.memory()?.faults();
            if step > 0 {
                faults.add(Rule::new("*", "*", Fault::DelayMs(0)).times(step));
            }
            let rule = Rule::new("*", "*", Fault::Hang).times(1);
            faults.add(if after_effect { rule.after_effect() } else { rule });
            begin(&stage).await?;
            let mut is_hung = false;
            until("a request that hangs, or another password", async || {
                is_hung = stage.memory()?.faults().hits() > step as usize;
                let now = passwords(&stage)?;
                Ok(is_hung || (now["password"] != old["password"] && now["next_password"].is_null()))
            })
            .await?;
            stage.agent.kill9()?;
            stage.memory()?.faults().clear();
            stage.agent.start_again()?;
            stage.agent.wait_ready().await?;
            until("one password", async || Ok(passwords(&stage)?["next_password"].is_null())).await?;
            stage.connect().await?.call("list_users", json!({})).await?;
            let settled = passwords(&stage)?;
            assert!(stage.client.logs_in(&os_admin(&settled["password"])?).await?, "{step}");
            if !is_hung {
                assert!(step >= 3, "a rotation made only {step} requests");
                break;
            }
        }
    }
    Ok(())
}

/// Killed over and over while it finds out which password holds: CouchDB locks an account after five wrong ones.
///
/// Mutation: refused-password-tried-again (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_does_not_lock_itself_out() -> Result<()> {
    let mut stage = quick_in_memory().up().await?;
    let old = passwords(&stage)?;
    stage
        .memory()?
        .faults()
        .add(Rule::new("PUT", "*/_config/admins/os_admin", Fault::Hang).times(1).after_effect());
    begin(&stage).await?;
    until_hit(stage.memory()?).await?;
    stage.agent.kill9()?;
    assert_eq!(passwords(&stage)?["password"], old["password"]);
    stage.memory()?.faults().clear();
    stage.memory()?.log().clear();
    // So many requests are answered, and then none: at last, that with the old password is, and the next one is not.
    let mut answered = 0_usize;
    for _ in 0..14 {
        let faults = stage.memory()?.faults();
        if answered > 0 {
            faults.add(Rule::new("*", "*", Fault::DelayMs(0)).times(u32::try_from(answered)?));
        }
        faults.add(Rule::new("*", "*", Fault::Hang));
        stage.agent.start_again()?;
        until("a request that hangs", async || Ok(stage.memory()?.faults().hits() > answered)).await?;
        stage.agent.kill9()?;
        stage.memory()?.faults().clear();
        if refusals(&stage)? == 0 {
            answered += 1;
        }
    }
    assert!(refusals(&stage)? > 0, "it never came to that");
    assert!(refusals(&stage)? <= 2, "{:#?}", stage.memory()?.log().entries());
    stage.agent.start_again()?;
    stage.agent.wait_ready().await?;
    stage.connect().await?.call("list_users", json!({})).await?;
    assert!(passwords(&stage)?["next_password"].is_null());
    Ok(())
}
