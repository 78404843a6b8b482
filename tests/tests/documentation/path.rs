//! `docs/architecture.md` follows one command through the code: each file and function that it names is there.

use std::path::Path;

/// More would be no path that somebody reads.
const MOST_FILES: usize = 8;

#[test]
fn the_path_of_a_command_names_files_and_functions_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let document = std::fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let section =
        document.split("\n## ").find(|text| text.starts_with("One command, from the queue")).unwrap();
    let rows: Vec<Vec<&str>> = section
        .lines()
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|cells| cells.get(1).is_some_and(|number| number.parse::<usize>().is_ok()))
        .collect();
    assert!((2..=MOST_FILES).contains(&rows.len()), "{} files", rows.len());
    for cells in rows {
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
}
