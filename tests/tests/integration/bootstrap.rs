//! Creation of `os_admin` on every kind of fresh server, also if the agent is killed at any step.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::Result;
use in_memory_couchdb::{Fault, InMemoryCouch, Options, Rule, Version};
use serde_json::{Value, json};
use trove_couchdb_protocol::new_id;
use trove_couchdb_tests::agent::{AgentOptions, AgentProcess, write_private};
use trove_couchdb_tests::couch::{CouchClient, Credentials};
use trove_couchdb_tests::fixture::Fixture;
use trove_couchdb_tests::rabbitmq;
use trove_couchdb_tests::until::HUNG;

const ADMIN: (&str, &str) = ("first", "first-password");

async fn agent_on(
    couch: &InMemoryCouch,
    more: impl Fn(AgentOptions) -> AgentOptions,
) -> Result<AgentProcess> {
    let options = AgentOptions::new(&new_id(), &rabbitmq::shared().await?.transport_url(), &couch.url());
    AgentProcess::start(more(options))
}

fn credentials(agent: &AgentProcess) -> Option<Credentials> {
    let text = std::fs::read_to_string(agent.credentials_file()).ok()?;
    let content: Value = serde_json::from_str(&text).unwrap();
    Some(Credentials::new(content["username"].as_str().unwrap(), content["password"].as_str().unwrap()))
}

