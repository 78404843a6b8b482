//! `doctor`: each link of the chain, from the configuration to CouchDB, looked at in turn.
//!
//! Each family of checks has a file with the table of its checks and the code that makes findings of them. A check never
//! changes anything, and never fails the doctor. Only links that earlier ones made possible are tried: without a
//! configuration there is no broker to look for, so those checks are skipped. What could not be looked at for a reason of
//! its own is a warning: a check that did not run must not look like one that found nothing.

mod agent;
mod broker;
mod bundle;
mod configuration;
mod couchdb;
mod credentials;
mod databases;
mod host;
mod hostd;
mod ini_files;
mod local_ini;
mod process;
mod redact;
mod report;
mod server;

use std::iter;

use trove_couchdb_config::Settings;

use crate::{args::Global, client::Connection};

pub use bundle::write as write_bundle;
pub use redact::Redactor;
pub use report::{list, show};

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
    const fn new(id: &'static str, about: &'static str) -> Self {
        Self { id, about }
    }

    fn ok(&'static self, detail: impl Into<String>) -> Finding {
        Finding { check: self, verdict: Verdict::Ok, detail: detail.into(), advice: None }
    }

    /// It does not apply here, or another finding says why nobody can look.
    fn skipped(&'static self, why: impl Into<String>) -> Finding {
        Finding { check: self, verdict: Verdict::Skipped, detail: why.into(), advice: None }
    }

    /// It applies and could not be looked at: nobody knows, which is no "ok", and counts.
    fn not_run(&'static self, why: impl std::fmt::Display) -> Finding {
        self.warning(format!("not checked: {why}"), "run the doctor again, as root, when that is repaired")
    }

    fn warning(&'static self, detail: impl Into<String>, advice: impl Into<String>) -> Finding {
        let advice = Some(advice.into());
        Finding { check: self, verdict: Verdict::Warning, detail: detail.into(), advice }
    }

    fn failed(&'static self, detail: impl Into<String>, advice: impl Into<String>) -> Finding {
        let advice = Some(advice.into());
        Finding { check: self, verdict: Verdict::Failed, detail: detail.into(), advice }
    }
}

/// The tables of all families, in the order in which they are looked at and shown.
const FAMILIES: [&[&Check]; 12] = [
    configuration::CHECKS,
    agent::CHECKS,
    credentials::CHECKS,
    couchdb::CHECKS,
    local_ini::CHECKS,
    server::CHECKS,
    process::CHECKS,
    ini_files::CHECKS,
    databases::CHECKS,
    broker::CHECKS,
    host::CHECKS,
    hostd::CHECKS,
];

/// Every check.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    FAMILIES.into_iter().flatten().copied()
}

/// Everything that was found, and what it was found with.
#[derive(Debug)]
pub struct Examination {
    /// One finding for each check.
    pub findings: Vec<Finding>,
    /// The configuration, if it loads.
    pub settings: Option<Settings>,
    /// The agent's own account of itself, if it answers.
    pub status: Option<serde_json::Value>,
    /// What must not be shown.
    pub redactor: Redactor,
}

impl Examination {
    /// The worst that was found.
    pub fn worst(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok)
    }
}

/// Looks at everything.
pub async fn examine(global: &Global) -> Examination {
    let mut findings = Vec::new();
    let settings = configuration::look(global, &mut findings);
    let mut redactor = Redactor::default();
    if let Some(settings) = &settings {
        redactor.learn_settings(settings);
    }
    let connection = agent::connection(global, settings.as_ref());
    let status = agent::look(&connection, settings.as_ref(), &mut findings).await;
    if let Some(settings) = &settings {
        let credentials = credentials::look(settings, status.as_ref(), &mut findings);
        for password in credentials.iter().flat_map(|known| iter::once(&known.password).chain(&known.next)) {
            redactor.learn(password);
            redactor.learn_login("os_admin", password);
        }
        let couch = couchdb::look(settings, credentials.as_ref(), status.as_ref(), &mut findings).await;
        findings.push(local_ini::look(settings, status.as_ref()));
        server::look(settings, couch.as_ref(), &mut findings).await;
        let process = process::look(settings, &mut findings);
        ini_files::look(settings, process.as_ref(), &mut findings);
        // Reading every `_security` of thousands of databases on a busy machine takes its time.
        let patient = agent::patient_connection(global, Some(settings));
        databases::look(status.as_ref().map(|_| &patient), couch.as_ref(), &mut findings).await;
        broker::look(settings, status.as_ref(), &mut findings).await;
        host::look(settings, couch.as_ref(), &mut findings).await;
        hostd::look(settings, &mut findings).await;
    } else {
        skip_the_rest(&mut findings);
    }
    // Looked at as one link makes the next possible, shown in the order of the tables.
    findings.sort_by_key(|finding: &Finding| checks().position(|check| check == finding.check));
    Examination { findings, settings, status, redactor }
}

fn skip_the_rest(findings: &mut Vec<Finding>) {
    let missing: Vec<_> =
        checks().filter(|check| findings.iter().all(|finding| finding.check.id != check.id)).collect();
    findings.extend(missing.into_iter().map(|check| check.skipped("without a configuration")));
}

/// The agent, if it answers; for those checks that ask it.
type Asked<'a> = Option<&'a Connection>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_name_their_family() {
        let mut seen = std::collections::BTreeSet::new();
        for check in checks() {
            assert!(seen.insert(check.id), "{} is there twice", check.id);
            assert_eq!(check.id.matches('.').count(), 1, "{}", check.id);
            assert!(!check.about.is_empty());
        }
    }

    #[test]
    fn the_worst_counts_and_a_skipped_check_is_no_fault() {
        assert!(Verdict::Skipped < Verdict::Ok && Verdict::Ok < Verdict::Warning);
        assert!(Verdict::Warning < Verdict::Failed);
    }
}
