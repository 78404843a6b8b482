//! Access that Trove's replies cannot represent: by role, of a database's administrators, and of everybody;
//! databases that are deleted with their user; databases that cannot be opened.

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use serde_json::{Value, json};
use trove_couchdb_tests::couch::Method;
use trove_couchdb_tests::local_fixture::{LocalFixture, LocalFixtureBuilder};

use crate::tool::Tool;

async fn fixture() -> Result<(LocalFixture, Tool)> {
    let fixture = LocalFixtureBuilder::default().in_memory(Options::default()).up().await?;
    let cli = Tool::local(&fixture.agent);
    Ok((fixture, cli))
}

async fn put(fixture: &LocalFixture, path: &str, body: Value) -> Result<()> {
    let (status, answer) = fixture.client.put(path, Some(fixture.couch.admin()), &body).await?;
    anyhow::ensure!(status.is_success(), "{path}: {status} {answer}");
    Ok(())
}

async fn security(fixture: &LocalFixture, database: &str) -> Result<Value> {
    Ok(fixture.client.get(&format!("/{database}/_security"), Some(fixture.couch.admin())).await?.1)
}

/// A database with access by role, one with an administrator, a public one, and one with a member without an
/// account.
async fn odd_access(fixture: &LocalFixture) -> Result<()> {
    fixture.databases(&["byrole", "dbadmin", "public", "jw"]).await?;
    fixture.user("ed", &["dbadmin"]).await?;
    fixture.user("wr", &[]).await?;
    let document = "/_users/org.couchdb.user:wr";
    let mut wr = fixture.client.get(document, Some(fixture.couch.admin())).await?.1;
    wr["roles"] = json!(["editor"]);
    put(fixture, document, wr).await?;
    let group = |names: &[&str], roles: &[&str]| json!({"names": names, "roles": roles});
    put(fixture, "/byrole/_security", json!({"admins": group(&[], &[]), "members": group(&[], &["editor"])}))
        .await?;
    put(
        fixture,
        "/dbadmin/_security",
        json!({"admins": group(&["wr"], &[]), "members": group(&["ed"], &[])}),
    )
    .await?;
    put(
        fixture,
        "/jw/_security",
        json!({"admins": group(&[], &["dba"]), "members": group(&["svc@idp"], &[])}),
    )
    .await?;
    put(fixture, "/public/_security", json!({})).await
}

const ALL: [&str; 5] = [
    "database \"byrole\": members by role \"editor\"",
    "database \"dbadmin\": administrator \"wr\"",
    "database \"jw\": member \"svc@idp\", who is no listed user",
    "database \"jw\": administrators by role \"dba\"",
    "database \"public\" is public: everybody may read and write it",
];

