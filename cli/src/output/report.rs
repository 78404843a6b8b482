//! What a verb found, whatever its form will be.

use serde_json::{Map, Value};

/// The result of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Several things of one kind.
    List {
        /// The columns: the keys of JSON, and the heads of a table.
        columns: &'static [&'static str],
        /// A value for each column.
        rows: Vec<Vec<Value>>,
    },
    /// One thing.
    Record(Vec<(&'static str, Value)>),
    /// Something that was done; a table is just the sentence.
    Done {
        /// What was done, for people.
        message: String,
        /// The same for programs. What stands in `shown` as well is shown to people too.
        record: Vec<(&'static str, Value)>,
        /// Which of its keys people have to see: a generated password.
        shown: &'static [&'static str],
    },
    /// Text that is shown as it is in every format: a file, a manual page.
    Text(String),
}

impl Report {
    /// Something that was done.
    pub fn done(message: impl Into<String>, record: Vec<(&'static str, Value)>) -> Self {
        Self::Done { message: message.into(), record, shown: &[] }
    }

    /// The same as JSON.
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

/// Text of somebody else's for a terminal: control characters could move the cursor and forge output.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { c.escape_unicode().to_string() } else { c.to_string() })
        .collect()
}
