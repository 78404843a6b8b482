//! Configuration groups and operators' options: they take effect, come back as they were, and nothing that
//! would open CouchDB or lock anyone out is set.

mod killed;
mod logins;

use anyhow::{Context, Result};
use in_memory_couchdb::{Fault, Options, Rule, Version};
use serde_json::{Value, json};
use trove_couchdb_tests::couch::{CouchClient, CouchServer, Credentials, Method};
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixtureBuilder};
use trove_couchdb_tests::rpc::CallError;

/// A group with an option that CouchDB applies at once and one for which it must restart.
fn group() -> Value {
    json!({"log.level": "warning", "chttpd_auth.timeout": 1200, "chttpd_auth_cache.max_objects": 500})
}

async fn attach(fixture: &Fixture, group: &Value) -> Result<Value, CallError> {
    fixture.call("update_overrides", json!({"overrides": group, "remove": false})).await
}

async fn detach(fixture: &Fixture) -> Result<Value, CallError> {
    fixture.call("update_overrides", json!({"overrides": {}, "remove": true})).await
}

/// The value of an option in CouchDB, `null` if it is not set.
async fn set(client: &CouchClient, admin: &Credentials, option: &str) -> Result<Value> {
    let path = format!("/_node/_local/_config/{}", option.replace('.', "/"));
    let (status, value) = client.get(&path, Some(admin)).await?;
    Ok(if status.is_success() { value } else { Value::Null })
}

async fn values(couch: &CouchServer, options: &[&str]) -> Result<Vec<Value>> {
    let client = couch.client()?;
    let mut found = Vec::new();
    for option in options {
        found.push(set(&client, couch.admin(), option).await?);
    }
    Ok(found)
}

async fn put(couch: &CouchServer, option: &str, value: &str) -> Result<()> {
    let path = format!("/_node/_local/_config/{}", option.replace('.', "/"));
    let (status, body) = couch.client()?.put(&path, Some(couch.admin()), &json!(value)).await?;
    anyhow::ensure!(status.is_success(), "{path}: {body}");
    Ok(())
}

async fn whole_configuration(couch: &CouchServer) -> Result<Value> {
    let (status, all) = couch.client()?.get("/_node/_local/_config", Some(couch.admin())).await?;
    anyhow::ensure!(status.is_success(), "{all}");
    Ok(all)
}

async fn restart_required(fixture: &LocalFixture) -> Result<Value> {
    Ok(fixture.call("get_agent_status", json!({})).await?["guest"]["restart_required"].clone())
}

/// The rows of `configuration_show`: option, value, state, who set it.
async fn shown(fixture: &LocalFixture) -> Result<Vec<[String; 4]>> {
    let answer = fixture.call("configuration_show", json!({})).await?;
    let rows = answer["options"].as_array().context("no options")?.iter();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    Ok(rows.map(|row| ["option", "value", "state", "set_by"].map(|key| text(row, key))).collect())
}

fn row(option: &str, value: &str, state: &str, set_by: &str) -> [String; 4] {
    [option, value, state, set_by].map(str::to_owned)
}

const OPTIONS: [&str; 3] = ["log.level", "chttpd_auth.timeout", "chttpd_auth_cache.max_objects"];

