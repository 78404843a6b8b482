//! The alert rules fire when they should and only then, and rules and dashboard name existing metrics.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use trove_couchdb_tests::promtool::promtool;

fn grafana() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/grafana").canonicalize().unwrap()
}

fn text(name: &str) -> String {
    std::fs::read_to_string(grafana().join(name)).unwrap()
}

/// The names in the documentation's table.
fn documented() -> BTreeSet<String> {
    let document = std::fs::read_to_string(grafana().join("../../docs/metrics.md")).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).collect()
}

/// Every metric of the agent that a text names, without the suffixes of a histogram.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("trove_couchdb_agent_") || word.starts_with("process_"));
    let base = |word: &str| {
        ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    };
    ours.map(base).collect()
}

#[test]
fn the_rules_are_rules() {
    let said = promtool(&grafana(), &["check", "rules", "alerts.yml"], "").unwrap();
    assert!(said.contains("15 rules found"), "{said}");
}

#[test]
fn each_alert_fires_at_its_fault_and_none_at_a_healthy_guest() {
    promtool(&grafana(), &["test", "rules", "alerts_test.yml"], "").unwrap();
    let (rules, tests) = (text("alerts.yml"), text("alerts_test.yml"));
    for line in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(
            tests.contains(&format!("alertname=\"{line}\", alertstate=\"firing\"")),
            "{line} has no test"
        );
    }
}

/// The links are those of the documentation site, where docs/runbooks.md is runbooks.html.
#[test]
fn each_alert_links_to_its_runbook() {
    let runbooks = std::fs::read_to_string(grafana().join("../../docs/runbooks.md")).unwrap();
    let rules = text("alerts.yml");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts, runbooks.lines().filter_map(|line| line.strip_prefix("## ")).collect::<Vec<_>>());
    let links: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: ")).collect();
    let expected: Vec<String> =
        alerts.iter().map(|alert| format!("\"runbooks.html#{}\"", alert.to_lowercase())).collect();
    assert_eq!(links, expected);
}

#[test]
fn rules_and_dashboard_name_metrics_that_exist() {
    let documented = documented();
    assert!(documented.len() > 15, "{documented:?}");
    for file in ["alerts.yml", "alerts_test.yml", "dashboard.json"] {
        let unknown: Vec<_> =
            named(&text(file)).into_iter().filter(|name| !documented.contains(name)).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
    let dashboard: Value = serde_json::from_str(&text("dashboard.json")).unwrap();
    let shown = named(&dashboard.to_string());
    // Whether Trove has prepared the guest changes only once, and the start time is used by an alert.
    let left_out: Vec<_> = documented.iter().filter(|name| !shown.contains(*name)).collect();
    assert_eq!(left_out, ["process_start_time_seconds", "trove_couchdb_agent_prepared"]);
}

#[test]
fn every_query_of_the_dashboard_is_promql() {
    let dashboard: Value = serde_json::from_str(&text("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut rules = vec!["groups:\n  - name: dashboard\n    rules:\n".to_owned()];
    let mut count = 0;
    for target in targets {
        count += 1;
        let query = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
        rules.push(format!("      - record: panel:query:{count}\n        expr: {}\n", Value::from(query)));
    }
    assert!(count > 15, "{count} queries");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("dashboard.yml"), rules.concat()).unwrap();
    let said = promtool(directory.path(), &["check", "rules", "dashboard.yml"], "").unwrap();
    assert!(said.contains(&format!("{count} rules found")), "{said}");
}
