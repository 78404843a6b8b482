//! `doctor`: checks each link from the configuration to CouchDB in turn.
//!
//! Each family of checks has a file with the table of its checks and the code that runs them. A check never
//! changes anything, and a failed check does not stop the doctor. A check that depends on a failed link is
//! skipped: without a configuration there is no broker to connect to. A check that could not run for a
//! different reason is a warning, so that it cannot be mistaken for a success.

mod agent;
mod broker;
mod check;
mod configuration;
mod couchdb;
mod credentials;
mod databases;
mod host;
mod hostd;
mod ini_files;
mod local_ini;
mod process;
mod report;
mod server;

use std::iter;

use trove_couchdb_config::Settings;
use trove_couchdb_guest::redact::Redactor;

use crate::args::Global;

use check::Asked;
pub use check::{Check, Finding, Verdict};
use credentials::CredentialsFile;
pub use report::{bundle::write as write_bundle, list, show};

/// The tables of all families, in the order of output.
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

/// All findings, and the data they are based on.
#[derive(Debug)]
pub struct Examination {
    /// One finding for each check.
    pub findings: Vec<Finding>,
    /// The configuration, if it loads.
    pub settings: Option<Settings>,
    /// The agent's own status, if it answers.
    pub status: Option<serde_json::Value>,
    /// Masks the known secrets.
    pub redactor: Redactor,
}

impl Examination {
    /// The worst result.
    pub fn worst(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok)
    }
}

/// Runs all checks.
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
        let file = credentials::look(settings, status.as_ref(), &mut findings);
        let known = if let CredentialsFile::Known(known) = &file { Some(known) } else { None };
        for password in known.iter().flat_map(|known| iter::once(&known.password).chain(&known.next)) {
            redactor.learn(password);
            redactor.learn_login("os_admin", password);
        }
        let reached = couchdb::reach(settings, &mut findings).await;
        let process = process::look(settings, &mut findings);
        let couch = match reached {
            Some(reached) => {
                reached.look(settings, &file, status.as_ref(), process.as_ref(), &mut findings).await
            }
            None => None,
        };
        findings.push(local_ini::look(settings, status.as_ref()));
        server::look(settings, couch.as_ref(), &mut findings).await;
        ini_files::look(settings, process.as_ref(), &mut findings);
        // Reading every `_security` of thousands of databases on a busy machine takes long.
        let patient = agent::patient_connection(global, Some(settings));
        databases::look(status.as_ref().map(|_| &patient), couch.as_ref(), &mut findings).await;
        broker::look(settings, status.as_ref(), &mut findings).await;
        host::look(settings, couch.as_ref(), &mut findings).await;
        hostd::look(settings, &mut findings).await;
    } else {
        skip_the_rest(&mut findings);
    }
    // The checks run in the order of their dependencies; the output is in the order of the tables.
    findings.sort_by_key(|finding: &Finding| checks().position(|check| check == finding.check));
    Examination { findings, settings, status, redactor }
}

fn skip_the_rest(findings: &mut Vec<Finding>) {
    let missing: Vec<_> =
        checks().filter(|check| findings.iter().all(|finding| finding.check.id != check.id)).collect();
    findings.extend(missing.into_iter().map(|check| check.skipped("without a configuration")));
}

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