#[tokio::test(flavor = "multi_thread")]
async fn a_group_takes_effect_and_a_detach_restores_what_stood_before() -> Result<()> {
    for builder in [FixtureBuilder::default(), FixtureBuilder::default().encrypted()] {
        let fixture = builder.alone().up().await?;
        put(&fixture.couch, "log.level", "notice").await?;
        let before = values(&fixture.couch, &OPTIONS).await?;
        assert_eq!(before[0], "notice");
        assert_eq!(attach(&fixture, &group()).await?, Value::Null);
        assert_eq!(values(&fixture.couch, &OPTIONS).await?, ["warning", "1200", "500"]);
        // Trove sends this if no option needs a restart.
        fixture.call("apply_overrides", json!({"overrides": group()})).await?;
        assert_eq!(values(&fixture.couch, &OPTIONS).await?, ["warning", "1200", "500"]);
        // A changed group replaces the one before.
        attach(&fixture, &json!({"log.level": "error"})).await?;
        assert_eq!(values(&fixture.couch, &OPTIONS).await?[0], "error");
        assert_eq!(values(&fixture.couch, &OPTIONS).await?[1..], before[1..]);
        assert_eq!(detach(&fixture).await?, Value::Null);
        assert_eq!(values(&fixture.couch, &OPTIONS).await?, before);
        detach(&fixture).await?;
        assert_eq!(values(&fixture.couch, &OPTIONS).await?, before);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_layer_wins_and_each_one_can_be_taken_back() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().alone().up().await?;
    let level = async || Ok::<_, anyhow::Error>(values(&fixture.couch, &["log.level"]).await?.remove(0));
    let before = level().await?;
    fixture.call("update_overrides", json!({"overrides": {"log.level": "info"}})).await?;
    let answer = fixture.call("configuration_set", json!({"options": {"log.level": "debug"}})).await?;
    assert_eq!(answer, json!({"changed": ["log.level"], "pending_restart": []}));
    fixture
        .call("configuration_apply", json!({"contents": "[log]\nlevel = error\n[cors]\nmax_age = 60\n"}))
        .await?;
    assert_eq!(level().await?, "debug");
    let rows = [row("cors.max_age", "60", "live", "file"), row("log.level", "debug", "live", "operator")];
    assert_eq!(shown(&fixture).await?, rows);
    // The operator's value and the file's are taken back at once; the group's is left.
    fixture.call("configuration_unset", json!({"options": ["log.level"]})).await?;
    assert_eq!(level().await?, "info");
    let refused = fixture.call("configuration_unset", json!({"options": ["log.level"]})).await.unwrap_err();
    assert!(refused.to_string().contains("but by the configuration group"), "{refused}");
    let refused = fixture.call("configuration_unset", json!({"options": ["cluster.q"]})).await.unwrap_err();
    assert!(refused.to_string().contains("is not set by an operator"), "{refused}");
    // Another file replaces the first one.
    fixture.call("configuration_apply", json!({"contents": ""})).await?;
    assert_eq!(values(&fixture.couch, &["cors.max_age"]).await?, [Value::Null]);
    fixture.call("update_overrides", json!({"overrides": {}, "remove": true})).await?;
    assert_eq!(level().await?, before);
    assert_eq!(shown(&fixture).await?, Vec::<[String; 4]>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_was_changed_elsewhere_is_reported_and_left() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().alone().up().await?;
    fixture.call("configuration_set", json!({"options": {"log.level": "error"}})).await?;
    put(&fixture.couch, "log.level", "notice").await?;
    assert_eq!(shown(&fixture).await?, [row("log.level", "notice", "changed elsewhere", "operator")]);
    fixture.call("configuration_unset", json!({"options": ["log.level"]})).await?;
    assert_eq!(values(&fixture.couch, &["log.level"]).await?, ["notice"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_option_that_needs_a_restart_says_so_across_restarts_of_the_agent() -> Result<()> {
    let mut fixture = LocalFixtureBuilder::default().in_memory(Options::default()).up().await?;
    assert_eq!(restart_required(&fixture).await?, Value::Null);
    let options = json!({"options": {"chttpd_auth_cache.max_size": 1_048_576, "log.level": "error"}});
    let answer = fixture.call("configuration_set", options.clone()).await?;
    assert_eq!(answer["pending_restart"], json!(["chttpd_auth_cache.max_size"]));
    assert_eq!(restart_required(&fixture).await?, "chttpd_auth_cache.max_size");
    let rows = [
        row("chttpd_auth_cache.max_size", "1048576", "pending restart", "operator"),
        row("log.level", "error", "live", "operator"),
    ];
    assert_eq!(shown(&fixture).await?, rows);
    // The same once more changes nothing.
    let again = fixture.call("configuration_set", options).await?;
    assert_eq!(again, json!({"changed": [], "pending_restart": []}));

    fixture.agent.kill9()?;
    fixture.agent.start_again()?;
    fixture.agent.wait_ready().await?;
    fixture.local = fixture.connect().await?;
    assert_eq!(shown(&fixture).await?, rows);
    let file = fixture.agent.directory().join("state/configuration.json");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file)?.permissions());
    assert_eq!(mode & 0o777, 0o600);
    Ok(())
}

/// Mutation: configuration-is-not-judged (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn what_would_open_couchdb_or_lock_out_is_refused_before_anything_is_changed() -> Result<()> {
    const PROXY: &str =
        "{chttpd_auth, proxy_authentication_handler}, {chttpd_auth, default_authentication_handler}";
    let fixture = LocalFixtureBuilder::default().alone().up().await?;
    let al = fixture.user(&fixture.name("al"), &[]).await?;
    let before = whole_configuration(&fixture.couch).await?;
    for (options, named) in [
        (json!({"log.levels": "info"}), "there is no option"),
        (json!({"log.level": "loud"}), "log.level must be one of"),
        (json!({"chttpd_auth.timeout": "soon"}), "chttpd_auth.timeout must be a whole number"),
        (json!({"chttpd_auth.timeout": 0}), "chttpd_auth.timeout must be a whole number"),
        (json!({"chttpd.require_valid_user": 1}), "must be true or false"),
        (json!({"admins.root": "pw"}), "admins can't be set"),
        (json!({"query_servers.x": "/bin/sh"}), "query_servers can't be set"),
        (json!({"chttpd_auth.secret": "s3cret"}), "session-reset replaces it"),
        (json!({"couch_httpd_auth.secret": "s3cret"}), "session-reset replaces it"),
        (json!({"chttpd.port": 5985}), "chttpd.port can't be set"),
        (json!({"couchdb.default_security": "everyone"}), "default_security can't be set"),
        (json!({"chttpd.bind_address": "10.99.99.99"}), "the agent would be locked out"),
        (
            json!({"chttpd.authentication_handlers": "{chttpd_auth, cookie_authentication_handler}"}),
            "by which the agent logs in",
        ),
        (
            json!({"chttpd.authentication_handlers": "{chttpd_auth, null_authentication_handler}"}),
            "must be Erlang tuples",
        ),
        (json!({"chttpd.authentication_handlers": PROXY}), "CouchDB would be open"),
        (
            json!({"chttpd.authentication_handlers": PROXY, "chttpd_auth.proxy_use_secret": false}),
            "CouchDB would be open",
        ),
        (json!({"chttpd_auth.min_iterations": 9_999_999}), "which chttpd_auth.min_iterations would exclude"),
        (json!({"chttpd_auth.max_iterations": 1_001}), "which chttpd_auth.max_iterations would exclude"),
        (json!({"chttpd_auth.password_regexp": "[a"}), "must be an Erlang list"),
        (json!({"chttpd_auth.public_fields": "derived_key"}), "none of those that hold the password's hash"),
        (json!({"chttpd_auth.public_fields": "name"}), "has no effect on CouchDB 3"),
        (json!({"chttpd_auth.auth_cache_size": 9}), "has no effect on CouchDB 3"),
    ] {
        // The good option is not set either.
        let mut with_good = options.clone();
        with_good["cors.max_age"] = json!(60);
        for (method, args) in [
            ("configuration_set", json!({"options": with_good})),
            ("update_overrides", json!({"overrides": with_good, "remove": false})),
            ("apply_overrides", json!({"overrides": with_good})),
        ] {
            let error = fixture.call(method, args).await.unwrap_err().to_string();
            assert!(error.contains(named), "{options}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
    assert_eq!(whole_configuration(&fixture.couch).await?, before);
    assert!(fixture.client.logs_in(&al).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_requires_logins_keeps_them_required() -> Result<()> {
    let builder =
        LocalFixtureBuilder::default().in_memory(Options::default()).set("couchdb.require_valid_user", true);
    let fixture = builder.up().await?;
    let open = json!({"options": {"chttpd.require_valid_user": false}});
    let error = fixture.call("configuration_set", open).await.unwrap_err().to_string();
    assert!(error.contains("couchdb.require_valid_user of the agent is true"), "{error}");
    Ok(())
}

/// The values of a failed change are taken back, and the agent can still log in.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_fails_halfway_is_taken_back() -> Result<()> {
    let fixture = LocalFixtureBuilder::default()
        .in_memory(Options::default())
        .set("rpc.call_retry_timeout", 1)
        .up()
        .await?;
    let before = values(&fixture.couch, &OPTIONS).await?;
    let refuses = Fault::Answer { status: 400, body: r#"{"error":"bad_request","reason":"no"}"#.to_owned() };
    fixture.memory()?.faults().add(Rule::new("PUT", "/_node/*/_config/log/level", refuses));
    let error = fixture.call("update_overrides", json!({"overrides": group()})).await.unwrap_err();
    assert!(error.to_string().contains("CouchDB can't take the request"), "{error}");
    fixture.memory()?.faults().clear();
    assert_eq!(values(&fixture.couch, &OPTIONS).await?, before);
    assert_eq!(shown(&fixture).await?, Vec::<[String; 4]>::new());
    fixture.call("update_overrides", json!({"overrides": group()})).await?;
    assert_eq!(values(&fixture.couch, &OPTIONS).await?, ["warning", "1200", "500"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn older_servers_have_the_options_of_logins_in_an_older_section() -> Result<()> {
    for (version, section) in [(Version::V1, "/_config"), (Version::V2, "/_node/_local/_config")] {
        let fixture = LocalFixtureBuilder::default().in_memory(Options::new(version)).up().await?;
        let options = json!({"chttpd_auth.timeout": 1200, "couch_httpd_auth.allow_persistent_cookies": true});
        fixture.call("update_overrides", json!({"overrides": options})).await?;
        for (key, value) in [("timeout", "1200"), ("allow_persistent_cookies", "true")] {
            let path = format!("{section}/couch_httpd_auth/{key}");
            assert_eq!(fixture.client.get(&path, Some(fixture.couch.admin())).await?.1, value, "{version:?}");
        }
        let new =
            fixture.call("configuration_set", json!({"options": {"chttpd_auth.same_site": "lax"}})).await;
        assert!(new.unwrap_err().to_string().contains("it is for 3.0 and later"), "{version:?}");
        fixture.call("update_overrides", json!({"overrides": {}, "remove": true})).await?;
        let path = format!("{section}/couch_httpd_auth/timeout");
        assert_eq!(fixture.client.get(&path, Some(fixture.couch.admin())).await?.0, 404, "{version:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn prepare_sets_the_template_and_the_group_before_it_makes_users() -> Result<()> {
    let builder = FixtureBuilder::default().alone().set("heartbeat.assume_prepared", false);
    let fixture = builder.up().await?;
    let al = fixture.name("al");
    let order = json!({
        "databases": [], "users": [{"_name": al, "_password": "al-pw"}], "packages": "", "memory_mb": 512,
        "ds_version": "3.5.0", "config_contents": "[log]\nlevel = error\n[chttpd_auth]\niterations = 2000\n",
        "overrides": {"log.level": "notice", "chttpd_auth.timeout": 900},
    });
    fixture.must_cast("prepare", order).await?;
    assert_eq!(values(&fixture.couch, &["log.level", "chttpd_auth.timeout"]).await?, ["notice", "900"]);
    let document = fixture.user_document(&al).await?.context("no user")?;
    assert_eq!(document["iterations"], 2000, "the agent hashes as the configuration says");
    detach(&fixture).await?;
    assert_eq!(
        values(&fixture.couch, &["log.level", "chttpd_auth.timeout"]).await?,
        [json!("error"), Value::Null]
    );
    // Trove sends the template's values for the options of a detached group.
    fixture.call("apply_overrides", json!({"overrides": {"log.level": "error"}})).await?;
    assert_eq!(values(&fixture.couch, &["log.level"]).await?, ["error"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_options_do_not_come_over_the_broker() -> Result<()> {
    let fixture = Fixture::up().await?;
    for (method, args) in [
        ("configuration_show", json!({})),
        ("configuration_set", json!({"options": {"log.level": "info"}})),
        ("configuration_unset", json!({"options": ["log.level"]})),
        ("configuration_apply", json!({"contents": ""})),
        ("session_reset", json!({})),
    ] {
        match fixture.call(method, args).await {
            Err(CallError::Failure(failure)) => assert_eq!(failure.class, "Forbidden", "{method}"),
            other => panic!("{method}: {other:?}"),
        }
    }
    Ok(())
}

async fn remove(couch: &CouchServer, option: &str) -> Result<()> {
    let path = format!("/_node/_local/_config/{}", option.replace('.', "/"));
    let (status, body) = couch.client()?.request(Method::DELETE, &path, Some(couch.admin()), None).await?;
    anyhow::ensure!(status.is_success(), "DELETE {path}: {body}");
    Ok(())
}
