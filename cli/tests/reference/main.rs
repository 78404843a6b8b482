//! Generates parts of docs/errors.md, log.md, configuration.md, couchdb-options.md and cli.md, and the whole
//! validation-rules.json for Trove, and checks that they are up to date.
//!
//! A generated part is between `<!-- reference: PART … -->` and `<!-- /reference -->`; the rest
//! of a page is written manually. The texts come from the code, and the advice from
//! docs/advice.toml. `make reference` sets `WRITE_REFERENCE`, which makes the test write the
//! parts. Without it the test reports each outdated page.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::format_push_string,
    clippy::format_collect
)]

mod advice;
mod command_line;
mod configuration;
mod errors;
mod options;
mod sources;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use advice::Advice;
use errors::Errors;

const PAGES: [&str; 5] =
    ["docs/errors.md", "docs/log.md", "docs/configuration.md", "docs/couchdb-options.md", "docs/cli.md"];

const BEGIN: &str = "<!-- reference: ";
const END: &str = "<!-- /reference -->";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The sources of all parts. Each part removes the entries that it shows, so that the unused entries remain.
struct Reference {
    errors: Errors,
    advice: Advice,
    verbs: command_line::Verbs,
    problems: Vec<String>,
}

impl Reference {
    fn part(&mut self, name: &str, arguments: &[&str]) -> String {
        match name {
            "messages" => errors::messages(self, arguments),
            "table" => errors::table(self, arguments),
            "classes" => errors::classes(self),
            "exit-statuses" => errors::exit_statuses(self),
            "checks" => errors::checks(self),
            "keys" => configuration::keys(self),
            "couchdb-options" => options::tables(),
            "couchdb-forbidden" => options::forbidden(),
            "exit-codes" => command_line::exit_codes(),
            "options" => command_line::options(),
            "verb" => self.verbs.one(arguments[0]),
            "verbs" => self.verbs.several(arguments),
            other => panic!("there is no part called {other}"),
        }
    }

    /// A page with newly generated parts.
    fn page(&mut self, page: &str) -> String {
        let text = read(page);
        let mut filled = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once(BEGIN) {
            let (words, after) = after.split_once(" -->\n").unwrap();
            let (_, after) = after.split_once(END).unwrap_or_else(|| panic!("{page}: {words} has no end"));
            let words: Vec<&str> = words.split(' ').collect();
            let part = self.part(words[0], &words[1..]);
            write!(filled, "{before}{BEGIN}{} -->\n\n{}\n\n{END}", words.join(" "), part.trim()).unwrap();
            rest = after;
        }
        filled + rest
    }
}

#[test]
fn the_reference_is_up_to_date() {
    let errors = Errors::of_the_code();
    let kinds = errors.kinds.clone();
    let verbs = command_line::Verbs::all();
    let mut reference = Reference { errors, advice: Advice::read(), verbs, problems: Vec::new() };
    let pages = PAGES.map(|page| (page, reference.page(page)));

    let rules = (options::RULES, options::rules());
    let mut problems = reference.problems;
    problems.extend(reference.errors.unused().map(|group| format!("no part of a page shows {group}")));
    problems.extend(reference.verbs.unused().map(|verb| format!("no part of docs/cli.md shows {verb}")));
    problems.extend(reference.advice.unused().map(|key| format!("{}: the code has no {key}", advice::FILE)));
    let errors_page = &pages[0].1;
    let unknown = kinds.iter().filter(|kind| !errors_page.contains(&format!("`{kind}`")));
    problems.extend(unknown.map(|kind| format!("{}: nothing says what the kind {kind} is", PAGES[0])));

    if std::env::var_os("WRITE_REFERENCE").is_some() {
        for (page, text) in pages.iter().chain([&rules]) {
            std::fs::write(root().join(page), text).unwrap();
        }
    } else {
        let old = pages.iter().chain([&rules]).filter(|(page, text)| read(page) != *text);
        problems.extend(old.map(|(page, _)| format!("{page} is out of date: run `make reference`")));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
