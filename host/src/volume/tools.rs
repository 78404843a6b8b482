//! Programs that the task runs, and errors.

use std::{ffi::OsStr, fmt::Display, path::Path, time::Duration};

use trove_couchdb_protocol::host::HostError;

use crate::{
    one_line::one_line,
    program::{self, Ended, Limits},
};

/// Where the programs may be. `sbin` is a link to `bin` on newer systems, and the other way round.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// hostd limits the task as a whole.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(86_400), output: 4096 };

/// Runs a program whatever its exit status.
///
/// # Errors
/// [`HostError::Task`] if it does not exist or can't be run.
pub(super) async fn run<A: AsRef<OsStr>>(name: &str, arguments: &[A]) -> Result<Ended, HostError> {
    let mut places = DIRECTORIES.iter().map(|directory| Path::new(directory).join(name));
    let Some(path) = places.find(|path| path.exists()) else {
        return Err(failed(name, &"it is not installed"));
    };
    program::run(&path, arguments, None, LIMITS).await.map_err(|error| failed(name, &error))
}

/// Runs a program that must exit with one of these codes.
///
/// # Errors
/// [`HostError::Task`] with the last lines of its output.
pub(super) async fn must<A: AsRef<OsStr>>(
    name: &str,
    arguments: &[A],
    codes: &[i32],
) -> Result<Ended, HostError> {
    let ended = run(name, arguments).await?;
    if ended.status.code().is_some_and(|code| codes.contains(&code)) {
        return Ok(ended);
    }
    Err(failed(name, &format!("{}: {}", ended.status, one_line(&ended.output()))))
}

/// A program, or a step of our own, that failed half-way.
pub(super) fn failed(what: impl Display, error: &dyn Display) -> HostError {
    HostError::Task { program: what.to_string(), reason: error.to_string() }
}

/// Something is not as it must be; nothing was changed.
pub(super) fn refused(reason: impl Into<String>) -> HostError {
    HostError::Volume { reason: reason.into() }
}
