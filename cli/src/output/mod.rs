//! Shows the result of a command as a table, JSON, YAML or plain values.
//!
//! A verb returns a [`Report`], whatever its format. Results go to standard output; all other messages go to
//! standard error or are suppressed, so that scripts only read results.

mod report;
mod table;
mod value;

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

pub use report::{Report, printable};

use crate::{
    args::{ColorWhen, Format, OutputArgs},
    exit::{CliError, Code},
};

/// How results are shown.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    format: Format,
    quiet: bool,
    color: bool,
    width: Option<u16>,
}

impl Output {
    /// The output for this command line and terminal.
    pub fn new(args: &OutputArgs) -> Self {
        let terminal = io::stdout().is_terminal();
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = terminal_size::terminal_size().filter(|_| terminal).map(|(width, _)| width.0);
        Self {
            format: args.output,
            quiet: args.quiet,
            color: match args.color {
                ColorWhen::Always => true,
                ColorWhen::Never => false,
                ColorWhen::Auto => terminal && !unwanted,
            },
            width,
        }
    }

    /// The output for people and a file: everything, without colours.
    #[must_use]
    pub fn plain(self) -> Self {
        Self { format: Format::Table, quiet: false, color: false, width: None }
    }

    /// Whether the format is for people.
    pub fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// Whether only results are shown.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// A text in a style, if colours are enabled.
    pub fn paint(&self, style: anstyle::Style, text: &str) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Shows a result.
    pub fn show(&self, report: &Report) -> Result<(), CliError> {
        let text = match (self.format, report) {
            (_, Report::Text(text)) => text.clone(),
            (Format::Table, report) => table::render(report, self.quiet, self.width),
            (Format::Value, report) => value::render(report),
            (Format::Json, report) => json(&report.to_value())?,
            (Format::Yaml, report) => yaml(&report.to_value())?,
        };
        write_out(&text)
    }

    /// Shows a document that has a separate format for people.
    pub fn show_as(&self, document: &Value, for_people: &str, bare: &str) -> Result<(), CliError> {
        match self.format {
            Format::Table => write_out(for_people),
            Format::Value => write_out(bare),
            Format::Json => write_out(&json(document)?),
            Format::Yaml => write_out(&yaml(document)?),
        }
    }

    /// Shows people a message that is not a result.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }
}

fn json(value: &Value) -> Result<String, CliError> {
    let text = serde_json::to_string_pretty(&sorted(value)).map_err(|error| unshown(&error))?;
    Ok(text + "\n")
}

fn yaml(value: &Value) -> Result<String, CliError> {
    serde_norway::to_string(&sorted(value)).map_err(|error| unshown(&error))
}

/// The value with its keys sorted. `serde_json`'s own order depends on a feature that any other crate may
/// enable, and scripts need a stable order to compare two outputs.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let mut entries: Vec<_> =
                entries.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            entries.sort_by(|(left, _), (right, _)| left.cmp(right));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

fn unshown(error: &dyn std::error::Error) -> CliError {
    CliError::new(Code::Failed, format!("the result can't be shown: {error}"))
}

/// Writes to standard output. A reader that closes the pipe (`| head`) is not an error.
pub fn write_out(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::new(Code::Failed, format!("standard output can't be written: {error}")))
        }
        _ => Ok(()),
    }
}
