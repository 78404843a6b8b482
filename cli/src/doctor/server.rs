//! CouchDB's settings: those that lock out users or the agent although CouchDB answers, and those that allow
//! conflicting versions of a user.

use trove_couchdb_client::{Couch, CouchError, ServerSettings};
use trove_couchdb_config::Settings;

use super::{Check, Finding, databases::named};

static MAINTENANCE: Check = Check::new("couchdb.maintenance", "CouchDB is not in maintenance mode");
static RULES: Check = Check::new("couchdb.password_rules", "Which rules CouchDB has for passwords");
static ITERATIONS: Check =
    Check::new("couchdb.iterations", "CouchDB takes as many rounds of hashing as the agent makes");
static CONFLICTS: Check = Check::new("couchdb.user_conflicts", "No user has conflicting revisions");

pub(super) const CHECKS: &[&Check] = &[&MAINTENANCE, &RULES, &ITERATIONS, &CONFLICTS];

pub(super) async fn look(settings: &Settings, couch: Option<&Couch>, findings: &mut Vec<Finding>) {
    let Some(couch) = couch else {
        findings.extend(CHECKS.iter().map(|check| check.skipped("without a login as os_admin")));
        return;
    };
    match couch.server_settings().await {
        Ok(server) => {
            findings.push(maintenance(&server));
            findings.push(rules(&server));
            findings.push(iterations(&server, u64::from(settings.couchdb.sha256_iterations)));
        }
        Err(error) => findings.extend([&MAINTENANCE, &RULES, &ITERATIONS].map(|check| check.not_run(&error))),
    }
    findings.push(conflicts(couch.user_conflicts().await));
}

fn maintenance(server: &ServerSettings) -> Finding {
    match server.maintenance_mode.as_deref() {
        None | Some("" | "false") => MAINTENANCE.ok("off"),
        Some(mode) => MAINTENANCE.failed(
            format!("maintenance_mode of [couchdb] is {mode}: this node answers, and serves no database"),
            "set it to false when the maintenance is over: `PUT /_node/_local/_config/couchdb/maintenance_mode`, or in \
             the ini file that sets it",
        ),
    }
}

/// CouchDB applies these rules, not the agent.
fn rules(server: &ServerSettings) -> Finding {
    match server.password_regexp.as_deref() {
        None | Some("" | "[]") => RULES.ok("none (password_regexp is not set)"),
        Some(rules) => RULES.ok(format!(
            "password_regexp is {rules}: users' passwords that break it are refused, generated ones too; root's and \
             other administrators' are not looked at"
        )),
    }
}

fn iterations(server: &ServerSettings, ours: u64) -> Finding {
    let advice = "set couchdb.sha256_iterations in agent.toml to a number that [chttpd_auth] of CouchDB allows, restart the \
                  agent, and set the passwords of the users again";
    match (server.min_iterations, server.max_iterations) {
        (_, Some(max)) if ours > max => ITERATIONS.failed(
            format!("max_iterations of CouchDB is {max}, and the agent hashes with {ours}: the users it makes can't log in"),
            advice,
        ),
        (Some(min), _) if ours < min => ITERATIONS.failed(
            format!("min_iterations of CouchDB is {min}, and the agent hashes with {ours}: the users it makes can't log in"),
            advice,
        ),
        _ => ITERATIONS.ok(format!("{ours}")),
    }
}

fn conflicts(found: Result<Vec<String>, CouchError>) -> Finding {
    match found {
        Ok(names) if names.is_empty() => CONFLICTS.ok("none"),
        Ok(names) => CONFLICTS.failed(
            format!("{} has conflicting revisions in _users, so that an old password may come back", named(&names)),
            "two servers changed the same user before they replicated. Set the password again (`trove-couchdb \
             user-update-attributes NAME --new-password`), then delete the other revisions, which `GET \
             /_users/org.couchdb.user:NAME?conflicts=true` names",
        ),
        Err(error) => CONFLICTS.not_run(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn what_keeps_users_out_is_named() {
        let server = |mode: &str| ServerSettings {
            maintenance_mode: Some(mode.to_owned()),
            ..ServerSettings::default()
        };
        assert_eq!(maintenance(&ServerSettings::default()).verdict, Verdict::Ok);
        assert_eq!(maintenance(&server("false")).verdict, Verdict::Ok);
        assert_eq!(maintenance(&server("true")).verdict, Verdict::Failed);
        assert_eq!(maintenance(&server("nolb")).verdict, Verdict::Failed);
        let bounds = |min, max| ServerSettings {
            min_iterations: min,
            max_iterations: max,
            ..ServerSettings::default()
        };
        assert_eq!(iterations(&bounds(None, Some(100_000)), 600_000).verdict, Verdict::Failed);
        assert_eq!(iterations(&bounds(Some(700_000), None), 600_000).verdict, Verdict::Failed);
        assert_eq!(iterations(&bounds(Some(1), Some(600_000)), 600_000).verdict, Verdict::Ok);
        let ruled = ServerSettings {
            password_regexp: Some("[{\".{10,}\"}]".to_owned()),
            ..ServerSettings::default()
        };
        assert!(rules(&ruled).detail.contains("{10,}"));
    }
}
