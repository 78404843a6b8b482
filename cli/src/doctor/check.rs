//! A check and its finding.

use crate::client::Connection;

/// A check.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// The name: `family.what`.
    pub id: &'static str,
    /// What it checks.
    pub about: &'static str,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The check does not apply, or depends on a check that failed.
    Skipped,
    /// No problem.
    Ok,
    /// It works, but needs attention.
    Warning,
    /// It does not work, or is dangerous.
    Failed,
}

/// The finding of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub check: &'static Check,
    /// The result.
    pub verdict: Verdict,
    /// What was found. Never contains a secret.
    pub detail: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Verdict {
    /// The word for the result.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

impl Check {
    pub(super) const fn new(id: &'static str, about: &'static str) -> Self {
        Self { id, about }
    }

    pub(super) fn ok(&'static self, detail: impl Into<String>) -> Finding {
        Finding { check: self, verdict: Verdict::Ok, detail: detail.into(), advice: None }
    }

    /// The check does not apply, or a different finding explains why it cannot run.
    pub(super) fn skipped(&'static self, why: impl Into<String>) -> Finding {
        Finding { check: self, verdict: Verdict::Skipped, detail: why.into(), advice: None }
    }

    /// The check applies but could not run: the result is unknown, so it counts as a warning.
    pub(super) fn not_run(&'static self, why: impl std::fmt::Display) -> Finding {
        self.warning(format!("not checked: {why}"), "run the doctor again, as root, when that is repaired")
    }

    pub(super) fn warning(&'static self, detail: impl Into<String>, advice: impl Into<String>) -> Finding {
        let advice = Some(advice.into());
        Finding { check: self, verdict: Verdict::Warning, detail: detail.into(), advice }
    }

    pub(super) fn failed(&'static self, detail: impl Into<String>, advice: impl Into<String>) -> Finding {
        let advice = Some(advice.into());
        Finding { check: self, verdict: Verdict::Failed, detail: detail.into(), advice }
    }
}

/// The agent, if it answers, for the checks that ask it.
pub(super) type Asked<'a> = Option<&'a Connection>;
