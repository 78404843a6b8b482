//! What the sources say: the texts of errors and log lines, read from the code itself.

use super::{files, read};

/// The sources of some crates, without their tests.
pub(super) fn code_of(crates: &[&str]) -> Vec<String> {
    let all = crates.iter().flat_map(|name| files(&format!("{name}/src"), "rs"));
    all.filter(|file| !file.contains("/tests"))
        .map(|file| read(&file).split("#[cfg(test)]").next().unwrap().to_owned())
        .collect()
}

/// For each call of `opening` (which ends with its parenthesis): the literals in it.
pub(super) fn calls(code: &str, opening: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some((before, after)) = rest.split_once(opening) {
        if !before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            found.push(literals(after));
        }
        rest = after;
    }
    found
}

/// The literals up to the parenthesis that closes.
fn literals(code: &str) -> Vec<String> {
    let mut literals = Vec::new();
    let mut depth = 1;
    let mut characters = code.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            '"' => {
                let mut literal = String::new();
                while let Some(character) = characters.next().filter(|next| *next != '"') {
                    literal.push(character);
                    if character == '\\' {
                        literal.extend(characters.next());
                    }
                }
                literals.push(shown(&literal));
            }
            // A quotation mark as a character.
            '\'' => drop(characters.next_if_eq(&'"')),
            _ => {}
        }
        if depth == 0 {
            return literals;
        }
    }
    panic!("a call without an end: {code}");
}

/// A literal of the code as the page has it: `…` for what is put in, and without the marks of code.
pub(super) fn shown(literal: &str) -> String {
    let mut text = String::new();
    let mut characters = literal.chars().peekable();
    let mut placeholder = false;
    while let Some(character) = characters.next() {
        match character {
            // The end of a line that goes on.
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

/// Whether a text says anything by itself, without what is put into it.
pub(super) fn says_something(text: &str) -> bool {
    text.chars().filter(|character| character.is_alphabetic()).count() >= 4
}

#[test]
fn calls_are_read_as_they_stand() {
    let code = r#"warn!(a = f(x), '"', "one \"two\" {x:?} {{y}} \
                  three"); other_warn!("no"); warn!("four (`five`)")"#;
    let texts: Vec<_> = calls(code, "warn!(").into_iter().flatten().collect();
    assert_eq!(texts, ["one \"two\" … {y} three", "four (five)"]);
}
