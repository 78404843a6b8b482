//! The documentation stays short enough to be read: everything that people read has a limit of words.

use super::{files, read};

/// As `wc -w` counts them.
const LIMIT: usize = 25_000;

/// Pages that programs and tests write or hold, which are searched rather than read; with words that show it.
const GENERATED: [(&str, &str); 8] = [
    ("agent/src/commands/methods.md", "a unit test compares it with the code"),
    ("docs/cli.md", "<!-- reference: "),
    ("docs/configuration.md", "<!-- reference: "),
    ("docs/control-plane-results.md", "<!-- table: written by tests/control_plane/table.py -->"),
    ("docs/errors.md", "<!-- reference: "),
    ("docs/log.md", "<!-- reference: "),
    ("docs/mutations.md", "This page is generated"),
    ("docs/performance-results.md", "<!-- begin: "),
];

/// Every other page with its number of words, the largest first.
fn counts() -> Vec<(usize, String)> {
    let pages = ["md", "rst"].iter().flat_map(|extension| files("", extension));
    let read_by_people = pages.filter(|page| GENERATED.iter().all(|(generated, _)| generated != page));
    let mut counts: Vec<_> =
        read_by_people.map(|page| (read(&page).split_whitespace().count(), page)).collect();
    counts.sort_by(|left, right| right.cmp(left));
    counts
}

/// What is wrong with these counts, if they are above the limit.
fn too_long(counts: &[(usize, String)], limit: usize) -> Option<String> {
    let total: usize = counts.iter().map(|(words, _)| words).sum();
    let largest: Vec<_> = counts.iter().take(12).map(|(words, page)| format!("{words:6} {page}")).collect();
    let advice = "say each thing in one place, and link to it";
    (total > limit).then(|| format!("{total} words, {limit} are allowed: {advice}\n{}", largest.join("\n")))
}

#[test]
fn the_documentation_is_short_enough_to_be_read() {
    let counts = counts();
    for page in ["README.md", "SECURITY.md", "docs/operations.md", "docs/adr/README.md"] {
        assert!(counts.iter().any(|(_, counted)| counted == page), "{page} is not counted");
    }
    if let Some(problem) = too_long(&counts, LIMIT) {
        panic!("{problem}");
    }
}

#[test]
fn pages_that_are_not_counted_are_held_by_a_program() {
    for (page, shown_by) in GENERATED {
        assert!(read(page).contains(shown_by), "{page} is written by hand: count it");
    }
}

#[test]
fn a_long_page_is_named() {
    let counts = [(7, "a.md".to_owned()), (4, "b.md".to_owned())];
    assert_eq!(too_long(&counts, 11), None);
    let problem = too_long(&counts, 10).unwrap();
    assert!(problem.starts_with("11 words, 10 are allowed"), "{problem}");
    assert!(problem.ends_with("     7 a.md\n     4 b.md"), "{problem}");
}
