//! The result of a verb, in any format.

use serde_json::{Map, Value};

/// The result of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Several objects of one kind.
    List {
        /// The columns: the keys in JSON and the headings of a table.
        columns: &'static [&'static str],
        /// A value for each column.
        rows: Vec<Vec<Value>>,
    },
    /// One object.
    Record(Vec<(&'static str, Value)>),
    /// A completed action; in a table only the sentence.
    Done {
        /// The sentence for people.
        message: String,
        /// The record for programs.
        record: Vec<(&'static str, Value)>,
        /// The keys of the record that people also see: a generated password.
        shown: &'static [&'static str],
    },
    /// Text that every format shows unchanged: a file, a manual page.
    Text(String),
}

impl Report {
    /// A completed action.
    pub fn done(message: impl Into<String>, record: Vec<(&'static str, Value)>) -> Self {
        Self::Done { message: message.into(), record, shown: &[] }
    }

    /// The result as JSON.
    pub fn to_value(&self) -> Value {
        match self {
            Self::List { columns, rows } => {
                let object = |row: &Vec<Value>| -> Value {
                    let pairs = columns.iter().map(|column| (*column).to_owned()).zip(row.iter().cloned());
                    Value::Object(pairs.collect())
                };
                rows.iter().map(object).collect()
            }
            Self::Record(record) | Self::Done { record, .. } => {
                let pairs = record.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
            Self::Text(text) => Value::from(text.as_str()),
        }
    }
}

/// Untrusted text, safe for a terminal: control characters could move the cursor and forge output.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { c.escape_unicode().to_string() } else { c.to_string() })
        .collect()
}
