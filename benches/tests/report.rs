//! The committed pages match the committed figures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, path::Path};

use trove_couchdb_benches::{
    report,
    results::{Goal, Line, Plot, Ratio, Results, Section, Table},
};

const PAGE: &str = "# By hand\n<!-- begin: goals -->\nstale\n<!-- end: goals -->\nthe end\n";
const TABLES: &str = "# By hand\n<!-- begin: machine -->\nstale\n<!-- end: machine -->\nprose\n\
                      <!-- begin: rpc -->\nstale\n<!-- end: rpc -->\nthe end\n";

fn results() -> Results {
    let table = Table {
        caption: "Calls".to_owned(),
        head: ["server", "ms"].map(str::to_owned).to_vec(),
        rows: vec![["agent", "1.2"].map(str::to_owned).to_vec()],
    };
    let line = Line { name: "a < b".to_owned(), points: vec![(1.0, 10.0), (64.0, 2_000.0)] };
    let plot = Plot {
        name: "p".to_owned(),
        title: "A plot".to_owned(),
        log: (true, true),
        lines: vec![line],
        ..Plot::default()
    };
    let section = Section {
        measured: "today".to_owned(),
        tables: vec![table],
        plots: vec![plot],
        goals: vec![Goal::at_least("calls", 10.0, 9.0, "×")],
        ratios: BTreeMap::from([("r".to_owned(), Ratio { value: 9.0, more_is_better: true })]),
        ..Section::default()
    };
    Results {
        machine: BTreeMap::from([("cores".to_owned(), "2".to_owned())]),
        sections: BTreeMap::from([("rpc".to_owned(), section)]),
    }
}

#[test]
fn text_between_the_markers_is_generated_and_the_rest_is_kept() {
    let page = report::page(PAGE, &results()).unwrap();
    assert!(page.contains("| calls | ≥ 10 × | 9 × | **no** |"));
    assert_eq!(report::page(&page, &results()).unwrap(), page, "a second time changes nothing");
    let tables = report::tables(TABLES, &results()).unwrap();
    for text in ["\nprose\n", "- cores: 2\n", "| agent | 1.2 |"] {
        assert!(tables.contains(text), "{tables}");
    }
    assert_eq!(report::tables(&tables, &results()).unwrap(), tables, "a second time changes nothing");
    for text in [page, tables] {
        assert!(text.starts_with("# By hand\n") && text.ends_with("the end\n"), "{text}");
        assert!(!text.contains("stale"), "{text}");
    }
}

#[test]
fn a_page_without_a_place_for_a_section_is_refused() {
    let error = report::page("no markers", &results()).unwrap_err().to_string();
    assert!(error.contains("<!-- begin: goals -->"), "{error}");
    let error = report::tables("no markers", &results()).unwrap_err().to_string();
    assert!(error.contains("<!-- begin: machine -->"), "{error}");
}

#[test]
fn plots_are_well_formed_and_within_their_frame() {
    let svg = report::draw(&results().sections["rpc"].plots[0]);
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("a &lt; b"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}

/// Fails if the pages between the markers, or the figures, were edited by hand.
#[test]
fn the_committed_pages_are_those_of_the_committed_figures() {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = Results::read(&benches.join("results.json")).unwrap();
    let read = |name: &str| std::fs::read_to_string(benches.join("../docs").join(name)).unwrap();
    let (page, tables) = (read("performance.md"), read("performance-results.md"));
    assert_eq!(report::page(&page, &committed).unwrap(), page, "run target/release/bench --render");
    assert_eq!(report::tables(&tables, &committed).unwrap(), tables, "run target/release/bench --render");
    for plot in committed.sections.values().flat_map(|section| &section.plots) {
        assert!(page.contains(&format!("](performance/{}.svg)", plot.name)), "no page shows {}", plot.name);
    }
}
