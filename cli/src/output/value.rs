//! Plain values for shell scripts: one line per row, columns separated by tabs.

use serde_json::Value;

use super::Report;

/// The report without decoration.
pub(super) fn render(report: &Report) -> String {
    match report {
        Report::List { rows, .. } => rows.iter().map(|row| line(row)).collect(),
        Report::Record(record) | Report::Done { record, .. } => {
            line(&record.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>())
        }
        Report::Text(text) => text.clone(),
    }
}

fn line(values: &[Value]) -> String {
    values.iter().map(bare).collect::<Vec<_>>().join("\t") + "\n"
}

/// Text that would break a line or a column is escaped as JSON; names need no escapes.
fn bare(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.chars().any(char::is_control) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(bare).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_is_a_line() {
        let rows = vec![vec![json!("al"), json!(["a", "b"])], vec![json!("bo"), json!([])]];
        let report = Report::List { columns: &["name", "databases"], rows };
        assert_eq!(render(&report), "al\ta,b\nbo\t\n");
        let record = Report::Record(vec![("x", json!(true)), ("y", json!(null)), ("z", json!("a\nb"))]);
        assert_eq!(render(&record), "true\t\t\"a\\nb\"\n");
    }
}