async fn assert_closed_and_ours(couch_url: &str, agent: &AgentProcess) -> Result<()> {
    let client = CouchClient::new(couch_url)?;
    let os_admin = credentials(agent).expect("a credentials file");
    assert!(client.logs_in(&os_admin).await?);
    let (_, anonymous) = client.get("/_session", None).await?;
    assert_eq!(anonymous["userCtx"]["roles"], json!([]), "the admin party is over");
    for path in ["/_users", "/_replicator", "/_users/_design/_auth"] {
        assert!(client.get(path, Some(&os_admin)).await?.0.is_success(), "{path}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_party_of_1x_and_2x_is_ended() -> Result<()> {
    for version in [Version::V1, Version::V2] {
        let couch = InMemoryCouch::start(Options::new(version)).await?;
        let mut agent = agent_on(&couch, |options| options).await?;
        agent.wait_ready().await?;
        assert_closed_and_ours(&couch.url(), &agent).await?;
        let before = credentials(&agent);
        agent.terminate().await?;
        agent.start_again()?;
        agent.wait_ready().await?;
        assert_eq!(
            credentials(&agent).map(|c| c.password),
            before.map(|c| c.password),
            "an existing file is used"
        );
    }
    Ok(())
}

/// On a real server all tests share the `os_admin` that the first agent of this process creates.
#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_admin_makes_os_admin() -> Result<()> {
    let fixture = Fixture::up().await?;
    assert_closed_and_ours(&fixture.couch.url(), &fixture.agent).await?;
    let mode = std::fs::metadata(fixture.agent.credentials_file())?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (_, admins) = fixture.client.get("/_node/_local/_config/admins", Some(fixture.couch.admin())).await?;
    assert!(admins["os_admin"].as_str().unwrap().starts_with("-pbkdf2"), "{admins}");
    Ok(())
}

/// A 3.x server without an administrator does not start, so the agent writes one for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_3x_server_gets_its_first_admin_from_an_ini_file() -> Result<()> {
    for version in [Version::V3_3, Version::V3_5] {
        let local_d = tempfile::tempdir()?;
        let port = free_port()?;
        let options = || {
            let mut options = Options::new(version);
            options.port = port;
            options.ini_dir = Some(local_d.path().to_owned());
            options
        };
        assert!(InMemoryCouch::start(options()).await.is_err(), "no admin, no start");
        let directory = local_d.path().to_string_lossy().into_owned();
        let url = format!("http://127.0.0.1:{port}");
        let settings = AgentOptions::new(&new_id(), &rabbitmq::shared().await?.transport_url(), &url)
            .set("couchdb.local_ini_dir", directory);
        let mut agent = AgentProcess::start(settings)?;
        let couch = loop {
            match InMemoryCouch::start(options()).await {
                Ok(couch) => break couch,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        agent.wait_ready().await?;
        assert_closed_and_ours(&couch.url(), &agent).await?;
        let os_admin = credentials(&agent).unwrap();
        for file in std::fs::read_dir(local_d.path())?.flatten() {
            assert!(
                !std::fs::read_to_string(file.path())?.contains(&os_admin.password),
                "only the hash is written"
            );
        }
    }
    Ok(())
}

/// Each request of bootstrap hangs in turn, before and after its effect, and the agent is killed then.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_step_leaves_a_way_on() -> Result<()> {
    for (version, with_admin) in [(Version::V1, false), (Version::V2, false), (Version::V3_5, true)] {
        for after_effect in [false, true] {
            let mut steps = 0;
            for step in 0.. {
                let mut options = Options::new(version);
                if with_admin {
                    options = options.admin(ADMIN.0, ADMIN.1);
                }
                let couch = InMemoryCouch::start(options).await?;
                let more = |options: AgentOptions| {
                    if with_admin { options.bootstrap_admin(ADMIN.0, ADMIN.1) } else { options }
                };
                // The first `step` requests pass without a delay; the next one hangs.
                let pass = Rule::new("*", "*", Fault::DelayMs(0));
                if step > 0 {
                    couch.faults().add(pass.times(step));
                }
                let fault = Rule::new("*", "*", Fault::Hang).times(1);
                couch.faults().add(if after_effect { fault.after_effect() } else { fault });
                let mut agent = agent_on(&couch, more).await?;
                let hung = wait_until_hung_or_ready(&couch, &mut agent, step as usize).await?;
                let password = credentials(&agent).map(|c| c.password);
                agent.kill9()?;
                couch.faults().clear();
                agent.start_again()?;
                agent.wait_ready().await?;
                assert_closed_and_ours(&couch.url(), &agent).await?;
                if let Some(password) = password {
                    assert_eq!(credentials(&agent).unwrap().password, password, "never a second password");
                }
                steps = step;
                if !hung {
                    break;
                }
            }
            assert!(steps >= 6, "bootstrap of {version:?} made only {steps} requests");
        }
    }
    Ok(())
}

async fn wait_until_hung_or_ready(
    couch: &InMemoryCouch,
    agent: &mut AgentProcess,
    step: usize,
) -> Result<bool> {
    for _ in 0..6_000 {
        if agent.logs().contains("CouchDB is bootstrapped") {
            return Ok(false);
        }
        if couch.faults().hits() > step {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("neither hung nor ready:\n{}", agent.logs())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_does_not_fit_is_reported_with_the_way_out_and_kept() -> Result<()> {
    let couch = InMemoryCouch::start(Options::default().admin("os_admin", "the-servers")).await?;
    let mut agent = agent_on(&couch, |options| options.set("couchdb.request_timeout", 5)).await?;
    agent.wait_log("No os_admin login", HUNG).await?;
    assert!(credentials(&agent).is_none(), "no file that fits nothing");
    agent.kill9()?;

    let content = json!({"username": "os_admin", "password": "the-files"}).to_string();
    write_private(&agent.credentials_file(), &content)?;
    couch.log().clear();
    agent.start_again()?;
    agent.wait_log("restore the file", HUNG).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let refused = couch.log().entries().iter().filter(|entry| entry.status == Some(401)).count();
    assert_eq!(refused, 1, "one try, far from the lockout");
    assert_eq!(std::fs::read_to_string(agent.credentials_file())?, content);

    // The operator repairs the file; the agent notices without a restart.
    let repaired = json!({"username": "os_admin", "password": "the-servers"}).to_string();
    write_private(&agent.credentials_file(), &repaired)?;
    agent.wait_ready().await?;
    assert_closed_and_ours(&couch.url(), &agent).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_server_and_a_wrong_bootstrap_admin_are_explained() -> Result<()> {
    let couch = InMemoryCouch::start(Options::default().admin(ADMIN.0, ADMIN.1)).await?;
    let agent = agent_on(&couch, |options| options).await?;
    agent.wait_log("bootstrap_admin", HUNG).await?;
    assert!(credentials(&agent).is_none());
    let wrong = agent_on(&couch, |options| options.bootstrap_admin(ADMIN.0, "wrong-password")).await?;
    wrong.wait_log("refuses the configured bootstrap_admin", HUNG).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let refused = couch.log().entries().iter().filter(|entry| entry.status == Some(401)).count();
    assert!(refused <= 1, "{refused} tries");
    assert!(!wrong.logs().contains("wrong-password"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn require_valid_user_closes_the_front_door() -> Result<()> {
    let couch = InMemoryCouch::start(Options::default().admin(ADMIN.0, ADMIN.1)).await?;
    let more = |options: AgentOptions| {
        options.bootstrap_admin(ADMIN.0, ADMIN.1).set("couchdb.require_valid_user", true)
    };
    let mut agent = agent_on(&couch, more).await?;
    agent.wait_ready().await?;
    let client = CouchClient::new(&couch.url())?;
    assert_eq!(client.get("/", None).await?.0.as_u16(), 401);
    agent.kill9()?;
    agent.start_again()?;
    agent.wait_ready().await?;
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
