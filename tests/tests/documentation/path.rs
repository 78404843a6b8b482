//! Tables that lead a reader through the code: each file and function that they name must be there.

use std::path::Path;

/// A longer path is not read to its end.
const MOST_FILES: usize = 8;

/// The numbered rows of a section's table, `| number | file | functions | … |`. All files and functions exist.
fn rows_that_resolve(document: &str, section: &str) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join(document)).unwrap();
    let section = text.split("\n## ").find(|text| text.starts_with(section)).unwrap();
    let rows: Vec<Vec<&str>> = section
        .lines()
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|cells| cells.get(1).is_some_and(|number| number.parse::<usize>().is_ok()))
        .collect();
    for cells in &rows {
        let file = cells[2].trim_matches('`');
        let code = std::fs::read_to_string(root.join(file)).unwrap_or_else(|_| panic!("there is no {file}"));
        let functions: Vec<&str> = cells[3].split('`').skip(1).step_by(2).collect();
        assert!(!functions.is_empty(), "{file}: no function");
        for function in functions {
            let there = [format!("fn {function}("), format!("fn {function}<")];
            assert!(there.iter().any(|text| code.contains(text)), "{file} has no function {function}");
        }
    }
    for word in section.split('`').skip(1).step_by(2).filter(|word| word.contains('/')) {
        assert!(root.join(word).exists(), "there is no {word}");
    }
    rows.len()
}

#[test]
fn the_path_of_a_command_names_files_and_functions_that_are_there() {
    let rows = rows_that_resolve("docs/architecture.md", "One command, from the queue");
    assert!((2..=MOST_FILES).contains(&rows), "{rows} files");
}

#[test]
fn the_places_of_changes_are_where_contributing_says() {
    assert!(rows_that_resolve("CONTRIBUTING.md", "Where is") >= 8);
}

/// The steps of a command, in its picture and in the text above it.
#[test]
fn the_picture_of_a_command_has_the_steps_of_the_text() {
    let read = |file: &str| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        std::fs::read_to_string(root.join(file)).unwrap()
    };
    let (text, picture) = (read("docs/architecture.md"), read("docs/pictures/command.svg"));
    let line = text.lines().find(|line| line.starts_with("`decode → ")).unwrap();
    let steps: Vec<&str> = line.trim_matches('`').split(" → ").collect();
    let drawn = picture.lines().filter(|line| line.contains(r#"class="step-text""#));
    let drawn: Vec<&str> = drawn.map(|line| line.split(['<', '>']).nth(2).unwrap()).collect();
    assert_eq!(drawn.len(), steps.len(), "{drawn:?}");
    for (drawn, step) in drawn.iter().zip(steps) {
        assert!(step.starts_with(drawn), "the picture has {drawn:?}, the text {step:?}");
    }
    assert!(!picture.contains("var("), "librsvg has no variables of CSS");
}
