//! Reads the texts of errors and log lines from the source code.

use std::path::Path;

use super::{read, root};

/// The source files of some crates, without tests.
pub fn code_of(crates: &[&str]) -> Vec<String> {
    let mut files = Vec::new();
    let mut directories: Vec<_> = crates.iter().map(|name| root().join(name).join("src")).collect();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|its| its == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let is_a_test = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().contains("/tests");
    let code = files.iter().filter(|path| !is_a_test(path)).map(|path| read(path.to_str().unwrap()));
    code.map(|code| code.split("#[cfg(test)]").next().unwrap().to_owned()).collect()
}

/// A call, or an attribute that resembles a call.
pub struct Call<'a> {
    pub before: &'a str,
    pub inside: &'a str,
    pub after: &'a str,
    /// The literals in it, as a page shows them.
    pub literals: Vec<String>,
}

/// Each call of `opening`, which ends with its parenthesis.
pub fn calls<'a>(code: &'a str, opening: &str) -> Vec<Call<'a>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(opening) {
        let (before, rest) = code.split_at(at);
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let (_, rest) = rest.split_at(opening.len());
        let (length, literals) = arguments(rest);
        let (inside, after) = rest.split_at(length);
        found.push(Call { before, inside, after: after.strip_prefix(')').unwrap(), literals });
    }
    found
}

/// The position of the closing parenthesis, and the literals before it.
fn arguments(code: &str) -> (usize, Vec<String>) {
    let mut literals = Vec::new();
    let mut depth = 1;
    let mut characters = code.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            '"' => {
                let mut literal = String::new();
                while let Some((_, character)) = characters.next().filter(|(_, next)| *next != '"') {
                    literal.push(character);
                    if character == '\\' {
                        literal.extend(characters.next().map(|(_, escaped)| escaped));
                    }
                }
                literals.push(shown(&literal));
            }
            // A quotation mark as a character literal.
            '\'' => drop(characters.next_if(|(_, next)| *next == '"')),
            _ => {}
        }
        if depth == 0 {
            return (at, literals);
        }
    }
    panic!("a call without an end: {code}");
}

/// The literals of a piece of code with balanced parentheses.
pub fn literals(code: &str) -> Vec<String> {
    arguments(&format!("{code})")).1
}

/// The body of a function.
pub fn body<'a>(code: &'a str, function: &str) -> Option<&'a str> {
    let (before, after) = code.split_once(function)?;
    let line = before.rsplit('\n').next()?;
    let indent = " ".repeat(line.len() - line.trim_start().len());
    let (_, body) = after.split_once(" {\n")?;
    Some(body.split_once(&format!("\n{indent}}}\n"))?.0)
}

/// A literal as a page shows it: with `…` for each placeholder, and without backticks.
fn shown(literal: &str) -> String {
    let mut text = String::new();
    let mut characters = literal.chars().peekable();
    let mut placeholder = false;
    while let Some(character) = characters.next() {
        match character {
            // A line continuation.
            '\\' if characters.peek() == Some(&'\n') => {
                while characters.next_if(|next| next.is_whitespace()).is_some() {}
            }
            '\\' => text.extend(characters.next()),
            '{' if characters.next_if_eq(&'{').is_some() => text.push('{'),
            '}' if characters.next_if_eq(&'}').is_some() => text.push('}'),
            '{' => {
                placeholder = true;
                text.push('…');
            }
            '}' => placeholder = false,
            '`' => {}
            _ if placeholder => {}
            other => text.push(other),
        }
    }
    text
}

/// Whether a text has words of its own, apart from its placeholders.
pub fn says_something(text: &str) -> bool {
    text.chars().filter(|character| character.is_alphabetic()).count() >= 4
}

#[test]
fn calls_and_their_literals_are_found() {
    let code = r#"warn!(a = f(x), '"', "one \"two\" {x:?} {{y}} \
                  three"); other_warn!("no"); warn!("four (`five`)") x"#;
    let calls = calls(code, "warn!(");
    let texts: Vec<_> = calls.iter().flat_map(|call| &call.literals).collect();
    assert_eq!(texts, ["one \"two\" … {y} three", "four (five)"]);
    assert_eq!(calls[1].after, " x");
}
