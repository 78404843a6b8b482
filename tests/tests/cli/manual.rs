//! The manual pages, as groff shows them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use trove_couchdb_tests::test_log;

use crate::tool::Tool;

/// A page as text. Fails if groff warns.
async fn shown(page: &Path) -> Result<String> {
    let mut groff = Command::new("groff");
    groff.args(["-man", "-Tutf8", "-ww", "-P-cbou"]).arg(page).kill_on_drop(true);
    let output = groff.output().await?;
    let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() && warnings.is_empty(), "{}: {warnings}", page.display());
    // Some systems show a minus or a hyphen for `\-`.
    Ok(String::from_utf8(output.stdout)?.replace(['\u{2212}', '\u{2010}'], "-"))
}

fn pages(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        pages.push(entry?.path());
    }
    pages.sort();
    Ok(pages)
}

#[tokio::test]
async fn every_manual_page_is_shown_without_a_warning() -> Result<()> {
    if Command::new("groff").arg("--version").output().await.is_err() {
        test_log::skipped("there is no groff");
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    Tool::plain(&[]).must(&["man", "--dir", &directory.path().display().to_string()]).await?;
    let mut all = pages(directory.path())?;
    all.extend(pages(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/man"))?);
    ensure!(all.len() >= 38, "only {} pages", all.len());
    for page in all {
        let text = shown(&page).await?;
        for heading in ["NAME", "SYNOPSIS", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"] {
            ensure!(text.lines().any(|line| line == heading), "{}: no {heading}: {text}", page.display());
        }
        // Lines are adjusted with blanks.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let name = page.file_stem().and_then(|name| name.to_str()).context("no name")?;
        ensure!(text.contains(&format!("{name} - ")), "{}: no name for apropos", page.display());
    }
    Ok(())
}
