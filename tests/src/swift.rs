//! A real Swift from PyPI: controls `tests/python/swift/server.py`.
//!
//! Callers: the tests of published logs. Each test has a process of its own, which takes a second and 80 MB; its
//! virtual environment is made at the first use. Tokens and faults are files that the process reads for each
//! request.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::process::Process;

/// Importing Swift takes a second on an idle core.
const START_LIMIT: std::time::Duration = crate::until::HUNG;

/// A running object store.
#[derive(Debug)]
pub struct Swift {
    // Fields drop in this order.
    _process: Process,
    directory: TempDir,
    port: u16,
}

impl Swift {
    /// Starts it, with `TOKEN` as the token of `test-tenant`.
    pub async fn start() -> Result<Self> {
        let python = tokio::task::spawn_blocking(virtual_environment).await??;
        // Not on a tmpfs of an old kernel, which has no user xattrs.
        let directory = tempfile::Builder::new().prefix("trove-swift-").tempdir()?;
        let place = scripts();
        let mut command = Command::new(&python);
        command.args(["-W", "ignore"]).arg(place.join("server.py")).arg(directory.path().join("swift"));
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONPATH", &place);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(directory.path().join("stderr"))?);
        std::fs::create_dir(directory.path().join("swift"))?;
        let mut process = Process::spawn(&mut command, Some(directory.path()))?;
        let stdout = process.take_stdout().context("Swift has no stdout")?;
        let first = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line = timeout(START_LIMIT, first).await.context("Swift does not start")???;
        let told = || std::fs::read_to_string(directory.path().join("stderr")).unwrap_or_default();
        let port = line
            .split(' ')
            .next()
            .unwrap_or_default()
            .parse()
            .with_context(|| format!("Swift did not start:\n{}", told()))?;
        let swift = Self { _process: process, directory, port };
        swift.tokens("TOKEN test-tenant\n")?;
        Ok(swift)
    }

    /// `swift_url` of Trove.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1/AUTH_", self.port)
    }

    /// Replaces all tokens; lines `TOKEN PROJECT [EXPIRES]`.
    pub fn tokens(&self, lines: &str) -> Result<()> {
        Ok(std::fs::write(self.file("tokens"), lines)?)
    }

    /// Replaces all faults; lines `METHOD TEXT STATUS`.
    pub fn faults(&self, lines: &str) -> Result<()> {
        let new = self.file("faults.new");
        std::fs::write(&new, lines)?;
        Ok(std::fs::rename(new, self.file("faults"))?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("swift").join(name)
    }

    /// Sends a request as `test-tenant`. Returns the status, the headers in lower case, and the body.
    pub async fn ask(&self, method: &str, path: &str, headers: &str) -> Result<(u16, String, String)> {
        self.exchange(method, path, headers, "").await
    }

    /// Creates or replaces an object.
    pub async fn put(&self, container: &str, name: &str, text: &str) -> Result<()> {
        let (status, _, body) = self.exchange("PUT", &format!("/{container}/{name}"), "", text).await?;
        ensure!(status == 201, "{name}: {status} {body}");
        Ok(())
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Result<(u16, String, String)> {
        let request = format!(
            "{method} /v1/AUTH_test-tenant{path} HTTP/1.0\r\nHost: swift\r\nX-Auth-Token: TOKEN\r\nContent-Length: {}\r\n\
             {headers}\r\n{body}",
            body.len()
        );
        let page = crate::web::send_tcp(&format!("127.0.0.1:{}", self.port), &request).await?;
        Ok((page.status, page.head.to_lowercase(), page.body))
    }

    /// The names of the objects in a container, in order.
    pub async fn names(&self, container: &str) -> Result<Vec<String>> {
        let (status, _, body) = self.ask("GET", &format!("/{container}"), "").await?;
        ensure!(status < 300 || status == 404, "{status} {body}");
        Ok(if status < 300 { body.lines().map(str::to_owned).collect() } else { Vec::new() })
    }

    /// The content of an object, which must exist.
    pub async fn content(&self, container: &str, name: &str) -> Result<String> {
        let (status, _, body) = self.ask("GET", &format!("/{container}/{name}"), "").await?;
        ensure!(status == 200, "{name}: {status} {body}");
        Ok(body)
    }

    /// What python-troveclient reads of a log: its last lines, or with `None` all of it by `log save`.
    pub async fn read_by_trove(&self, shown: &Value, lines: Option<u32>) -> Result<String> {
        let (url, shown) = (format!("{}test-tenant", self.url()), shown.to_string());
        tokio::task::spawn_blocking(move || read_by_trove(&url, &shown, lines)).await?
    }
}

fn read_by_trove(url: &str, shown: &str, lines: Option<u32>) -> Result<String> {
    let command = if lines.is_some() { "tail" } else { "save" };
    let mut child = Command::new(virtual_environment()?)
        .args(["-W", "ignore"])
        .arg(scripts().join("reader.py"))
        .args([url, "TOKEN", command, &lines.unwrap_or_default().to_string()])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("no standard input")?.write_all(shown.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python/swift")
}

/// The path of a Python with Swift and Trove's client.
fn virtual_environment() -> Result<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(tests.join("scripts/venv.sh"))
        .arg(tests.join("python/swift/requirements.txt"))
        .arg(tests.join("../target/swift-venv"))
        .stdin(Stdio::null())
        .output()
        .context("cannot run venv.sh")?;
    ensure!(
        output.status.success(),
        "venv.sh failed; PyPI must be reachable:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
