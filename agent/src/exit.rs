//! How the process ends, and what it says when it ends early.

use std::process::ExitCode;

/// The command line or the configuration is wrong: starting again won't help (sysexits.h, `EX_USAGE`). The
/// systemd unit names it in `RestartPreventExitStatus=`.
pub const USAGE: u8 = 64;

/// Something on this machine is wrong; starting again may help.
pub const FAILURE: u8 = 1;

/// Prints an error with its causes to standard error.
pub fn with_error(code: u8, error: &dyn std::error::Error) -> ExitCode {
    eprint!("trove-couchdb-agent: {error}");
    let mut cause = error.source();
    while let Some(deeper) = cause {
        eprint!(": {deeper}");
        cause = deeper.source();
    }
    eprintln!();
    ExitCode::from(code)
}
