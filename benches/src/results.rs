//! The results of a run: figures, and the tables, plots, goals and ratios computed from them; the format of
//! `benches/results.json`.
//!
//! The sections write it; the report and `CHECK=1` read it.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::stats::Spread;

/// All sections of a run, by name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Results {
    /// The machine's properties.
    pub machine: BTreeMap<String, String>,
    /// The sections by name, such as `rpc`.
    pub sections: BTreeMap<String, Section>,
}

/// One section of the report.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Section {
    /// The time of the measurement and its sizes.
    pub measured: String,
    /// Raw figures by name; the name includes the unit.
    pub figures: BTreeMap<String, Spread>,
    /// Tables for people.
    pub tables: Vec<Table>,
    /// Plots.
    pub plots: Vec<Plot>,
    /// The targets.
    pub goals: Vec<Goal>,
    /// The ratios that `CHECK=1` compares: they do not depend on the machine's speed.
    pub ratios: BTreeMap<String, Ratio>,
}

/// A table: a head and rows of the same length.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Table {
    /// The caption.
    pub caption: String,
    /// The head.
    pub head: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

/// Lines over one axis.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Plot {
    /// The file's name, without an extension.
    pub name: String,
    /// The title.
    pub title: String,
    /// The label of the horizontal axis.
    pub x: String,
    /// The label of the vertical axis.
    pub y: String,
    /// Whether the axes are logarithmic.
    pub log: (bool, bool),
    /// The lines.
    pub lines: Vec<Line>,
}

/// One line of a plot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// A target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Goal {
    /// The measured quantity.
    pub what: String,
    /// The target value.
    pub wanted: String,
    /// The measured value.
    pub measured: String,
    /// Whether the target is met.
    pub met: bool,
}

/// The ratio of two figures of one run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The ratio.
    pub value: f64,
    /// Whether more is better.
    pub more_is_better: bool,
}

impl Goal {
    /// A target of at least `wanted`.
    pub fn at_least(what: &str, wanted: f64, measured: f64, unit: &str) -> Self {
        Self::new(what, format!("≥ {}", number(wanted)), measured, unit, measured >= wanted)
    }

    /// A target of at most `wanted`.
    pub fn at_most(what: &str, wanted: f64, measured: f64, unit: &str) -> Self {
        Self::new(what, format!("≤ {}", number(wanted)), measured, unit, measured <= wanted)
    }

    fn new(what: &str, wanted: String, measured: f64, unit: &str, met: bool) -> Self {
        let with_unit = |text: String| if unit.is_empty() { text } else { format!("{text} {unit}") };
        Self { what: what.to_owned(), wanted: with_unit(wanted), measured: with_unit(number(measured)), met }
    }
}

impl Results {
    /// Reads a file; a missing file is an empty run.
    pub fn read(path: &Path) -> Result<Self> {
        match std::fs::read(path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).with_context(|| format!("{} can't be read", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("{} can't be read", path.display())),
        }
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text).with_context(|| format!("{} can't be written", path.display()))
    }
}

/// A number with three significant digits.
pub fn number(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        _ if !(f64::EPSILON..100.0).contains(&size) => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if size < 1e4 { trimmed(text) } else { grouped(&text) }
}

fn trimmed(text: String) -> String {
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0
            && (digits.len() - index).is_multiple_of(3)
            && digit.is_ascii_digit()
            && !text.ends_with('-')
        {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A spread as text: the median with its quartiles.
pub fn spread(spread: Spread) -> String {
    if spread.runs < 2 {
        return number(spread.median);
    }
    format!("{} ({}–{})", number(spread.median), number(spread.low), number(spread.high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_no_more() {
        let shown = [0.0, 0.012_34, 1.0, 1.234, 12.34, 123.4, 1234.5, 12345.6, 1_234_567.0].map(number);
        assert_eq!(shown, ["0", "0.012", "1", "1.23", "12.3", "123", "1234", "12,346", "1,234,567"]);
    }

    #[test]
    fn a_goal_knows_whether_it_is_met() {
        assert!(Goal::at_least("x", 10.0, 12.0, "×").met);
        let missed = Goal::at_most("x", 1.3, 1.4, "×");
        assert_eq!(
            (missed.met, missed.wanted.as_str(), missed.measured.as_str()),
            (false, "≤ 1.3 ×", "1.4 ×")
        );
    }
}
