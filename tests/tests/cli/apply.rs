//! The state of a file: reached, and then nothing more to do.

use anyhow::Result;
use in_memory_couchdb::{Fault, Options, Rule};
use trove_couchdb_tests::couch::Credentials;
use trove_couchdb_tests::local_stage::LocalPlan;

use super::tool::{Tool, private};

const FILE: &str = r#"
databases = ["log", "shop"]

[users.al]
databases = ["shop"]
password_file = "PASSWORD"

[users.zoe]
databases = ["log", "shop"]
password_file = "PASSWORD"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn twice_in_a_row_changes_nothing_and_interrupted_it_goes_on() -> Result<()> {
    let stage = LocalPlan::default().in_memory(Options::default()).up().await?;
    let tool = Tool::local(&stage.agent);
    let directory = tempfile::tempdir()?;
    let (file, password) = (directory.path().join("state.toml"), directory.path().join("password"));
    private(&password, "pw\n")?;
    private(&file, &FILE.replace("PASSWORD", &password.display().to_string()))?;
    let file = file.display().to_string();

    let diff = tool.must(&["apply", &file, "--dry-run"]).await?;
    assert!(diff.contains("shop") && diff.contains("zoe"), "{diff}");
    assert!(stage.client.get("/shop", Some(stage.couch.admin())).await?.0 == 404, "a dry run does nothing");

    // CouchDB fails in the middle; the next run goes on.
    let broken = Fault::Answer { status: 400, body: r#"{"error":"bad_request","reason":"no"}"#.to_owned() };
    stage.memory()?.faults().add(Rule::new("PUT", "/shop/_security", broken));
    assert_eq!(tool.run(&["apply", &file, "--yes"]).await?.code, Some(1));
    stage.memory()?.faults().clear();
    tool.must(&["apply", &file, "--yes"]).await?;
    let login = |name: &str| Credentials::new(name, "pw");
    assert!(stage.client.reads("shop", Some(&login("al"))).await?);
    assert!(!stage.client.reads("log", Some(&login("al"))).await?);
    assert!(stage.client.reads("log", Some(&login("zoe"))).await?);

    stage.memory()?.log().clear();
    tool.must(&["apply", &file, "--yes"]).await?;
    assert_eq!(stage.memory()?.log().count("PUT", "*"), 0, "nothing is left to do");
    assert_eq!(tool.run(&["apply", &file, "--dry-run", "--exit-code"]).await?.code, Some(0));

    let exported = tool.must(&["export"]).await?;
    assert!(!exported.contains("pw"), "{exported}");
    let again = tool.run_with(&["apply", "-", "--dry-run", "--exit-code"], &exported).await?;
    assert_eq!(again.code, Some(0), "{again:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_file_goes_only_with_prune_and_a_yes() -> Result<()> {
    let stage = LocalPlan::default().in_memory(Options::default()).up().await?;
    let tool = Tool::local(&stage.agent);
    tool.must(&["database-create", "old"]).await?;
    tool.must(&["user-create", "ghost", "--databases", "old", "--generate"]).await?;
    let wanted = "databases = [\"shop\"]\n";
    tool.must_with(&["apply", "-", "--yes"], wanted).await?;
    assert!(tool.must(&["database-list", "--output", "value"]).await?.contains("old"));
    assert_eq!(tool.run_with(&["apply", "-", "--prune"], wanted).await?.code, Some(6));
    assert!(tool.must(&["user-list", "--output", "value"]).await?.contains("ghost"));
    tool.must_with(&["apply", "-", "--prune", "--yes"], wanted).await?;
    assert_eq!(tool.must(&["database-list", "--output", "value"]).await?.trim(), "shop");
    assert_eq!(tool.must(&["user-list", "--output", "value"]).await?.trim(), "");
    Ok(())
}
