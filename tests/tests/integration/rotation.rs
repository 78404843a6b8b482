//! Rotation of `os_admin`'s password: no command is refused meanwhile, and a crash at any point leaves a
//! working login.

use anyhow::{Context, Result};
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::{Value, json};
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixtureBuilder};
use trove_couchdb_tests::until::{until, until_hit};

fn file(fixture: &Fixture) -> Result<Value> {
    let text = std::fs::read_to_string(fixture.agent.credentials_file())?;
    serde_json::from_str(&text).context("the credentials file is not JSON")
}

fn os_admin(password: &Value) -> Result<Credentials> {
    Ok(Credentials::new("os_admin", password.as_str().context("no password")?))
}

/// Makes the password of `fixture` old and restarts the agent with a schedule by which a rotation is due.
async fn let_it_grow_old(fixture: &mut Fixture) -> Result<Value> {
    fixture.agent.terminate().await?;
    let mut credentials = file(fixture)?;
    credentials["since"] = json!(9);
    std::fs::write(fixture.agent.credentials_file(), credentials.to_string())?;
    fixture.agent.options().settings.push(("couchdb.rotate_os_admin_after".to_owned(), 3600.into()));
    Ok(credentials)
}

async fn is_admin(fixture: &Fixture, login: &Credentials) -> Result<bool> {
    Ok(fixture.client.get("/_session", Some(login)).await?.1["userCtx"]["roles"] == json!(["_admin"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_password_is_replaced_under_load_and_no_login_is_refused() -> Result<()> {
    let mut fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
    let old = let_it_grow_old(&mut fixture).await?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    let mut rounds = 0;
    until("another password", async || {
        let calls = (0..8).map(|_| fixture.call("list_users", json!({})));
        for answer in futures_util::future::join_all(calls).await {
            answer?;
        }
        rounds += 1;
        Ok(file(&fixture)?["password"] != old["password"] && rounds > 3)
    })
    .await?;
    let new = file(&fixture)?;
    assert!(new["next_password"].is_null() && new["since"].as_u64() > Some(1_700_000_000), "not {new}");
    assert!(is_admin(&fixture, &os_admin(&new["password"])?).await?);
    assert!(!is_admin(&fixture, &os_admin(&old["password"])?).await?);
    assert!(!fixture.agent.logs().contains(new["password"].as_str().unwrap()));
    fixture.call("list_databases", json!({})).await?;
    Ok(())
}

/// At each step: before and after CouchDB accepted the new password, and before it is in the file.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_has_a_login_again() -> Result<()> {
    let put = || Rule::new("PUT", "*/_config/admins/os_admin", Fault::Hang).times(1);
    for hang in [put(), put().after_effect()] {
        let mut fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
        let old = let_it_grow_old(&mut fixture).await?;
        fixture.memory()?.faults().add(hang);
        fixture.agent.start_again()?;
        until_hit(fixture.memory()?).await?;
        let both = file(&fixture)?;
        assert_eq!(both["password"], old["password"]);
        assert!(both["next_password"].is_string());
        fixture.agent.kill9()?;
        fixture.memory()?.faults().clear();
        // Whichever password is effective, only the file and the server can show it.
        let settings = &mut fixture.agent.options().settings;
        settings.retain(|(name, _)| name != "couchdb.rotate_os_admin_after");
        fixture.memory()?.log().clear();
        fixture.agent.start_again()?;
        fixture.agent.wait_ready().await?;
        fixture.call("list_users", json!({})).await?;
        let settled = file(&fixture)?;
        assert!(settled["next_password"].is_null());
        assert!(is_admin(&fixture, &os_admin(&settled["password"])?).await?);
    }
    Ok(())
}

/// CouchDB accepted the new password but its answer was lost: the agent detects that.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_is_no_lost_login() -> Result<()> {
    for fault in [
        Rule::new("PUT", "*/_config/admins/os_admin", Fault::Cut).times(1).after_effect(),
        Rule::new("PUT", "*/_config/admins/os_admin", Fault::Cut).times(1),
    ] {
        let mut fixture = FixtureBuilder::default().in_memory(Options::default()).up().await?;
        let old = let_it_grow_old(&mut fixture).await?;
        fixture.memory()?.faults().add(fault);
        fixture.agent.start_again()?;
        until_hit(fixture.memory()?).await?;
        until("one password", async || Ok(file(&fixture)?["next_password"].is_null())).await?;
        fixture.call("list_users", json!({})).await?;
        // A rotation without effect may be retried during this check; the file then changes.
        let mut settled = file(&fixture)?;
        while !is_admin(&fixture, &os_admin(&settled["password"])?).await? {
            let refused = settled["password"].clone();
            until("the file has the next password", async || Ok(file(&fixture)?["password"] != refused))
                .await?;
            settled = file(&fixture)?;
        }
        drop(old);
    }
    Ok(())
}

/// A server that hashes fast, and a rotation that an operator started over the socket.
async fn begin(fixture: &LocalFixture) -> Result<()> {
    let local = fixture.connect().await?;
    tokio::spawn(async move { local.call("rotate_os_admin", json!({})).await.map(drop) });
    Ok(())
}

fn quick() -> LocalFixtureBuilder {
    LocalFixtureBuilder::default().alone().set("couchdb.sha256_iterations", 1000)
}

/// An in-memory server, whose requests can be delayed.
fn quick_in_memory() -> LocalFixtureBuilder {
    LocalFixtureBuilder::default().in_memory(Options::default()).set("couchdb.sha256_iterations", 1000)
}

fn passwords(fixture: &LocalFixture) -> Result<Value> {
    let text = std::fs::read_to_string(fixture.agent.credentials_file())?;
    serde_json::from_str(&text).context("the credentials file is not JSON")
}

fn refusals(fixture: &LocalFixture) -> Result<usize> {
    Ok(fixture.memory()?.log().entries().iter().filter(|entry| entry.status == Some(401)).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_command_it_is_another_one_at_once() -> Result<()> {
    let fixture = quick().up().await?;
    let old = passwords(&fixture)?;
    assert_eq!(fixture.call("rotate_os_admin", json!({})).await?, Value::Null);
    let new = passwords(&fixture)?;
    assert!(new["password"] != old["password"] && new["next_password"].is_null(), "not {new}");
    fixture.databases(&["films"]).await?;
    assert!(fixture.client.logs_in(&os_admin(&new["password"])?).await?);
    assert!(fixture.client.refuses(&os_admin(&old["password"])?).await?);
    Ok(())
}

/// The procedure of docs/operations.md for a lost file while the agent still works.
#[tokio::test(flavor = "multi_thread")]
async fn a_credentials_file_that_is_gone_is_written_again() -> Result<()> {
    let mut fixture = quick().up().await?;
    std::fs::remove_file(fixture.agent.credentials_file())?;
    fixture.call("rotate_os_admin", json!({})).await?;
    let new = passwords(&fixture)?;
    assert!(fixture.client.logs_in(&os_admin(&new["password"])?).await?);
    fixture.agent.kill9()?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    fixture.connect().await?.call("list_users", json!({})).await?;
    Ok(())
}

/// `kill -9` at each request of a rotation, before and after it took effect: one login remains, the file has
/// it, and no account is locked.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_request_it_has_a_login_again() -> Result<()> {
    for after_effect in [false, true] {
        for step in 0_u32.. {
            let mut fixture = quick_in_memory().up().await?;
            let old = passwords(&fixture)?;
            let faults = fixture.memory()?.faults();
            if step > 0 {
                faults.add(Rule::new("*", "*", Fault::DelayMs(0)).times(step));
            }
            let rule = Rule::new("*", "*", Fault::Hang).times(1);
            faults.add(if after_effect { rule.after_effect() } else { rule });
            begin(&fixture).await?;
            let mut is_hung = false;
            until("a request that hangs, or another password", async || {
                is_hung = fixture.memory()?.faults().hits() > step as usize;
                let now = passwords(&fixture)?;
                Ok(is_hung || (now["password"] != old["password"] && now["next_password"].is_null()))
            })
            .await?;
            fixture.agent.kill9()?;
            fixture.memory()?.faults().clear();
            fixture.agent.start_again()?;
            fixture.agent.wait_ready().await?;
            until("one password", async || Ok(passwords(&fixture)?["next_password"].is_null())).await?;
            fixture.connect().await?.call("list_users", json!({})).await?;
            let settled = passwords(&fixture)?;
            assert!(fixture.client.logs_in(&os_admin(&settled["password"])?).await?, "{step}");
            if !is_hung {
                assert!(step >= 3, "a rotation made only {step} requests");
                break;
            }
        }
    }
    Ok(())
}

/// Killed repeatedly while it finds out which password is effective: CouchDB locks an account after five
/// failures.
///
/// Mutation: refused-password-tried-again (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_does_not_lock_itself_out() -> Result<()> {
    let mut fixture = quick_in_memory().up().await?;
    let old = passwords(&fixture)?;
    fixture
        .memory()?
        .faults()
        .add(Rule::new("PUT", "*/_config/admins/os_admin", Fault::Hang).times(1).after_effect());
    begin(&fixture).await?;
    until_hit(fixture.memory()?).await?;
    fixture.agent.kill9()?;
    assert_eq!(passwords(&fixture)?["password"], old["password"]);
    fixture.memory()?.faults().clear();
    fixture.memory()?.log().clear();
    // CouchDB answers `answered` requests and then hangs. The number grows until it answers the request with
    // the refused password.
    let mut answered = 0_usize;
    for _ in 0..14 {
        let faults = fixture.memory()?.faults();
        if answered > 0 {
            faults.add(Rule::new("*", "*", Fault::DelayMs(0)).times(u32::try_from(answered)?));
        }
        faults.add(Rule::new("*", "*", Fault::Hang));
        fixture.agent.start_again()?;
        until("a request that hangs", async || Ok(fixture.memory()?.faults().hits() > answered)).await?;
        fixture.agent.kill9()?;
        fixture.memory()?.faults().clear();
        if refusals(&fixture)? == 0 {
            answered += 1;
        }
    }
    assert!(refusals(&fixture)? > 0, "it never came to that");
    assert!(refusals(&fixture)? <= 2, "{:#?}", fixture.memory()?.log().entries());
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    fixture.connect().await?.call("list_users", json!({})).await?;
    assert!(passwords(&fixture)?["next_password"].is_null());
    Ok(())
}
