//! The exit codes, and the parts of an error: what failed, why, and what to try.

use std::fmt;

use trove_couchdb_guest::help::ExitCode;
use trove_couchdb_protocol::{Failure, FailureClass};

use crate::client::CallError;

/// The exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Done.
    Done = 0,
    /// The command failed.
    Failed = 1,
    /// Called without a command; the same code as shells use for wrong usage.
    NoCommand = 2,
    /// The named object does not exist.
    NotFound = 3,
    /// The agent or the broker is unreachable.
    Unreachable = 4,
    /// No answer in time.
    Timeout = 5,
    /// The operator did not confirm, or could not be asked.
    Refused = 6,
    /// The object to create already exists.
    Exists = 7,
    /// Nothing failed, but something needs attention.
    Attention = 8,
    /// `EX_USAGE` of sysexits.h; the agent uses it, too.
    Usage = 64,
}

impl Code {
    /// All codes.
    pub const ALL: [Self; 10] = [
        Self::Done,
        Self::Failed,
        Self::NoCommand,
        Self::NotFound,
        Self::Unreachable,
        Self::Timeout,
        Self::Refused,
        Self::Exists,
        Self::Attention,
        Self::Usage,
    ];

    /// The number, and what it means, for `--help` and the manual pages.
    pub const fn explained(self) -> ExitCode {
        let meaning = match self {
            Self::Done => "done",
            Self::Failed => "the command failed, or `doctor` found a failure",
            Self::NoCommand => "called without a command",
            Self::NotFound => "the user, database, access or operation does not exist",
            Self::Unreachable => "the agent or the broker can't be reached",
            Self::Timeout => "no answer within --timeout; the command may have taken effect",
            Self::Refused => "not confirmed; nothing was changed",
            Self::Exists => "it exists already",
            Self::Attention => {
                "`doctor`: warnings only; `apply --dry-run --exit-code`: changes pending, or access that the file can't \
                 describe"
            }
            Self::Usage => "wrong usage, or a configuration or file that can't be read",
        };
        (self as u8, meaning)
    }
}

impl From<Code> for std::process::ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// The error that the operator reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    /// The exit code.
    pub code: Code,
    /// What failed, and why. Never contains a secret.
    pub message: String,
    /// What to try, if the message does not say it.
    pub advice: Option<String>,
}

impl CliError {
    /// An error without advice.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), advice: None }
    }

    /// Adds advice.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// The error for an object that does not exist, such as `user "al"`.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("{what} does not exist"))
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        match &self.advice {
            Some(advice) => write!(formatter, "\n  try: {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CliError {}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        let advice = error.advice();
        let code = match &error {
            CallError::Failure(failure) => code_of(failure),
            CallError::Unreachable { .. } | CallError::NoAgent { .. } | CallError::BrokenOff { .. } => {
                Code::Unreachable
            }
            CallError::Timeout { .. } => Code::Timeout,
            CallError::Undecodable(_) => Code::Failed,
        };
        Self { code, message: error.to_string(), advice }
    }
}

fn code_of(failure: &Failure) -> Code {
    let not_found =
        [FailureClass::UserNotFound, FailureClass::DatabaseNotFound, FailureClass::OperationNotFound];
    if not_found.into_iter().any(|class| failure.is(class)) {
        Code::NotFound
    } else if failure.is(FailureClass::UserAlreadyExists) {
        Code::Exists
    } else {
        Code::Failed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_the_agent_answers_decides_the_code() {
        let code = |class| CliError::from(CallError::Failure(Failure::new(class, "x"))).code;
        assert_eq!(code(FailureClass::UserNotFound), Code::NotFound);
        assert_eq!(code(FailureClass::DatabaseNotFound), Code::NotFound);
        assert_eq!(code(FailureClass::UserAlreadyExists), Code::Exists);
        assert_eq!(code(FailureClass::CouchDbError), Code::Failed);
        let late = CallError::Timeout { limit: Duration::from_secs(3), method: "rpc_ping".to_owned() };
        assert_eq!(CliError::from(late).code, Code::Timeout);
    }
}
