//! A check, and what it found.

use crate::client::Connection;

/// Something that is looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name: `family.what`.
    pub id: &'static str,
    /// What it looks at.
    pub about: &'static str,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It does not apply, or depends on a link that failed.
    Skipped,
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work, or is dangerous.
    Failed,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub check: &'static Check,
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen. Never holds a secret.
    pub detail: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Verdict {
    /// The word for it.
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

    /// It does not apply here, or another finding says why nobody can look.
    pub(super) fn skipped(&'static self, why: impl Into<String>) -> Finding {
        Finding { check: self, verdict: Verdict::Skipped, detail: why.into(), advice: None }
    }

    /// It applies and could not be looked at: nobody knows, which is no "ok", and counts.
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

/// The agent, if it answers; for those checks that ask it.
pub(super) type Asked<'a> = Option<&'a Connection>;
