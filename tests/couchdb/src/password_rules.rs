//! `[chttpd_auth] password_regexp`: the rules for a new plain password (upstream: `couch_users_db.erl`,
//! `validate_password`), with upstream's messages word for word.
//!
//! Erlang's regular expressions are PCRE. This module supports characters, `.`, `\d`, classes, and
//! quantifiers; a rule with anything else is answered with 501.

use crate::reply::{Refusal, Reply};

const REFUSED: &str = "Password does not conform to requirements.";
const NO_HASHING: &str = "Server cannot hash passwords at this time.";

/// Refuses a password that violates a rule of this setting.
pub(crate) fn check(rules: &str, password: &str) -> Result<(), Refusal> {
    if rules.is_empty() || rules == "[]" {
        return Ok(());
    }
    for (expression, reason) in parse(rules).ok_or_else(|| Reply::forbidden(NO_HASHING))? {
        let repeats = compile(&expression).ok_or_else(|| Reply::not_implemented("this password_regexp"))?;
        let text: Vec<char> = password.chars().collect();
        let found = (0..=text.len()).any(|start| text.get(start..).is_some_and(|rest| fits(&repeats, rest)));
        if !found {
            let reason = reason.map_or_else(|| REFUSED.to_owned(), |reason| format!("{REFUSED} {reason}"));
            return Err(Reply::bad_request(&reason));
        }
    }
    Ok(())
}

/// Parses a list of `"expression"` and `{"expression", "reason"}`.
fn parse(rules: &str) -> Option<Vec<(String, Option<String>)>> {
    let mut found = Vec::new();
    let mut tuple: Option<Vec<String>> = None;
    let mut rest = rules.trim().strip_prefix('[')?.strip_suffix(']')?.chars();
    while let Some(next) = rest.next() {
        match next {
            '{' => tuple = Some(Vec::new()),
            '}' => {
                let mut parts = tuple.take()?.into_iter();
                found.push((parts.next()?, parts.next().filter(|reason| !reason.is_empty())));
            }
            '"' => {
                let mut text = String::new();
                loop {
                    match rest.next()? {
                        '"' => break,
                        '\\' => text.push(rest.next()?),
                        other => text.push(other),
                    }
                }
                match &mut tuple {
                    Some(parts) => parts.push(text),
                    None => found.push((text, None)),
                }
            }
            ',' => {}
            blank if blank.is_whitespace() => {}
            _ => return None,
        }
    }
    Some(found)
}

/// The allowed characters and their minimum number.
struct Repeat {
    ranges: Vec<(char, char)>,
    min: usize,
    max: usize,
}

const ANY: (char, char) = ('\0', char::MAX);

fn compile(expression: &str) -> Option<Vec<Repeat>> {
    let mut repeats: Vec<Repeat> = Vec::new();
    let mut rest = expression.chars().peekable();
    while let Some(next) = rest.next() {
        let ranges = match next {
            '.' => vec![ANY],
            '\\' => match rest.next()? {
                'd' => vec![('0', '9')],
                letter if letter.is_alphanumeric() => return None,
                literal => vec![(literal, literal)],
            },
            '[' => {
                let mut ranges = Vec::new();
                loop {
                    let from = match rest.next()? {
                        ']' => break,
                        '^' | '\\' | '[' => return None,
                        from => from,
                    };
                    let to = if rest.next_if_eq(&'-').is_some() { rest.next()? } else { from };
                    ranges.push((from, to));
                }
                ranges
            }
            '(' | ')' | '|' | '^' | '$' | '*' | '+' | '?' | '{' => return None,
            literal => vec![(literal, literal)],
        };
        let (min, max) = match rest.peek() {
            Some('+') => (1, usize::MAX),
            Some('*') => (0, usize::MAX),
            Some('?') => (0, 1),
            Some('{') => {
                let count: String = rest.by_ref().skip(1).take_while(|&c| c != '}').collect();
                let (min, max) = count.split_once(',').unwrap_or((&count, &count));
                let max = if max.is_empty() { usize::MAX } else { max.parse().ok()? };
                repeats.push(Repeat { ranges, min: min.parse().ok()?, max });
                continue;
            }
            _ => (1, 1),
        };
        if (min, max) != (1, 1) {
            rest.next();
        }
        repeats.push(Repeat { ranges, min, max });
    }
    Some(repeats)
}

fn fits(repeats: &[Repeat], text: &[char]) -> bool {
    let Some((step, later)) = repeats.split_first() else { return true };
    let is_one = |c: &char| step.ranges.iter().any(|(from, to)| from <= c && c <= to);
    let most = text.iter().take(step.max).take_while(|c| is_one(c)).count();
    (step.min..=most).rev().any(|count| text.get(count..).is_some_and(|rest| fits(later, rest)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The first example is from CouchDB's documentation.
    #[test]
    fn rules_are_kept() {
        let rules = r#"[{".{10,}", "Min length is 10 chars."}, "[A-Z]+", "[a-z]+", "\\d+"]"#;
        assert!(check(rules, "Abcdefghi1").is_ok());
        let refused = check(rules, "Abc1").unwrap_err();
        assert_eq!(
            (refused.status(), refused.reason().as_str()),
            (400, "Password does not conform to requirements. Min length is 10 chars.")
        );
        assert_eq!(check(rules, "abcdefghi1").unwrap_err().reason(), REFUSED);
        assert_eq!(check("foo", "abcdefghi1").unwrap_err().status(), 403);
        assert_eq!(check(r#"["(a|b)"]"#, "a").unwrap_err().status(), 501);
        assert!(check("[]", "").is_ok() && check("", "").is_ok());
    }
}
