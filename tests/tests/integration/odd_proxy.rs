//! The agent's reports about answers that are not CouchDB's, or a login that CouchDB does not receive; and
//! the recovery without a restart once this is repaired.

use anyhow::{Context, Result};
use in_memory_couchdb::{InMemoryCouch, Options};
use serde_json::{Value, json};
use trove_couchdb_tests::agent::{AgentOptions, AgentProcess};
use trove_couchdb_tests::couch::{CouchClient, Credentials, escape};
use trove_couchdb_tests::local::LocalClient;
use trove_couchdb_tests::odd_proxy::{Mode, OddProxy};
use trove_couchdb_tests::until::until;

const BOSS: (&str, &str) = ("boss", "boss-pw");

fn answer(status: &'static str, headers: &'static str, body: &'static str) -> Mode {
    Mode::Answer { status, headers, body }
}

fn options(url: &str) -> AgentOptions {
    AgentOptions::without_broker(url)
        .bootstrap_admin(BOSS.0, BOSS.1)
        .set("couchdb.sha256_iterations", 1000)
        .set("heartbeat.interval", 1)
}

/// A server whose own hashes take no time.
fn quick() -> Options {
    Options { iterations: Some(500), ..Options::default() }.admin(BOSS.0, BOSS.1)
}

struct Environment {
    couch: InMemoryCouch,
    proxy: OddProxy,
    agent: AgentProcess,
}

impl Environment {
    async fn up() -> Result<Self> {
        let couch = InMemoryCouch::start(quick()).await?;
        let proxy = OddProxy::start(couch.port(), Mode::Pass).await?;
        let agent = AgentProcess::start_ready(options(&proxy.url())).await?;
        Ok(Self { couch, proxy, agent })
    }

    async fn call(&self, method: &str, args: Value) -> Result<Value> {
        Ok(LocalClient::connect(&self.agent.socket()).await?.call(method, args).await?)
    }

    /// Waits until the status has a reason with each of these texts.
    async fn reason(&self, texts: &[&str]) -> Result<()> {
        let mut last = Value::Null;
        let found = until("the reason", async || {
            last = self.call("get_agent_status", json!({})).await?["couchdb"].clone();
            let reason = last["reason"].as_str().unwrap_or_default();
            Ok(texts.iter().all(|text| reason.contains(text)))
        });
        found.await.with_context(|| format!("{texts:?}, but {last}"))
    }

    async fn healthy(&self) -> Result<()> {
        until("healthy again", async || {
            Ok(self.call("get_agent_status", json!({})).await?["couchdb"]["state"] == "healthy")
        })
        .await
    }
}

