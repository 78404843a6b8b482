//! Every verb, over the socket and over RabbitMQ; its effect on CouchDB is checked.

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::json;
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::fixture::{Fixture, FixtureBuilder};
use trove_couchdb_tests::local_fixture::LocalFixtureBuilder;
use trove_couchdb_tests::shared_server::root_alone;

use super::tool::Tool;

fn tools(fixture: &Fixture) -> Vec<(&'static str, Tool)> {
    vec![("socket", Tool::local(&fixture.agent)), ("broker", Tool::broker(&fixture.agent, &fixture.id))]
}

async fn logs_in(fixture: &Fixture, name: &str, password: &str) -> Result<bool> {
    Ok(fixture.client.get("/_session", Some(&Credentials::new(name, password))).await?.0.is_success())
}

#[tokio::test(flavor = "multi_thread")]
async fn users_databases_and_access_over_both_transports() -> Result<()> {
    for builder in [FixtureBuilder::default(), FixtureBuilder::default().encrypted()] {
        let fixture = builder.up().await?;
        for (transport, tool) in tools(&fixture) {
            let name = |base: &str| fixture.name(&format!("{base}-{transport}"));
            let (db, more, al, zoe) = (name("db"), name("more"), name("al"), name("zoe"));
            tool.must(&["database-create", &db]).await?;
            tool.must(&["database-create", &more]).await?;
            let listed = tool.must(&["database-list", "--output", "value"]).await?;
            assert!(listed.lines().any(|line| line == db), "{transport}: {listed}");

            tool.must_with(&["user-create", &al, "--databases", &db, "--password-stdin"], "pw-1\n").await?;
            let login = Credentials::new(&al, "pw-1");
            assert!(fixture.client.reads(&db, Some(&login)).await?, "{transport}");
            tool.refused(7, &["user-create", &al, "--generate"]).await?;
            assert!(tool.must(&["user-list"]).await?.contains(&al));
            assert!(tool.json(&["user-show", &al]).await?.to_string().contains(&db));
            tool.refused(3, &["user-show", &name("nobody")]).await?;

            tool.must(&["user-grant-access", &al, &more]).await?;
            assert!(fixture.client.reads(&more, Some(&login)).await?);
            assert!(tool.must(&["user-show-access", &al]).await?.contains(&more));
            tool.must(&["user-revoke-access", &al, &more, "--yes"]).await?;
            assert!(!fixture.client.reads(&more, Some(&login)).await?);
            tool.refused(3, &["user-revoke-access", &al, &more, "--yes"]).await?;

            tool.must_with(&["user-update-attributes", &al, "--password-stdin"], "pw-2\n").await?;
            assert!(logs_in(&fixture, &al, "pw-2").await? && !logs_in(&fixture, &al, "pw-1").await?);
            tool.must(&["user-update-attributes", &al, "--new-name", &zoe]).await?;
            assert!(fixture.client.reads(&db, Some(&Credentials::new(&zoe, "pw-2"))).await?);

            // Without a terminal and without `--yes` nothing happens.
            tool.refused(6, &["user-delete", &zoe]).await?;
            tool.refused(6, &["database-delete", &db]).await?;
            assert!(logs_in(&fixture, &zoe, "pw-2").await?);
            tool.must(&["user-delete", &zoe, "--yes"]).await?;
            assert!(fixture.user_document(&zoe).await?.is_none());
            tool.refused(3, &["user-delete", &zoe, "--yes"]).await?;
            tool.must(&["database-delete", &db, "--yes"]).await?;
            tool.refused(3, &["database-delete", &db, "--yes"]).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_ping_and_status_over_both_ways() -> Result<()> {
    let fixture = Fixture::up().await?;
    let _alone = root_alone(&fixture.couch).await;
    for (transport, tool) in tools(&fixture) {
        tool.must(&["ping"]).await?;
        tool.must_with(&["root-enable", "--password-stdin"], "root-pw\n").await?;
        assert!(logs_in(&fixture, "root", "root-pw").await?, "{transport}");
        assert!(tool.must(&["root-show", "--output", "json"]).await?.contains("true"));
        let generated = tool.json(&["root-enable"]).await?;
        let password = generated["password"].as_str().unwrap_or_default();
        assert!(logs_in(&fixture, "root", password).await?, "{transport}: no password in the answer");
        tool.must(&["root-disable", "--yes"]).await?;
        assert!(!logs_in(&fixture, "root", password).await?);
        let status = tool.json(&["status"]).await?;
        assert_eq!(status["couchdb"]["state"], "healthy", "{transport}: {status}");
        assert_eq!(status["broker"]["state"], "up");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_that_is_legal_comes_through_and_bad_ones_do_not() -> Result<()> {
    let fixture = Fixture::up().await?;
    for (_, tool) in tools(&fixture) {
        for base in ["a@b.c", "with space", "naïve", "a/b", "--help", "it's \"q\"", "%41"] {
            let user = fixture.name(base);
            tool.must(&["user-create", "--generate", "--", &user]).await?;
            assert!(fixture.user_document(&user).await?.is_some(), "{user}");
            tool.must(&["user-delete", "--yes", "--", &user]).await?;
        }
        for bad in ["_x", "a:b", ""] {
            tool.refused(64, &["user-create", "--generate", "--", bad]).await?;
        }
        for bad in ["Upper", "_users", "a//b", "a.couch"] {
            tool.refused(64, &["database-create", bad]).await?;
        }
        for reserved in ["root", "os_admin"] {
            tool.refused(1, &["user-create", "--generate", reserved]).await?;
            let error = tool.refused(1, &["user-show", reserved]).await?;
            assert!(error.contains("cannot be managed"), "{error}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn os_admin_gets_a_new_password_over_both_transports() -> Result<()> {
    let fixture = FixtureBuilder::default().alone().encrypted().up().await?;
    let file = || -> Result<String> {
        let content: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(fixture.agent.credentials_file())?)?;
        Ok(content["password"].as_str().unwrap_or_default().to_owned())
    };
    for (transport, tool) in tools(&fixture) {
        let old = file()?;
        let said = tool.must(&["rotate-os-admin"]).await?;
        let new = file()?;
        assert!(
            logs_in(&fixture, "os_admin", &new).await? && !logs_in(&fixture, "os_admin", &old).await?,
            "{transport}"
        );
        assert!(!said.contains(&new) && !said.contains(&old), "{said}");
        tool.must(&["database-list"]).await?;
    }
    Ok(())
}

/// If CouchDB is down, the old password stays valid, and the caller gets the reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_fails_says_why_and_leaves_the_old_password() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().in_memory(Options::default()).up().await?;
    let before = std::fs::read_to_string(fixture.agent.credentials_file())?;
    let put =
        Rule::new("PUT", "*/_config/admins/os_admin", Fault::Answer { status: 500, body: "{}".to_owned() });
    fixture.memory()?.faults().add(put);
    let error = Tool::local(&fixture.agent).refused(1, &["rotate-os-admin"]).await?;
    assert!(error.contains("CouchDB failed (500"), "{error}");
    fixture.memory()?.faults().clear();
    let password = |text: &str| -> Result<serde_json::Value> {
        Ok(serde_json::from_str::<serde_json::Value>(text)?["password"].clone())
    };
    assert_eq!(password(&std::fs::read_to_string(fixture.agent.credentials_file())?)?, password(&before)?);
    Ok(())
}

/// The socket works if the message broker is down or not configured.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_everything_works() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().alone().up().await?;
    let tool = Tool::local(&fixture.agent);
    tool.must(&["database-create", "films"]).await?;
    let created = tool.json(&["user-create", "al", "--databases", "films", "--generate"]).await?;
    let password = created["password"].as_str().unwrap_or_default();
    assert!(fixture.client.reads("films", Some(&Credentials::new("al", password))).await?, "{created}");
    let urls = tool.must(&["credentials", "al"]).await?;
    assert!(urls.contains("al@") && urls.contains("films") && !urls.contains(password), "{urls}");
    let status = tool.json(&["status"]).await?;
    assert_eq!(status["broker"]["state"], json!("none"));
    tool.must(&["user-delete", "al", "--yes"]).await?;
    tool.must(&["database-delete", "films", "--yes"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_agent_has_its_own_message_and_exit_code() -> Result<()> {
    let mut fixture = Fixture::up().await?;
    fixture.agent.terminate().await?;
    let error = Tool::local(&fixture.agent).refused(4, &["ping"]).await?;
    assert!(error.contains("agent.sock"), "{error}");
    Tool::broker(&fixture.agent, "no-such-instance").refused(4, &["ping"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_formats() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().alone().up().await?;
    let tool = Tool::local(&fixture.agent);
    for name in ["a", "b", "c"] {
        tool.must(&["database-create", name]).await?;
    }
    let page = tool.must(&["database-list", "--limit", "2", "--output", "value"]).await?;
    assert_eq!(page.lines().collect::<Vec<_>>(), ["a", "b"]);
    let rest = tool.must(&["database-list", "--marker", "b", "--output", "value"]).await?;
    assert_eq!(rest.lines().collect::<Vec<_>>(), ["c"]);
    for format in ["table", "json", "yaml", "value"] {
        let shown = tool.must(&["database-list", "--output", format]).await?;
        assert!(["a", "b", "c"].iter().all(|name| shown.contains(name)), "{format}: {shown}");
        assert!(!shown.contains('\u{1b}'), "no colours away from a terminal");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_urls_over_both_ways() -> Result<()> {
    let fixture = FixtureBuilder::default().encrypted().up().await?;
    for (transport, tool) in tools(&fixture) {
        let (db, al) = (fixture.name(&format!("db-{transport}")), fixture.name(&format!("al-{transport}")));
        let file = format!("databases = [{db:?}]\n[users.{al:?}]\ndatabases = [{db:?}]\ngenerate = true\n");
        // A script can read the generated password in every format.
        let applied = tool.must_with(&["apply", "-", "--yes", "--output", "value"], &file).await?;
        let password =
            applied.lines().find_map(|line| line.split('\t').nth(3).filter(|text| !text.is_empty()));
        assert!(
            fixture.client.reads(&db, Some(&Credentials::new(&al, password.unwrap()))).await?,
            "{transport}"
        );
        let planned = tool.must_with(&["apply", "-", "--dry-run"], &file).await?;
        assert!(planned.contains("Nothing to do"), "{transport}: {planned}");
        assert_eq!(tool.json(&["export"]).await?["users"][&al]["databases"], json!([db]));
        let urls = tool.must(&["credentials", &al, "--host", "db:5984", "--output", "value"]).await?;
        assert_eq!(urls, format!("{al}\t{db}\tcouchdb://{al}@db:5984/{db}\thttp://{al}@db:5984/{db}\n"));
    }
    let error = Tool::broker(&fixture.agent, &fixture.id)
        .refused(64, &["credentials", "os_admin", "--reveal"])
        .await?;
    assert!(error.contains("never leaves the instance"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_shown_to_people_too_and_the_agent_knows_who_asks() -> Result<()> {
    let fixture = Fixture::up().await?;
    for (transport, tool) in tools(&fixture) {
        let status = tool.json(&["status"]).await?;
        assert_eq!(
            (&status["guest_id"], &status["pid"]),
            (&json!(fixture.id), &json!(fixture.agent.pid())),
            "{transport}"
        );
        let table = tool.must(&["status"]).await?;
        for line in ["healthy", "uptime", "last heartbeat", &fixture.id] {
            assert!(table.contains(line), "{line}: {table}");
        }
        tool.must(&["database-create", &fixture.name(&format!("who-{transport}"))]).await?;
    }
    let logs = fixture.agent.logs();
    let told = logs.lines().filter(|line| line.contains("create_database") && line.contains("req-"));
    assert!(told.count() >= 2, "{logs}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_logged_is_changed_over_the_socket_only() -> Result<()> {
    let fixture = FixtureBuilder::default().alone().set("log.filter", "info").up().await?;
    let local = Tool::local(&fixture.agent);
    let said = local.json(&["log-level", "debug,trove_couchdb_agent::couch=trace"]).await?;
    assert_eq!(said["filter"], "debug,trove_couchdb_agent::couch=trace");
    let said = local.must(&["log-level", "--configured"]).await?;
    assert!(said.contains("info"), "{said}");
    let said = local.refused(1, &["log-level", "info,audit=off"]).await?;
    assert!(said.contains("audit"), "{said}");
    let said = local.refused(64, &["log-level", "info,bogus=xx"]).await?;
    assert!(
        said.contains("\"bogus=xx\": \"xx\" is not a level; use off, error, warn, info, debug or trace"),
        "{said}"
    );
    local.refused(64, &["log-level"]).await?;
    let said = Tool::broker(&fixture.agent, &fixture.id).refused(1, &["log-level", "off"]).await?;
    assert!(said.contains("socket"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_user_is_shown_where_its_name_was_waiting() -> Result<()> {
    let fixture = FixtureBuilder::default().up().await?;
    let tool = Tool::local(&fixture.agent);
    let (db, waiting, al) = (fixture.name("db"), fixture.name("waiting"), fixture.name("al"));
    fixture.databases(&[&db, &waiting]).await?;
    let named =
        json!({"admins": {"names": [], "roles": ["_admin"]}, "members": {"names": [al], "roles": []}});
    fixture.set_security(&waiting, &named).await?;
    let said =
        tool.must_with(&["user-create", &al, "--databases", &db, "--password-stdin"], "pw-1\n").await?;
    assert!(said.contains(&format!("with access to {db}. It can also use {waiting}, ")), "{said}");
    assert!(fixture.client.reads(&waiting, Some(&Credentials::new(&al, "pw-1"))).await?, "and so it can");
    Ok(())
}
