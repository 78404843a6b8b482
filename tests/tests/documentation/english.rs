//! Plain English: no phrase of `tests/english/patterns.toml` in Markdown files, comments, help texts, errors, log
//! lines, and names of tests.

use regex::{Regex, RegexBuilder, RegexSetBuilder};
use serde::Deserialize;

use super::{files, read};

/// Directories of the programs. Everywhere else are tests, whose literals may quote anything.
const PROGRAMS: [&str; 9] = [
    "agent/src",
    "cli/src",
    "config/src",
    "couchdb/src",
    "delivery/src",
    "guest/src",
    "host/src",
    "protocol/src",
    "system/src",
];

#[derive(Deserialize)]
struct Patterns {
    pattern: Vec<Pattern>,
}

#[derive(Deserialize)]
struct Pattern {
    regex: String,
    write: String,
    found: Vec<String>,
    passed: Vec<String>,
}

#[derive(Deserialize)]
struct AllowList {
    allowed: Vec<Allowed>,
}

#[derive(Deserialize)]
struct Allowed {
    file: String,
    text: String,
    reason: String,
}

fn patterns() -> Vec<(Regex, Pattern)> {
    let patterns: Patterns = toml::from_str(&read("tests/english/patterns.toml")).unwrap();
    let compiled = |pattern: Pattern| {
        (RegexBuilder::new(&pattern.regex).case_insensitive(true).build().unwrap(), pattern)
    };
    patterns.pattern.into_iter().map(compiled).collect()
}

/// The program of a Rust file and the module of its tests.
fn parts(text: &str) -> (&str, &str) {
    text.split_at(text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len()))
}

/// The comments of tests, and the names of their functions as sentences.
fn prose_of_tests(tests: &str, function: &Regex) -> Vec<(usize, String)> {
    let mut prose = Vec::new();
    for (number, line) in tests.lines().enumerate() {
        if line.trim_start().starts_with("//") {
            prose.push((number + 1, line.trim_start().to_owned()));
        } else if let Some(name) = function.captures(line) {
            prose.push((number + 1, name[1].replace('_', " ")));
        }
    }
    prose
}

/// The comments of a program, and its string literals with a space in them.
fn prose_of_program(program: &str, literal: &Regex) -> Vec<(usize, String)> {
    let mut prose = Vec::new();
    let mut code = String::new();
    for (number, line) in program.lines().enumerate() {
        if line.trim_start().starts_with("//") {
            prose.push((number + 1, line.trim_start().to_owned()));
        } else {
            code.push_str(&line.replace("'\"'", "   "));
        }
        code.push('\n');
    }
    for found in literal.captures_iter(&code) {
        let start = found.get(1).map_or(0, |text| text.start());
        let number = code.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
        // A literal over several lines ends each but its last with a backslash.
        let words: Vec<&str> = found[1].split_whitespace().filter(|word| *word != "\\").collect();
        if words.len() > 1 {
            prose.push((number, words.join(" ")));
        }
    }
    prose
}

fn prose() -> Vec<(String, usize, String)> {
    let literal = Regex::new(r#"(?s)"((?:\\.|[^"\\])*)""#).unwrap();
    let function = Regex::new(r"\bfn (\w+)").unwrap();
    let mut all = Vec::new();
    for file in files("", "md") {
        let text = read(&file);
        all.extend(
            text.lines().enumerate().map(|(number, line)| (file.clone(), number + 1, line.to_owned())),
        );
    }
    for file in files("", "rs") {
        let text = read(&file);
        let is_program = PROGRAMS.iter().any(|directory| file.starts_with(&format!("{directory}/")));
        let is_test = !is_program || file.ends_with("tests.rs") || file.contains("/tests/");
        let (program, tests) = if is_test { ("", text.as_str()) } else { parts(&text) };
        let before = program.lines().count();
        let of_tests = prose_of_tests(tests, &function).into_iter();
        let mut lines = prose_of_program(program, &literal);
        lines.extend(of_tests.map(|(number, line)| (before + number, line)));
        all.extend(lines.into_iter().map(|(number, line)| (file.clone(), number, line)));
    }
    all
}

#[test]
fn each_pattern_finds_what_it_is_for_and_nothing_else() {
    for (regex, pattern) in patterns() {
        for line in &pattern.found {
            assert!(regex.is_match(line), "{} passes: {line}", pattern.regex);
        }
        for line in &pattern.passed {
            assert!(!regex.is_match(line), "{} finds: {line}", pattern.regex);
        }
    }
}

#[test]
fn comments_and_names_of_tests_are_read_wherever_they_are() {
    let function = Regex::new(r"\bfn (\w+)").unwrap();
    let text = "// one\nlet a = 1;\n#[cfg(test)]\nmod tests {\n    /// two\n    fn it_is_here() {\n        // three\n";
    let (program, tests) = parts(text);
    assert_eq!(program, "// one\nlet a = 1;\n");
    let lines =
        [(3, "/// two"), (4, "it is here"), (5, "// three")].map(|(line, text)| (line, text.to_owned()));
    assert_eq!(prose_of_tests(tests, &function), lines);
}

#[test]
fn the_project_speaks_plain_english() {
    let patterns = patterns();
    let any = RegexSetBuilder::new(patterns.iter().map(|(regex, _)| regex.as_str()))
        .case_insensitive(true)
        .build()
        .unwrap();
    let list: AllowList = toml::from_str(&read("tests/english/allowed.toml")).unwrap();
    let mut used = vec![false; list.allowed.len()];
    let mut found = Vec::new();
    for (file, number, line) in prose() {
        for (regex, pattern) in any.matches(&line).into_iter().map(|place| &patterns[place]) {
            let word = regex.find(&line).map(|found| found.as_str()).unwrap_or_default();
            let allowed = list.allowed.iter().position(|one| one.file == file && line.contains(&one.text));
            match allowed {
                Some(place) => used[place] = true,
                None => found.push(format!("{file}:{number}: \"{word}\"; write {}: {line}", pattern.write)),
            }
        }
    }
    assert!(found.is_empty(), "{} lines:\n{}", found.len(), found.join("\n"));
    for (allowed, used) in list.allowed.iter().zip(used) {
        assert!(!allowed.reason.is_empty() && used, "nothing to allow in {}: {}", allowed.file, allowed.text);
    }
}
