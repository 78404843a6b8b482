//! docs/errors.md and docs/log.md against the code: each error, log line, exit status and check once, and none that is not there.

use std::collections::BTreeSet;

use trove_couchdb_protocol::FailureClass;

use super::read;
use super::sources::{calls, code_of, says_something, shown};

type Texts = BTreeSet<String>;

/// A table of the pages.
struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

fn tables() -> Vec<Table> {
    let page = read("docs/errors.md") + "\n" + &read("docs/log.md");
    let mut tables = Vec::<Table>::new();
    let mut inside = false;
    for line in page.lines() {
        let Some(cells) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            inside = false;
            continue;
        };
        let cells: Vec<String> = cells.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        match tables.last_mut().filter(|_| inside) {
            Some(table)
                if cells.iter().all(|cell| cell.chars().all(|c| c == '-')) && table.rows.is_empty() => {}
            Some(table) => {
                assert_eq!(cells.len(), table.header.len(), "{line}");
                table.rows.push(cells);
            }
            None => tables.push(Table { header: cells, rows: Vec::new() }),
        }
        inside = true;
    }
    tables
}

/// The cells of all columns with this name that are not empty.
fn column(name: &str) -> Texts {
    let cells = tables().into_iter().filter_map(|table| {
        let at = table.header.iter().position(|its| its == name)?;
        Some(table.rows.into_iter().map(move |mut row| row.swap_remove(at)))
    });
    cells.flatten().filter(|cell| !cell.is_empty()).collect()
}

/// Each must be on a page if it says something, and what is on the pages must be among them.
fn compare(what: &str, code: &Texts, page: &Texts) {
    let missing: Vec<_> = code.iter().filter(|text| says_something(text) && !page.contains(*text)).collect();
    let unknown: Vec<_> = page.difference(code).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "{what}: missing {missing:#?}, unknown {unknown:#?}");
}

#[test]
fn every_message_of_an_error_is_explained() {
    let code = code_of(&["protocol", "system", "config", "couchdb", "guest", "agent", "host", "cli"]);
    let first = |opening: &'static str| {
        let calls = code.iter().flat_map(move |code| calls(code, opening));
        calls.filter_map(|literals| literals.into_iter().next())
    };
    let mut texts: Texts = first("#[error(").collect();
    assert!(texts.len() > 100, "{texts:#?}");
    for opening in ["BootstrapError::Stuck(", "CliError::new(", "CliError::usage("] {
        let found: Vec<_> = first(opening).collect();
        assert!(found.len() > 2, "{opening}");
        texts.extend(found);
    }
    // `CliError::not_found` puts it together.
    texts.insert("… does not exist".to_owned());
    // Passed on as CouchDB's or the system's own words, and parts of other messages.
    for passed_on in ["database …", "user …"] {
        texts.remove(passed_on);
    }
    compare("messages", &texts, &column("message"));
}

#[test]
fn every_line_of_the_log_is_explained() {
    let mut lines = Texts::new();
    for code in code_of(&["system", "couchdb", "guest", "agent"]) {
        for opening in ["warn!(", "error!("] {
            lines.extend(calls(&code, opening).into_iter().filter_map(|mut literals| literals.pop()));
        }
    }
    assert!(lines.len() > 50, "{lines:#?}");
    compare("lines of the log", &lines, &column("line"));
}

#[test]
fn every_class_of_failure_is_explained() {
    let classes: Texts = FailureClass::ALL.iter().map(|class| class.as_str().to_owned()).collect();
    compare("classes", &classes, &column("class"));
}

#[test]
fn every_kind_is_explained() {
    let mut kinds = Texts::new();
    for file in ["protocol/src/error.rs", "couchdb/src/reply/error.rs"] {
        let code = read(file);
        let body = code.split_once("fn kind(&self)").unwrap().1.split_once("\n    }\n").unwrap().0;
        kinds.extend(
            body.lines().filter_map(|line| Some(shown(line.split_once("=> \"")?.1.split_once('"')?.0))),
        );
    }
    assert!(kinds.len() > 25, "{kinds:?}");
    compare("kinds", &kinds, &column("kind"));
}

#[test]
fn every_check_of_the_doctor_is_explained() {
    let code = code_of(&["cli"]);
    let checks: Texts = code
        .iter()
        .flat_map(|code| calls(code, "Check::new("))
        .filter_map(|literals| literals.into_iter().next())
        .collect();
    assert!(checks.len() > 20, "{checks:?}");
    compare("checks", &checks, &column("check"));
}

#[test]
fn every_word_of_the_status_is_explained() {
    let notify = read("agent/src/status/notify.rs");
    let condition = read("agent/src/status/condition.rs");
    let literals_of = |function: &str| {
        let body = condition.split_once(function).unwrap().1.split_once("\n}\n").unwrap().0;
        calls(&format!("(({body})"), "(").into_iter().next().unwrap()
    };
    let mut words: Texts = literals_of("pub fn condition(").into_iter().collect();
    for literals in calls(notify.split("#[cfg(test)]").next().unwrap(), "NotifyState::Status(") {
        words.extend(literals);
    }
    words.remove("…; …");
    assert!(words.len() > 5, "{words:?}");
    let tables = tables();
    let table = tables.iter().find(|table| table.header == ["status", "what it means"]).unwrap();
    compare("words of the status", &words, &table.rows.iter().map(|row| row[0].clone()).collect());

    let mut words: Texts = literals_of("pub fn outline(").into_iter().collect();
    words.remove("…; …");
    let table = tables.iter().find(|table| table.header == ["/readyz", "what it means"]).unwrap();
    compare("words of /readyz", &words, &table.rows.iter().map(|row| row[0].clone()).collect());
}

#[test]
fn every_exit_status_is_explained() {
    let numbers = |file: &str, before: &str, after: &str| -> Texts {
        let code = read(file);
        let found =
            code.lines().filter_map(|line| line.split_once(before)?.1.split_once(after).map(|(n, _)| n));
        found.filter(|number| number.parse::<u8>().is_ok()).map(str::to_owned).collect()
    };
    let mut tool = numbers("cli/src/exit.rs", " = ", ",");
    let mut agent = numbers("agent/src/exit.rs", ": u8 = ", ";");
    assert!(tool.len() == 10 && agent.len() == 2, "{tool:?} {agent:?}");
    assert!(tool.remove("0"), "of both");
    agent.remove("0");
    let tables = tables();
    let table = tables.iter().find(|table| table.header.get(1).is_some_and(|name| name == "of")).unwrap();
    for (of, code) in [("trove-couchdb", tool), ("trove-couchdb-agent", agent)] {
        let page: Texts = table.rows.iter().filter(|row| row[1] == of).map(|row| row[0].clone()).collect();
        assert_eq!(page, code, "{of}");
    }
    assert_eq!(
        table.rows.iter().filter(|row| row[1] == "both").map(|row| &row[0]).collect::<Vec<_>>(),
        ["0"]
    );
}
