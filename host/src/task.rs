//! A program that the helper needs for a verb, such as `mkfs` or `apt-get`, with just what it needs.
//!
//! Under systemd each runs as a transient unit of its own, through `systemd-run`: hostd's sandbox has no
//! capability, device or network, and the unit gets only the properties that its task names. Without systemd
//! the program is a child of hostd. The unit's name is fixed for each task, so a task that survived a crash of
//! hostd can't run twice at once.

use std::{ffi::OsString, path::Path, time::Duration};

use trove_couchdb_protocol::host::HostError;

use crate::{
    one_line::one_line,
    program::{self, Ended, Limits, RunError},
};

/// The program that runs a transient unit, waits for it, and exits as it did.
const SYSTEMD_RUN: &str = "/usr/bin/systemd-run";

/// Exists if systemd is the init system; `sd_booted(3)`.
const BOOTED: &str = "/run/systemd/system";

/// How much longer than the unit's own limit the helper waits for `systemd-run`.
const MARGIN: Duration = Duration::from_secs(5);

/// What every task's unit lacks.
const SANDBOX: [&str; 8] = [
    "NoNewPrivileges=yes",
    "PrivateTmp=yes",
    "ProtectHome=yes",
    "ProtectClock=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "RestrictRealtime=yes",
    "SystemCallArchitectures=native",
];

/// A program to run.
#[derive(Debug)]
pub struct Task<'a> {
    /// Names the transient unit: `trove-couchdb-hostd-NAME`.
    pub name: &'static str,
    /// The program's absolute path.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its environment besides `PATH` and `LC_ALL=C`.
    pub environment: &'a [(&'static str, &'a str)],
    /// Properties of the unit besides [`SANDBOX`], such as `PrivateNetwork=yes`.
    pub properties: &'a [&'a str],
    /// Its standard input. A secret belongs here: arguments are seen by everybody.
    pub input: Option<&'a [u8]>,
    /// The limits of the run.
    pub limits: Limits,
}

impl Task<'_> {
    /// Adds a path to the arguments.
    #[must_use]
    pub fn with(mut self, path: &Path) -> Self {
        self.arguments.push(path.into());
        self
    }

    /// Runs the program and returns the end of its standard output.
    ///
    /// # Errors
    /// [`HostError::Task`] with the exit status and the last lines, if it did not exit with 0.
    pub async fn output(self) -> Result<Vec<u8>, HostError> {
        let program = self.program.display().to_string();
        let ended = self.run().await?;
        if ended.status.success() {
            return Ok(ended.stdout);
        }
        let reason = format!("{}: {}", ended.status, one_line(&ended.output()));
        Err(HostError::Task { program, reason })
    }

    /// Runs the program, whatever its exit status.
    ///
    /// # Errors
    /// [`HostError::Task`] if it can't be run, or did not end in time.
    pub async fn run(self) -> Result<Ended, HostError> {
        let program = self.program.display().to_string();
        let failed = |error: RunError| HostError::Task { program, reason: error.to_string() };
        let (path, arguments, margin) = if is_booted() {
            (Path::new(SYSTEMD_RUN), self.as_unit(), MARGIN)
        } else {
            (Path::new("/usr/bin/env"), self.as_child(), Duration::ZERO)
        };
        let limits = Limits { timeout: self.limits.timeout + margin, ..self.limits };
        program::run(path, &arguments, self.input, limits).await.map_err(failed)
    }

    fn as_unit(&self) -> Vec<OsString> {
        let mut all: Vec<OsString> = ["--quiet", "--wait", "--pipe", "--collect"].map(Into::into).into();
        all.push(format!("--unit=trove-couchdb-hostd-{}", self.name).into());
        let seconds = self.limits.timeout.as_secs().max(1);
        all.push(format!("--property=RuntimeMaxSec={seconds}").into());
        all.extend(SANDBOX.iter().chain(self.properties).map(|it| format!("--property={it}").into()));
        all.push("--setenv=LC_ALL=C".into());
        all.extend(self.environment.iter().map(|(name, value)| format!("--setenv={name}={value}").into()));
        all.push("--".into());
        self.add_command(all)
    }

    fn as_child(&self) -> Vec<OsString> {
        let all = self.environment.iter().map(|(name, value)| format!("{name}={value}").into()).collect();
        self.add_command(all)
    }

    fn add_command(&self, mut all: Vec<OsString>) -> Vec<OsString> {
        all.push(self.program.into());
        all.extend(self.arguments.iter().cloned());
        all
    }
}

/// Whether systemd runs this machine.
pub fn is_booted() -> bool {
    Path::new(BOOTED).is_dir()
}

/// Options of a task.
pub fn arguments<const N: usize>(all: [&str; N]) -> Vec<OsString> {
    all.map(Into::into).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn shell(text: &str, input: Option<&'static [u8]>) -> Task<'static> {
        Task {
            name: "test",
            program: Path::new("/bin/sh"),
            arguments: arguments(["-c", text]),
            environment: &[("WORD", "value with blanks")],
            properties: &["PrivateNetwork=yes"],
            input,
            limits: Limits { timeout: Duration::from_secs(60), output: 1000 },
        }
    }

    #[test]
    fn a_unit_has_its_name_its_limit_and_its_properties() {
        let words: Vec<_> =
            shell("true", None).as_unit().into_iter().map(|it| it.into_string().unwrap()).collect();
        assert!(words.contains(&"--unit=trove-couchdb-hostd-test".to_owned()));
        assert!(words.contains(&"--property=RuntimeMaxSec=60".to_owned()));
        assert!(words.contains(&"--property=PrivateNetwork=yes".to_owned()));
        assert!(words.contains(&"--setenv=WORD=value with blanks".to_owned()));
        assert!(words.ends_with(&["--", "/bin/sh", "-c", "true"].map(str::to_owned)));
    }

    #[tokio::test]
    async fn a_child_gets_its_words_and_its_input() {
        if is_booted() {
            return; // as a unit: make walk
        }
        let output = shell("printf %s \"$WORD:\"; cat", Some(b"in")).output().await.unwrap();
        assert_eq!(String::from_utf8(output).unwrap(), "value with blanks:in");
        let error = shell("echo no space left >&2; exit 3", None).output().await.unwrap_err();
        assert_eq!(error.to_string(), "/bin/sh failed: exit status: 3: no space left");
    }
}
