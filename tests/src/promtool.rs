//! Prometheus' own checker, installed by `make deps` or found in PATH.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The program that `tests/scripts/deps.sh` extracts from Debian's package.
const OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/promtool");

fn program() -> PathBuf {
    if Path::new(OWN).is_file() { OWN.into() } else { "promtool".into() }
}

/// Runs `promtool` in `directory` with `input` and returns its output; an error if it fails.
pub fn promtool(directory: &Path, arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new(program())
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("no promtool: run `make deps`")?;
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = format!("{}{}", String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "promtool {arguments:?}: {said}");
    Ok(said)
}
