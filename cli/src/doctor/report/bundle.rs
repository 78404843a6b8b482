//! `--bundle`: an archive for support, without secrets.
//!
//! All text is redacted. If something cannot be read, the archive contains the reason. Only the owner can
//! read the file, and it never replaces an existing file.

use std::{fs, io, path::Path, time::Duration};

use flate2::{Compression, write::GzEncoder};
use tokio::{process::Command, time};
use trove_couchdb_config::{AuditFile, Settings};
use trove_couchdb_system as system;

use super::super::{Examination, report};
use crate::{
    args::Global,
    exit::{CliError, Code},
    output::Output,
    transport,
};

const MODE: u32 = 0o600;
const UNIT: &str = "trove-couchdb-agent";
/// How many of the last log lines are included.
const JOURNAL_LINES: &str = "2000";
const AUDIT_LINES: usize = 500;

/// Writes the archive.
pub async fn write(
    path: &Path,
    global: &Global,
    examination: &Examination,
    output: Output,
) -> Result<(), CliError> {
    let mut entries = vec![
        ("doctor.txt", report::text(examination, output.plain())),
        ("doctor.json", format!("{:#}\n", report::document(examination))),
        ("status.json", status(examination)),
        ("configuration.toml", configuration(global)),
        ("versions.txt", versions(examination)),
        ("journal.txt", journal().await),
    ];
    if let Some(settings) = &examination.settings {
        let state = &settings.guest.state_dir;
        entries.push(("prepared.json", content(&state.join("prepared.json"))));
        entries.push(("last_sent.txt", content(&state.join("last_sent"))));
        entries.push(("audit.txt", audit(settings)));
    }
    let archive = archive(&entries, examination).map_err(|error| unwritten(path, &error))?;
    system::create(path, &archive, MODE).map_err(|error| unwritten(path, &error))
}

fn unwritten(path: &Path, error: &io::Error) -> CliError {
    let error =
        CliError::new(Code::Failed, format!("the archive {} can't be written: {error}", path.display()));
    error.advise("name a file that is not there yet, in a directory of yours")
}

fn archive(entries: &[(&str, String)], examination: &Examination) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    for (name, text) in entries {
        let text = examination.redactor.redact(text);
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(text.len()).unwrap_or(u64::MAX));
        header.set_mode(MODE);
        header.set_mtime(now.as_secs());
        header.set_cksum();
        builder.append_data(&mut header, format!("trove-couchdb-doctor/{name}"), text.as_bytes())?;
    }
    builder.into_inner()?.finish()
}

fn status(examination: &Examination) -> String {
    match &examination.status {
        Some(status) => format!("{status:#}\n"),
        None => "the agent does not answer\n".to_owned(),
    }
}

fn configuration(global: &Global) -> String {
    match trove_couchdb_config::check(transport::sources(&global.sources), system::environment_of_account()) {
        Ok(text) => text,
        Err(error) => format!("# The configuration does not load: {error}\n"),
    }
}

fn versions(examination: &Examination) -> String {
    let status = examination.status.as_ref();
    let told = |value: Option<&serde_json::Value>| {
        value.and_then(serde_json::Value::as_str).unwrap_or("unknown").to_owned()
    };
    let system = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    format!(
        "trove-couchdb {}\nagent {}\ncouchdb {}\nkernel {}\n{}\n",
        env!("CARGO_PKG_VERSION"),
        told(status.map(|status| &status["version"])),
        told(status.map(|status| &status["couchdb"]["version"])),
        system("/proc/sys/kernel/osrelease"),
        system("/etc/os-release"),
    )
}

async fn journal() -> String {
    let asked = Command::new("journalctl")
        .args(["--unit", UNIT, "--lines", JOURNAL_LINES, "--no-pager", "--output", "short-iso"])
        .kill_on_drop(true)
        .output();
    match time::timeout(Duration::from_secs(15), asked).await {
        Ok(Ok(output)) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(Ok(output)) => format!("journalctl: {}\n", String::from_utf8_lossy(&output.stderr).trim()),
        Ok(Err(error)) => format!("journalctl can't be run: {error}\n"),
        Err(_) => "journalctl did not end within 15 s\n".to_owned(),
    }
}

fn content(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| format!("{} can't be read: {error}\n", path.display()))
}

fn audit(settings: &Settings) -> String {
    let AuditFile::At(path) = &settings.audit.file else {
        return "no file of its own (audit.file)\n".to_owned();
    };
    let text = content(path);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.len().saturating_sub(AUDIT_LINES);
    lines.get(last..).unwrap_or_default().join("\n") + "\n"
}