fn oddities() -> Vec<(Mode, Vec<&'static str>)> {
    let bad_gateway = "<html><body><h1>502 Bad Gateway</h1>nginx</body></html>";
    let too_many = r#"{"error":"too_many_requests","reason":"You've exceeded your rate limit allowance."}"#;
    vec![
        (Mode::Strip, vec!["does not reach CouchDB", "Authorization"]),
        (Mode::Gzip, vec!["is not CouchDB itself", "Content-Encoding: gzip"]),
        (
            answer("502 Bad Gateway", "server: nginx\r\n", bad_gateway),
            vec!["502 Bad Gateway", "nginx", "couchdb.url"],
        ),
        (
            answer("503 Service Unavailable", "", "<html><h1>503 Service Unavailable</h1>"),
            vec!["503", "web page"],
        ),
        (
            answer("301 Moved Permanently", "location: https://couch.example.org/_session\r\n", ""),
            vec!["a redirect to https://couch.example.org/_session"],
        ),
        (
            answer("429 Too Many Requests", "retry-after: 1\r\n", too_many),
            vec!["takes no more requests", "429"],
        ),
        (answer("200 OK", "", "<!doctype html><title>Sign in</title>"), vec!["a web page", "Sign in"]),
        (answer("413 Content Too Large", "", "<html>413 Request Entity Too Large</html>"), vec!["413"]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_named_to_a_running_agent_and_gone_when_it_is_repaired() -> Result<()> {
    let environment = Environment::up().await?;
    for (mode, texts) in oddities() {
        environment.proxy.set(mode);
        environment.reason(&texts).await?;
        environment.proxy.set(Mode::Pass);
        environment.healthy().await?;
        environment.call("list_users", json!({})).await?;
    }
    let logs = environment.agent.logs();
    assert!(!logs.contains("CouchDB refuses os_admin's password"), "no password was taken for a wrong one");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_named_at_the_start_and_the_agent_gets_its_login_afterwards() -> Result<()> {
    for (mode, texts) in oddities() {
        let mut environment = Environment::up().await?;
        environment.agent.terminate().await?;
        environment.proxy.set(mode);
        environment.agent.start_again()?;
        until("the socket", async || Ok(LocalClient::connect(&environment.agent.socket()).await.is_ok()))
            .await?;
        environment.reason(&texts).await?;
        environment.proxy.set(Mode::Pass);
        environment.agent.wait_ready().await?;
        environment.call("list_users", json!({})).await?;
    }
    Ok(())
}

/// Basic authentication is switched off, with the answers of a real CouchDB.
#[tokio::test(flavor = "multi_thread")]
async fn basic_that_is_switched_off_is_named_and_noticed_when_it_is_on_again() -> Result<()> {
    let couch = InMemoryCouch::start(quick()).await?;
    let proxy = OddProxy::start(couch.port(), Mode::Pass).await?;
    let agent = AgentProcess::start_ready(options(&proxy.url())).await?;
    let mut environment = Environment { couch, proxy, agent };
    let client = CouchClient::new(&environment.couch.url())?;
    let boss = Credentials::new(BOSS.0, BOSS.1);
    let path = "/_node/_local/_config/chttpd/authentication_handlers";
    let without = "{chttpd_auth, cookie_authentication_handler}, {chttpd_auth, jwt_authentication_handler}";
    // A cookie is the only remaining login, also for the operator who repairs it.
    let cookie = reqwest::Client::new()
        .post(format!("{}/_session", environment.couch.url()))
        .json(&json!({"name": BOSS.0, "password": BOSS.1}))
        .send()
        .await?;
    let cookie = cookie.headers()["set-cookie"].to_str()?.split(';').next().unwrap_or_default().to_owned();
    assert!(client.put(path, Some(&boss), &json!(without)).await?.0.is_success());
    // CouchDB reads its handlers only at its start.
    environment.couch.stop().await;
    environment.couch.start_again().await?;
    environment.reason(&["does not accept Basic", "cookie, jwt", "default_authentication_handler"]).await?;
    let with = format!("{without}, {{chttpd_auth, default_authentication_handler}}");
    let repaired = reqwest::Client::new()
        .put(format!("{}{path}", environment.couch.url()))
        .header("cookie", cookie)
        .json(&json!(with))
        .send()
        .await?;
    assert!(repaired.status().is_success());
    environment.couch.stop().await;
    environment.couch.start_again().await?;
    environment.healthy().await
}

/// Hashes respect the server's limit, and the report of a limit that was set later names the setting to
/// raise.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_rounds_is_kept_and_named() -> Result<()> {
    let couch = InMemoryCouch::start(quick().set("chttpd_auth", "max_iterations", "800")).await?;
    let proxy = OddProxy::start(couch.port(), Mode::Pass).await?;
    let agent = AgentProcess::start_ready(options(&proxy.url())).await?;
    let mut environment = Environment { couch, proxy, agent };
    let user = json!({"_name": "al", "_host": "%", "_password": "al-pw", "_databases": []});
    environment.call("create_user", json!({ "users": [user] })).await?;
    let root = environment.call("enable_root", json!({})).await?;
    let client = CouchClient::new(&environment.couch.url())?;
    let root = Credentials::new("root", root["_password"].as_str().context("no password")?);
    for login in [Credentials::new("al", "al-pw"), root] {
        assert!(client.logs_in(&login).await?, "{}", login.name);
    }
    let boss = Credentials::new(BOSS.0, BOSS.1);
    let path = "/_node/_local/_config/chttpd_auth/max_iterations";
    // Below the rounds of os_admin's hash, and above those of the other administrator's.
    assert!(client.put(path, Some(&boss), &json!("600")).await?.0.is_success());
    // 3.4 and later do not check a password again once it proved right.
    environment.couch.stop().await;
    environment.couch.start_again().await?;
    environment.reason(&["too high", "max_iterations"]).await?;
    assert!(client.put(path, Some(&boss), &json!("900")).await?.0.is_success());
    environment.healthy().await
}

/// `DELETE /a%2Fb` would delete the document `b` of the database `a`.
///
/// Mutation: decoded-paths-are-used (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_decodes_slashes_gets_no_name_with_one() -> Result<()> {
    let environment = Environment::up().await?;
    let database = |name: &str| json!({"databases": [{"_name": name}]});
    environment.call("create_database", database("films")).await?;
    let client = CouchClient::new(&environment.couch.url())?;
    let boss = Credentials::new(BOSS.0, BOSS.1);
    assert!(client.put("/films/old", Some(&boss), &json!({})).await?.0.is_success());
    environment.agent_restarts_behind(Mode::Decode).await?;
    for (method, args) in [
        ("delete_database", json!({"database": {"_name": "films/old"}})),
        ("create_database", database("films/new")),
    ] {
        let reported = environment.call(method, args).await.expect_err("refused").to_string();
        assert!(reported.contains("decodes %2F") && reported.contains("nothing was sent"), "{reported}");
    }
    assert!(client.get("/films/old", Some(&boss)).await?.0.is_success());
    let sent: Vec<_> =
        environment.proxy.requests().into_iter().filter(|line| line.contains("films%2F")).collect();
    assert!(sent.is_empty(), "{sent:?}");
    environment.call("create_database", database("plain")).await?;
    environment.proxy.set(Mode::Pass);
    environment.call("create_database", database("films/new")).await?;
    assert!(client.get(&format!("/{}", escape("films/new")), Some(&boss)).await?.0.is_success());
    Ok(())
}

impl Environment {
    /// Breaks the proxy and then changes it, so that the agent forgets what it knew about the proxy.
    async fn agent_restarts_behind(&self, mode: Mode) -> Result<()> {
        self.proxy.set(answer("502 Bad Gateway", "", "<html><h1>502</h1>"));
        self.reason(&["502"]).await?;
        self.proxy.set(mode);
        self.healthy().await
    }
}
