//! Irreversible actions require confirmation; passwords are prompted for on a terminal only.

use anyhow::Result;
use trove_couchdb_tests::agent::binary;
use trove_couchdb_tests::local_fixture::LocalFixtureBuilder;

use crate::tool::Tool;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_and_without_yes_nothing_is_deleted() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().up().await?;
    let cli = Tool::local(&fixture.agent);
    let (db, al) = (fixture.name("db"), fixture.name("al"));
    fixture.databases(&[&db]).await?;
    fixture.user(&al, &[&db]).await?;
    let file = fixture.agent.directory().join("state.toml");
    std::fs::write(&file, "")?;
    let file = file.to_string_lossy();
    for verb in [
        &["user-delete", &al][..],
        &["database-delete", &db],
        &["root-disable"],
        &["apply", &file, "--prune"],
        &["apply", &file],
    ] {
        let error = cli.refused(6, verb).await?;
        assert!(
            error.contains("refusing to ") && error.contains("without confirmation; use --yes"),
            "{error}"
        );
        // A "y" on standard input does not confirm: it may come from anywhere.
        assert_eq!(cli.run_with(verb, "y\n").await?.code, Some(6));
    }
    assert!(cli.must(&["user-show-access", &al, "-o", "value"]).await?.contains(&db));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_a_password_must_come_from_standard_input() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().up().await?;
    let cli = Tool::local(&fixture.agent);
    let al = fixture.name("al");
    let asked = cli.run_with(&["user-create", &al], "secret\n").await?;
    assert_eq!(asked.code, Some(64), "{asked:?}");
    assert!(asked.errors.contains("--password-stdin"), "{asked:?}");
    for empty in ["", "\n"] {
        let ended = cli.run_with(&["user-create", &al, "--password-stdin"], empty).await?;
        assert_eq!(ended.code, Some(64), "{ended:?}");
    }
    cli.refused(3, &["user-show", &al]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_the_operator_is_asked() -> Result<()> {
    let fixture = LocalFixtureBuilder::default().up().await?;
    let al = fixture.name("al");
    fixture.user(&al, &[]).await?;
    let socket = fixture.agent.socket();
    // `script` of util-linux gives the program a terminal.
    let on_a_terminal = async |line: &str, answers: &str| -> Result<(String, Option<i32>)> {
        let command = format!(
            "{} --socket {} {line}",
            binary()?.with_file_name("trove-couchdb").display(),
            socket.display()
        );
        let mut child = tokio::process::Command::new("script")
            .args(["--quiet", "--return", "--echo", "never", "--command", &command, "/dev/null"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stdin, answers.as_bytes()).await?;
        let output = child.wait_with_output().await?;
        Ok((String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code()))
    };
    let (shown, code) = on_a_terminal(&format!("user-delete '{al}'"), "n\n").await?;
    assert!(shown.contains("[y/N]") && code == Some(6), "{shown}");
    assert!(fixture.call("get_user", serde_json::json!({"username": al})).await?.is_object());
    let (shown, code) = on_a_terminal(&format!("user-delete '{al}'"), "yes\n").await?;
    assert!(shown.contains("Deleted user") && code == Some(0), "{shown}");
    let bo = fixture.name("bo");
    let (shown, code) = on_a_terminal(&format!("user-create '{bo}'"), "typed pw\ntyped pw\n").await?;
    assert!(code == Some(0) && !shown.contains("typed pw"), "{shown}");
    let login = trove_couchdb_tests::couch::Credentials::new(&bo, "typed pw");
    assert!(fixture.client.logs_in(&login).await?);
    let (shown, code) = on_a_terminal(&format!("user-create '{al}'"), "one\nother\n").await?;
    assert!(shown.contains("differ") && code == Some(64), "{shown}");
    Ok(())
}
