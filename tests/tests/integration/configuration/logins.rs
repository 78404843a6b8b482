//! The effect of each option of CouchDB's chapter on authentication, on a running CouchDB: a real one of each
//! release in `COUCHDB_HOME`, else the in-memory one.

use std::time::Duration;

use anyhow::{Context, Result};
use in_memory_couchdb::Options;
use ring::hmac;
use serde_json::{Value, json};
use trove_couchdb_tests::couch::{CouchServer, Credentials};
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixturePlan};
use trove_couchdb_tests::real_couch::{self, RealNode, RealPlan};
use trove_couchdb_tests::until::until;

use super::{remove, values};

const PROXY: &str = "{chttpd_auth, proxy_authentication_handler}, {chttpd_auth, cookie_authentication_handler}, \
                     {chttpd_auth, default_authentication_handler}";

/// A CouchDB with its agent. The node outlives the fixture.
struct Place {
    fixture: LocalFixture,
    node: Option<RealNode>,
    http: reqwest::Client,
}

/// A place on each real release, or on the in-memory CouchDB.
async fn places() -> Result<Vec<Place>> {
    let mut places = Vec::new();
    if real_couch::configured() {
        for version in ["3.5", "3.3"] {
            if let Some(node) = RealPlan::default().version(version).up().await? {
                let fixture = LocalFixturePlan::default().on(&node).up().await?;
                places.push(place(fixture, Some(node)));
            }
        }
    }
    if places.is_empty() {
        let options = Options { iterations: Some(5_000), ..Options::default() };
        places.push(place(LocalFixturePlan::default().in_memory(options).up().await?, None));
    }
    for place in &places {
        let healthy = async || {
            let status = place.fixture.call("get_agent_status", json!({})).await?;
            Ok(status["couchdb"]["state"] == "healthy")
        };
        until("a login", healthy).await?;
    }
    Ok(places)
}

fn place(fixture: LocalFixture, node: Option<RealNode>) -> Place {
    Place { fixture, node, http: reqwest::Client::new() }
}

impl Place {
    async fn set(&self, options: Value) -> Result<Value> {
        Ok(self.fixture.call("configuration_set", json!({ "options": options })).await?)
    }

    async fn unset(&self, options: &[&str]) -> Result<()> {
        self.fixture.call("configuration_unset", json!({ "options": options })).await?;
        Ok(())
    }

    async fn user(&self, name: &str) -> Result<Credentials> {
        Ok(self.fixture.user(&self.fixture.name(name), &[]).await?)
    }

    fn couch(&self) -> &CouchServer {
        &self.fixture.couch
    }

    /// Whether it has what came with 3.4.
    fn is_new(&self) -> bool {
        self.node.as_ref().is_none_or(|node| !node.version().starts_with("3.3"))
    }

    /// `Set-Cookie` of a new session.
    async fn cookie(&self, user: &Credentials) -> Result<String> {
        let body = json!({"name": user.name, "password": user.password});
        let answer = self.http.post(format!("{}/_session", self.couch().url())).json(&body).send().await?;
        Ok(answer.headers().get("set-cookie").context("no cookie")?.to_str()?.to_owned())
    }

