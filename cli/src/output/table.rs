//! Tables in the style of OpenStack's shells: plain ASCII, as wide as the terminal allows.
//!
//! If the output is not a terminal, lines are not wrapped, so that grep finds whole lines.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use super::{Report, printable};

/// The report for people, with a final line break unless it is empty.
pub(super) fn render(report: &Report, quiet: bool, width: Option<u16>) -> String {
    match report {
        Report::List { columns, rows } => {
            let mut table = new_table(width);
            if !quiet {
                table.set_header(columns.iter().map(|column| head(column)));
            }
            for row in rows {
                table.add_row(row.iter().map(cell));
            }
            format!("{table}\n")
        }
        Report::Record(record) => {
            let mut table = new_table(width);
            if !quiet {
                table.set_header(["Property", "Value"]);
            }
            for (key, value) in record {
                table.add_row([(*key).to_owned(), cell(value)]);
            }
            format!("{table}\n")
        }
        Report::Done { message, record, shown } => {
            let mut lines = String::new();
            if !quiet {
                lines += &format!("{}\n", printable(message));
            }
            for (key, value) in record.iter().filter(|(key, _)| shown.contains(key)) {
                let label = if quiet { String::new() } else { format!("{key}: ") };
                lines += &format!("{label}{}\n", cell(value));
            }
            lines
        }
        Report::Text(text) => text.clone(),
    }
}

fn new_table(width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_FULL_CONDENSED);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table
}

/// The heading of a column, in the style of the OpenStack shells: `Last Error` for `last_error`.
fn head(column: &str) -> String {
    let capital = |word: &str| match word {
        "couchdb" => "CouchDB".to_owned(),
        "http" | "id" | "url" => word.to_uppercase(),
        word => {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
        }
    };
    column.split('_').map(capital).collect::<Vec<String>>().join(" ")
}

/// A value for people: lists with commas, `-` for null.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_as_wide_as_it_may_be() {
        let rows = vec![vec![json!("al"), json!(["one-database", "another-database"])]];
        let report = Report::List { columns: &["name", "databases"], rows };
        let wide = render(&report, false, None);
        assert!(wide.contains("| al   | one-database, another-database |"), "{wide}");
        let narrow = render(&report, false, Some(30));
        assert!(narrow.lines().all(|line| line.chars().count() <= 30), "{narrow}");
        assert!(!render(&report, true, None).contains("Name"));
    }

    #[test]
    fn a_heading_is_spelt_as_people_spell_it() {
        let heads = ["couchdb_url", "http_url", "id", "last_error", "name"].map(head);
        assert_eq!(heads, ["CouchDB URL", "HTTP URL", "ID", "Last Error", "Name"]);
    }

    #[test]
    fn what_could_move_the_cursor_is_shown_as_text() {
        let report = Report::Record(vec![("name", json!("a\u{1b}[2Jb"))]);
        let text = render(&report, false, None);
        assert!(text.contains("a\\u{1b}[2Jb") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn quiet_keeps_what_must_be_seen() {
        let report = Report::Done {
            message: "created".into(),
            record: vec![("name", json!("al")), ("password", json!("pw"))],
            shown: &["password"],
        };
        assert_eq!(render(&report, false, None), "created\npassword: pw\n");
        assert_eq!(render(&report, true, None), "pw\n");
    }
}