#[tokio::test(flavor = "multi_thread")]
async fn roles_administrators_and_everybody_are_shown() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    odd_access(&fixture).await?;
    let listed = cli.must(&["user-list"]).await?;
    let exported = cli.must(&["export"]).await?;
    let document = cli.json(&["export"]).await?;
    for text in ALL {
        assert!(listed.contains(text), "{text}: {listed}");
        assert!(exported.contains(text), "{text}: {exported}");
        assert!(document["undescribed"].as_array().unwrap().contains(&json!(text)), "{text}: {document}");
    }
    // Output for scripts is unchanged.
    let bare = cli.run(&["user-list", "-o", "value"]).await?;
    assert_eq!(bare.output, "ed\t%\tdbadmin\nwr\t%\t\n");
    assert!(bare.errors.contains(ALL[0]) && bare.errors.contains(ALL[4]), "{bare:?}");

    let of_wr = cli.must(&["user-show-access", "wr"]).await?;
    for text in [
        "database \"byrole\", as a member by role \"editor\"",
        "database \"dbadmin\", as its administrator",
        "database \"public\", which is public: everybody",
    ] {
        assert!(of_wr.contains(text), "{text}: {of_wr}");
    }
    let of_ed = cli.must(&["user-show-access", "ed"]).await?;
    assert!(of_ed.contains("dbadmin") && !of_ed.contains("byrole"), "{of_ed}");
    assert_eq!(cli.json(&["user-show", "wr"]).await?["roles"], json!(["editor"]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_does_not_describe_is_not_called_described() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    odd_access(&fixture).await?;
    let exported = cli.must(&["export"]).await?;
    let planned = cli.run_with(&["apply", "-", "--dry-run", "--prune", "--exit-code"], &exported).await?;
    assert_eq!(planned.code, Some(8), "{planned:?}");
    assert!(
        planned.output.contains("Nothing to do") && !planned.output.contains("as the file describes"),
        "{planned:?}"
    );
    assert!(ALL.iter().all(|text| planned.output.contains(text)), "{planned:?}");
    let before = security(&fixture, "byrole").await?;
    cli.must_with(&["apply", "-", "--prune", "--yes"], &exported).await?;
    assert_eq!(security(&fixture, "byrole").await?, before);
    // Without public databases the server matches the description.
    for database in ["byrole", "dbadmin", "public", "jw"] {
        put(
            &fixture,
            &format!("/{database}/_security"),
            json!({"members": {"names": [], "roles": ["_admin"]}}),
        )
        .await?;
    }
    let exported = cli.must(&["export"]).await?;
    let planned = cli.run_with(&["apply", "-", "--dry-run", "--prune", "--exit-code"], &exported).await?;
    assert_eq!(planned.code, Some(0), "{planned:?}");
    assert!(planned.output.contains("everything is as the file describes it"), "{planned:?}");
    // Objects that are not in the file are kept, but not reported as described.
    let kept = cli.must_with(&["apply", "-", "--dry-run"], "databases = [\"jw\"]\n").await?;
    assert!(kept.contains("Nothing to do.") && kept.contains("database \"public\""), "{kept}");
    Ok(())
}

/// `couch_peruser` with `delete_dbs`, and the databases that it created.
async fn own_databases(fixture: &LocalFixture) -> Result<()> {
    for (key, value) in [("enable", "true"), ("delete_dbs", "true")] {
        put(fixture, &format!("/_node/_local/_config/couch_peruser/{key}"), json!(value)).await?;
    }
    fixture.databases(&["userdb-616c", "userdb-626f"]).await?;
    put(fixture, "/userdb-616c/a", json!({"a": 1})).await?;
    fixture.user("al", &["userdb-616c"]).await?;
    fixture.user("bo", &["userdb-626f"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_with_its_user_is_announced() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    own_databases(&fixture).await?;
    let file = "databases = [\"userdb-626f\"]\n[users.bo]\ndatabases = [\"userdb-626f\"]\n";
    let planned = cli.must_with(&["apply", "-", "--prune", "--dry-run"], file).await?;
    assert!(planned.contains("- user \"al\" and its database \"userdb-616c\" (1 document, "), "{planned}");
    assert_eq!(planned.matches("userdb-616c").count(), 1, "it is deleted once: {planned}");
    let steps = cli.run_with(&["apply", "-", "--prune", "--dry-run", "-o", "json"], file).await?.output;
    let steps: Value = serde_json::from_str(&steps)?;
    assert_eq!(steps["steps"][0]["deleted_with_it"]["database"], "userdb-616c", "{steps}");
    let deleted = cli.must(&["user-delete", "al", "--yes"]).await?;
    assert!(deleted.contains("CouchDB deletes its database \"userdb-616c\" (1 document, "), "{deleted}");
    Ok(())
}

/// `cases/apply/pu.toml` from a real site: the file has the database, but not the user that it is deleted
/// with.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_keeps_what_goes_with_a_user_is_refused() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    own_databases(&fixture).await?;
    let file = "databases = [\"userdb-616c\", \"userdb-626f\"]\n[users.al]\ndatabases = [\"userdb-616c\"]\n";
    let planned = cli.must_with(&["apply", "-", "--prune", "--dry-run"], file).await?;
    assert!(planned.contains("! the file keeps database \"userdb-626f\""), "{planned}");
    let refused = cli.run_with(&["apply", "-", "--prune", "--yes"], file).await?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.errors.contains("userdb-626f") && refused.errors.contains("nothing was done"),
        "{refused:?}"
    );
    assert!(cli.must(&["user-list", "-o", "value"]).await?.contains("bo\t"));
    let another = "/_node/_local/_config/couch_peruser/database_prefix";
    put(&fixture, another, json!("own-")).await?;
    let planned = cli.must_with(&["apply", "-", "--prune", "--dry-run"], file).await?;
    assert!(planned.contains("- user \"bo\"\n"), "the prefix is CouchDB's: {planned}");
    Ok(())
}

/// Mutation: empty-file-deletes-all (docs/guarantees.md).
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_deletes_nothing_unless_it_may() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    fixture.databases(&["shop"]).await?;
    fixture.user("al", &["shop"]).await?;
    for file in ["", "[users.al]\n", "databases = [\"shop\"]\n"] {
        for more in ["--dry-run", "--yes"] {
            let refused = cli.run_with(&["apply", "-", "--prune", more], file).await?;
            assert_eq!(refused.code, Some(64), "{file:?}: {refused:?}");
            assert!(
                refused.errors.contains("--allow-empty") && refused.errors.contains("nothing was done"),
                "{refused:?}"
            );
        }
        let planned = cli.run_with(&["apply", "-", "--prune", "--allow-empty", "--dry-run"], file).await?;
        assert_eq!(planned.code, Some(0), "{file:?}: {planned:?}");
    }
    assert_eq!(cli.must(&["user-list", "-o", "value"]).await?, "al\t%\tshop\n");
    cli.must_with(&["apply", "-", "--prune", "--allow-empty", "--yes"], "").await?;
    assert_eq!(cli.must(&["database-list", "-o", "value"]).await?, "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_opened_is_named_and_left_alone() -> Result<()> {
    let (fixture, cli) = fixture().await?;
    fixture.databases(&["broken", "shop"]).await?;
    fixture.user("al", &["shop"]).await?;
    let body = r#"{"error":"internal_server_error","reason":"No DB shards could be opened."}"#.to_owned();
    fixture.memory()?.faults().add(Rule::new(
        "GET",
        "/broken/_security",
        Fault::Answer { status: 500, body },
    ));
    let text = "database \"broken\": it is unknown who has access, because CouchDB can't open it";
    for shown in [cli.must(&["user-list"]).await?, cli.must(&["export"]).await?] {
        assert!(shown.contains(text), "{shown}");
    }
    let file = "databases = [\"shop\"]\n[users.al]\ndatabases = [\"shop\"]\n";
    let planned = cli.run_with(&["apply", "-", "--prune", "--dry-run", "--exit-code"], file).await?;
    assert_eq!(planned.code, Some(8), "{planned:?}");
    assert!(planned.output.contains(text) && !planned.output.contains("- database"), "{planned:?}");
    drop(fixture.client.request(Method::GET, "/", None, None).await?);
    Ok(())
}