    /// The name and roles that CouchDB sees in a request with these headers.
    async fn seen(&self, headers: &[(&str, &str)]) -> Result<Value> {
        let mut request = self.http.get(format!("{}/_session", self.couch().url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer: Value = request.send().await?.json().await?;
        Ok(answer["userCtx"].clone())
    }

    async fn is_session(&self, cookie: &str) -> Result<bool> {
        let pair = cookie.split(';').next().unwrap_or_default();
        Ok(self.seen(&[("cookie", pair)]).await?["name"].is_string())
    }

    async fn status(&self, path: &str, user: Option<&Credentials>) -> Result<u16> {
        Ok(self.fixture.client.get(path, user).await?.0.as_u16())
    }

    async fn restart(&mut self) -> Result<()> {
        if let Some(node) = &mut self.node {
            node.stop().await?;
            node.start_again().await?;
        } else if let Some(memory) = self.fixture.couch.memory_mut() {
            memory.stop().await;
            memory.start_again().await?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_send_requests() -> Result<()> {
    for place in places().await? {
        let al = place.user("al").await?;
        place.set(json!({"chttpd.require_valid_user": true})).await?;
        assert_eq!((place.status("/", None).await?, place.status("/_up", None).await?), (401, 401));
        assert_eq!(place.status("/", Some(&al)).await?, 200);
        place.unset(&["chttpd.require_valid_user"]).await?;
        assert_eq!(place.status("/", None).await?, 200);
        place.set(json!({"chttpd.require_valid_user_except_for_up": true})).await?;
        assert_eq!((place.status("/", None).await?, place.status("/_up", None).await?), (401, 200));
        place.unset(&["chttpd.require_valid_user_except_for_up"]).await?;
        assert_eq!(place.status("/", None).await?, 200);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions() -> Result<()> {
    for place in places().await? {
        let al = place.user("al").await?;
        assert!(place.cookie(&al).await?.contains("Max-Age=600"));
        place.set(json!({"chttpd_auth.allow_persistent_cookies": false})).await?;
        assert!(!place.cookie(&al).await?.contains("Max-Age"));
        place.set(json!({
            "chttpd_auth.allow_persistent_cookies": true, "chttpd_auth.timeout": 2, "chttpd_auth.same_site": "strict",
            "chttpd_auth.cookie_domain": "example.org",
        }))
        .await?;
        let cookie = place.cookie(&al).await?;
        for part in ["Max-Age=2", "SameSite=strict", "Domain=example.org"] {
            assert!(cookie.to_lowercase().contains(&part.to_lowercase()), "{cookie}");
        }
        assert!(place.is_session(&cookie).await?);
        // The limit has whole seconds.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!place.is_session(&cookie).await?, "it has expired");
        place
            .unset(&[
                "chttpd_auth.allow_persistent_cookies",
                "chttpd_auth.timeout",
                "chttpd_auth.same_site",
                "chttpd_auth.cookie_domain",
            ])
            .await?;
        assert!(place.cookie(&al).await?.contains("Max-Age=600"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_ends_all_sessions_and_shows_no_secret() -> Result<()> {
    for place in places().await? {
        let al = place.user("al").await?;
        let before = place.cookie(&al).await?;
        assert!(place.is_session(&before).await?);
        let answer = place.fixture.call("session_reset", json!({})).await?;
        assert_eq!(answer, json!({"nodes": 1}));
        assert!(!place.is_session(&before).await?);
        assert!(place.is_session(&place.cookie(&al).await?).await?);
        assert!(place.fixture.client.logs_in(&al).await?, "passwords are as before");
        let secret = values(place.couch(), &["chttpd_auth.secret"]).await?.remove(0);
        let secret = secret.as_str().context("no secret")?;
        let shown = place.fixture.call("configuration_show", json!({"all": true})).await?.to_string();
        assert!(!shown.contains(secret) && !place.fixture.agent.logs().contains(secret));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes() -> Result<()> {
    for place in places().await? {
        place.set(json!({"chttpd_auth.iterations": 3_000})).await?;
        let al = place.user("al").await?;
        let document = format!("/_users/org.couchdb.user:{}", al.name);
        let rounds = async || {
            let (_, document) = place.fixture.client.get(&document, Some(place.couch().admin())).await?;
            anyhow::Ok(document["iterations"].clone())
        };
        assert_eq!(rounds().await?, 3_000, "the agent's own hashing follows it");
        // CouchDB hashes a plain password in the same way.
        let bo = place.fixture.name("bo");
        let plain = json!({"name": bo, "type": "user", "roles": [], "password": "pw"});
        let path = format!("/_users/org.couchdb.user:{bo}");
        let (status, _) = place.fixture.client.put(&path, Some(place.couch().admin()), &plain).await?;
        assert!(status.is_success());
        let (_, document) = place.fixture.client.get(&path, Some(place.couch().admin())).await?;
        assert_eq!(document["iterations"], 3_000);

        let least = json!({"chttpd_auth.min_iterations": 3_001});
        let error = place.set(least).await.unwrap_err().to_string();
        assert!(error.contains("locked out"), "{error}");
        // Set behind the agent's back, a limit does what the agent refuses. Administrators have 600,000 rounds, and
        // 10 on 3.3: the other limit would lock out the test as well.
        let (option, value) = if place.is_new() {
            ("chttpd_auth.min_iterations", "3001")
        } else {
            ("chttpd_auth.max_iterations", "2999")
        };
        super::put(place.couch(), option, value).await?;
        let (status, _) = place.fixture.client.get("/_session", Some(&Credentials::new(&bo, "pw"))).await?;
        assert_eq!(status, 403, "{option}");
        remove(place.couch(), option).await?;
        let (status, seen) = place.fixture.client.get("/_session", Some(&al)).await?;
        assert_eq!(status, 200, "{option}: {seen}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_rounds_that_exclude_no_account_are_set() -> Result<()> {
    for place in places().await? {
        let limits = json!({"chttpd_auth.max_iterations": 10_000_000, "chttpd_auth.min_iterations": 5});
        place.set(limits).await?;
        let al = place.user("al").await?;
        assert!(place.fixture.client.logs_in(&al).await?);
        place.unset(&["chttpd_auth.max_iterations", "chttpd_auth.min_iterations"]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_for_passwords() -> Result<()> {
    for place in places().await? {
        place.set(json!({"chttpd_auth.password_regexp": r#"[{".{10,}", "Min length is 10."}]"#})).await?;
        let name = place.fixture.name("al");
        let user =
            |password: &str| json!({"users": [{"_name": name, "_password": password, "_databases": []}]});
        let error = place.fixture.call("create_user", user("short")).await.unwrap_err().to_string();
        assert!(error.contains("Min length is 10."), "{error}");
        place.fixture.call("create_user", user("long-enough-1")).await?;
        place.unset(&["chttpd_auth.password_regexp"]).await?;
        place.user("bo").await?;
    }
    Ok(())
}

/// Since 3.0 a user may not read `_users` at all, and the cache of users has other options.
#[tokio::test(flavor = "multi_thread")]
async fn options_without_effect_are_refused() -> Result<()> {
    for place in places().await? {
        let (al, bo) = (place.user("al").await?, place.user("bo").await?);
        for (option, value) in [
            ("chttpd_auth.public_fields", "name"),
            ("chttpd_auth.users_db_public", "true"),
            ("chttpd_auth.auth_cache_size", "9"),
        ] {
            let error = place.set(json!({option: value})).await.unwrap_err().to_string();
            assert!(error.contains("has no effect on CouchDB 3"), "{error}");
            super::put(place.couch(), option, value).await?;
        }
        let path = format!("/_users/org.couchdb.user:{}", al.name);
        assert!([403, 404].contains(&place.status(&path, Some(&bo)).await?));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies() -> Result<()> {
    for mut place in places().await? {
        place.fixture.call("session_reset", json!({})).await?;
        let secret = values(place.couch(), &["chttpd_auth.secret"]).await?.remove(0);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_str().unwrap().as_bytes());
        let token = hex::encode(hmac::sign(&key, b"px"));
        let headers = |user: &'static str, roles: &'static str, proof: &'static str| {
            [(user, "px"), (roles, "staff"), (proof, token.as_str())]
        };
        let usual = headers("X-Auth-CouchDB-UserName", "X-Auth-CouchDB-Roles", "X-Auth-CouchDB-Token");
        assert!(place.seen(&usual).await?["name"].is_null(), "without the handler it is no login");
        let options = json!({"chttpd_auth.proxy_use_secret": true, "chttpd.authentication_handlers": PROXY});
        let answer = place.set(options).await?;
        assert_eq!(answer["pending_restart"], json!(["chttpd.authentication_handlers"]));
        place.restart().await?;
        let staff = json!({"name": "px", "roles": ["staff"]});
        assert_eq!(place.seen(&usual).await?, staff);
        assert!(place.seen(&usual[..2]).await?["name"].is_null(), "without a token");
        let unsafe_now = place.unset(&["chttpd_auth.proxy_use_secret"]).await.unwrap_err().to_string();
        assert!(unsafe_now.contains("CouchDB would be open"), "{unsafe_now}");

        place.set(json!({
            "chttpd_auth.x_auth_username": "X-Name", "chttpd_auth.x_auth_roles": "X-Roles", "chttpd_auth.x_auth_token": "X-Proof",
        }))
        .await?;
        assert_eq!(place.seen(&headers("X-Name", "X-Roles", "X-Proof")).await?, staff);
        assert!(place.seen(&usual).await?["name"].is_null());
        place
            .unset(&["chttpd_auth.x_auth_username", "chttpd_auth.x_auth_roles", "chttpd_auth.x_auth_token"])
            .await?;
        // CouchDB reads its handlers at its start, so the running one still believes in proxies.
        let both = ["chttpd.authentication_handlers", "chttpd_auth.proxy_use_secret"];
        let too_early = place.unset(&both).await.unwrap_err().to_string();
        assert!(too_early.contains("restart CouchDB"), "{too_early}");
        place.unset(&both[..1]).await?;
        assert!(place.unset(&both[1..]).await.is_err());
        place.restart().await?;
        assert!(place.seen(&usual).await?["name"].is_null());
        place.unset(&both[1..]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lockout() -> Result<()> {
    for place in places().await?.into_iter().filter(Place::is_new) {
        place.set(json!({"chttpd_auth_lockout.threshold": 3})).await?;
        let al = place.user("al").await?;
        let wrong = Credentials::new(&al.name, "wrong");
        for _ in 0..3 {
            assert_eq!(place.status("/_session", Some(&wrong)).await?, 401);
        }
        assert_eq!(place.status("/_session", Some(&al)).await?, 403);
        place.set(json!({"chttpd_auth_lockout.mode": "warn"})).await?;
        assert_eq!(place.status("/_session", Some(&al)).await?, 200);
        place.unset(&["chttpd_auth_lockout.mode", "chttpd_auth_lockout.threshold"]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_browsers_without_a_login() -> Result<()> {
    for place in places().await? {
        place.set(json!({"chttpd_auth.authentication_redirect": "/_utils/elsewhere.html"})).await?;
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        let url = format!("{}/_all_dbs", place.couch().url());
        let answer = browser.get(url).header("accept", "text/html").send().await?;
        let to = answer.headers().get("location").context("no redirect")?.to_str()?;
        assert!(answer.status() == 302 && to.contains("/_utils/elsewhere.html"), "{to}");
        place.unset(&["chttpd_auth.authentication_redirect"]).await?;
    }
    Ok(())
}
