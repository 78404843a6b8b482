//! Exit codes, and the error message of a failed start.

use std::process::ExitCode;

/// The command line or the configuration is invalid, so a restart does not help (sysexits.h, `EX_USAGE`). The
/// systemd unit lists the code in `RestartPreventExitStatus=`.
pub const USAGE: u8 = 64;

/// An error on this machine; a restart may help.
pub const FAILURE: u8 = 1;

/// Prints an error with its causes to standard error.
pub fn with_error(code: u8, error: &dyn std::error::Error) -> ExitCode {
    eprintln!("trove-couchdb-agent: {}", explained(error));
    ExitCode::from(code)
}

/// An error, and those of its causes that its text does not contain yet.
fn explained(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let reason = deeper.to_string();
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        cause = deeper.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("no way in")]
        Silent(#[source] Inner),
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the socket: {source}; move it")]
    struct Inner {
        source: io::Error,
    }

    #[test]
    fn a_cause_is_said_once() {
        let inner = Inner { source: io::Error::from_raw_os_error(2) };
        let text = explained(&Outer::Silent(inner));
        assert_eq!(text, "no way in: the socket: No such file or directory (os error 2); move it");
    }
}
