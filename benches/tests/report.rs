//! The committed page matches the committed figures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, path::Path};

use trove_couchdb_benches::{
    report,
    results::{Goal, Line, Plot, Ratio, Results, Section, Table},
};

const PAGE: &str = "# By hand\n<!-- begin: machine -->\nstale\n<!-- end: machine -->\n<!-- begin: goals -->\n\
                    <!-- end: goals -->\nprose\n<!-- begin: rpc -->\nstale\n<!-- end: rpc -->\nthe end\n";

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
    assert!(page.starts_with("# By hand\n") && page.ends_with("the end\n") && page.contains("\nprose\n"));
    assert!(!page.contains("stale"));
    assert!(page.contains("- cores: 2\n"));
    assert!(page.contains("| calls | ≥ 10 × | 9 × | **no** |"));
    assert!(page.contains("| agent | 1.2 |"));
    assert!(page.contains("![A plot](performance/p.svg)"));
    assert_eq!(report::page(&page, &results()).unwrap(), page, "a second time changes nothing");
}

#[test]
fn a_page_without_a_place_for_a_section_is_refused() {
    let error = report::page("no markers", &results()).unwrap_err().to_string();
    assert!(error.contains("<!-- begin: machine -->"), "{error}");
}

#[test]
fn plots_are_well_formed_and_within_their_frame() {
    let svg = report::draw(&results().sections["rpc"].plots[0]);
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("a &lt; b"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}

/// Fails if the page between the markers, or the figures, were edited by hand.
#[test]
fn the_committed_page_is_that_of_the_committed_figures() {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = Results::read(&benches.join("results.json")).unwrap();
    let page = std::fs::read_to_string(benches.join("../docs/performance.md")).unwrap();
    assert_eq!(report::page(&page, &committed).unwrap(), page, "run target/release/bench --render");
}
