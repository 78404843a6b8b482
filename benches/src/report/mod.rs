//! Generates the goals in `docs/performance.md`, its plots, and the tables in `docs/performance-results.md`,
//! between markers; the prose around them is written by hand and kept.
//!
//! ```text
//! <!-- begin: rpc -->   generated   <!-- end: rpc -->
//! ```

mod check;
pub mod svg;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

pub use check::check;
pub use svg::draw;

use crate::results::{Goal, Results, Section, Table};

/// The paths of the generated files.
#[derive(Debug, Clone)]
pub struct Files {
    /// The figures.
    pub results: PathBuf,
    page: PathBuf,
    tables: PathBuf,
    plots: PathBuf,
}

impl Files {
    /// The files of the workspace that holds `benches`.
    pub fn of(benches: &Path) -> Self {
        let docs = benches.with_file_name("docs");
        Self {
            results: benches.join("results.json"),
            page: docs.join("performance.md"),
            tables: docs.join("performance-results.md"),
            plots: docs.join("performance"),
        }
    }
}

/// Writes the pages and the plots.
pub fn write(results: &Results, files: &Files) -> Result<()> {
    std::fs::create_dir_all(&files.plots)?;
    for plot in results.sections.values().flat_map(|section| &section.plots) {
        std::fs::write(files.plots.join(format!("{}.svg", plot.name)), draw(plot))?;
    }
    rewrite(&files.page, |before| page(before, results))?;
    rewrite(&files.tables, |before| tables(before, results))?;
    for path in [&files.results, &files.page, &files.tables, &files.plots] {
        eprintln!("written: {}", path.display());
    }
    Ok(())
}

fn rewrite(file: &Path, with: impl Fn(&str) -> Result<String>) -> Result<()> {
    let before = std::fs::read_to_string(file)
        .with_context(|| format!("{} is missing: its prose is written by hand", file.display()))?;
    std::fs::write(file, with(&before)?)?;
    Ok(())
}

/// The page for readers, with the goals replaced.
pub fn page(before: &str, results: &Results) -> Result<String> {
    let goals = results.sections.values().flat_map(|section| &section.goals);
    replaced(before, "goals", &self::goals(goals))
}

/// The page with the tables, with every generated part replaced.
pub fn tables(before: &str, results: &Results) -> Result<String> {
    let mut page = replaced(before, "machine", &machine(&results.machine))?;
    for (name, section) in &results.sections {
        page = replaced(&page, name, &self::section(section))?;
    }
    Ok(page)
}

fn replaced(page: &str, name: &str, text: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- begin: {name} -->"), format!("<!-- end: {name} -->"));
    let missing = || format!("the page has no {begin} … {end}");
    let (before, rest) = page.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    Ok(format!("{before}{begin}\n{text}{end}{after}"))
}

fn machine(facts: &BTreeMap<String, String>) -> String {
    facts.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a String cannot fail.
        let _written = writeln!(text, "- {name}: {value}");
        text
    })
}

fn goals<'a>(goals: impl Iterator<Item = &'a Goal>) -> String {
    table(&Table {
        caption: String::new(),
        head: ["what", "goal", "measured", "met"].map(str::to_owned).to_vec(),
        rows: goals
            .map(|goal| {
                let met = if goal.met { "yes" } else { "**no**" };
                vec![goal.what.clone(), goal.wanted.clone(), goal.measured.clone(), met.to_owned()]
            })
            .collect(),
    })
}

/// One section's tables.
pub fn section(section: &Section) -> String {
    let mut text = format!("Measured {}.\n\n", section.measured);
    for one in &section.tables {
        text += &table(one);
        text.push('\n');
    }
    if !section.ratios.is_empty() {
        text += &table(&Table {
            caption: "Ratios that `make bench CHECK=1` holds to".to_owned(),
            head: ["ratio", "value"].map(str::to_owned).to_vec(),
            rows: section
                .ratios
                .iter()
                .map(|(name, ratio)| vec![name.clone(), crate::results::number(ratio.value)])
                .collect(),
        });
    }
    text
}

fn table(table: &Table) -> String {
    let mut text = String::new();
    if !table.caption.is_empty() {
        let _written = writeln!(text, "{}:\n", table.caption);
    }
    let mut row = |cells: &[String]| {
        let _written = writeln!(text, "| {} |", cells.join(" | "));
    };
    row(&table.head);
    row(&vec!["---".to_owned(); table.head.len()]);
    table.rows.iter().for_each(|cells| row(cells));
    text
}
