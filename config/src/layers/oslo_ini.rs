//! The syntax of an oslo.config file, as `oslo_config/iniparser.py` (10.7.0) reads it.
//!
//! It resembles INI with important differences. A line that starts with a blank continues the previous value,
//! even if it looks like a comment; an empty line ends the value. `#` and `;` start a comment only at the
//! beginning of a line. The first `=` or `:` is the separator. One pair of quotes around the first line of a
//! value is removed. A repeated key adds a value. Existing INI crates get several of these rules wrong.
//! `oslo_files` calls this module, and resolves `$references` after all files are read.

use std::fmt;
use std::path::Path;

use trove_couchdb_protocol::text::BYTE_ORDER_MARK;

use crate::error::Mistake;

/// `option = value` in a section.
#[derive(Clone, PartialEq, Eq)]
pub struct Assignment {
    /// In lower case, except for `DEFAULT` (`cfg._normalize_group_name`).
    pub section: String,
    /// As written.
    pub option: String,
    /// The lines of the value, joined by line feeds.
    pub value: String,
    /// The first line of the assignment, counted from 1.
    pub line: usize,
}

impl fmt::Debug for Assignment {
    /// Without the value, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {} in line {}", self.section, self.option, self.line)
    }
}

/// Parses the text of a file. `path` is for error messages, which never
/// quote a line: it may contain a password.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Vec<Assignment>, Vec<Mistake>> {
    // oslo.config reads a byte order mark as part of a name.
    let mark = text.starts_with(BYTE_ORDER_MARK);
    let mark = mark.then_some((1, "the file begins with a byte order mark; save it as UTF-8 without one"));
    // Python opens the file with universal newlines.
    let text = text.trim_start_matches(BYTE_ORDER_MARK).replace("\r\n", "\n").replace('\r', "\n");
    let mut parser = Parser::default();
    let malformed = (1..).zip(text.split('\n')).filter_map(|(number, line)| {
        let problem = parser.line(number, line.trim_end()).err()?;
        parser.spoilt = true;
        Some((number, problem))
    });
    let mistake = |(line, problem): (usize, Problem)| {
        let (file, position) = (path.to_owned(), format!("line {line}"));
        Mistake::Syntax { file, position, problem: problem.to_owned() }
    };
    let mistakes: Vec<_> = mark.into_iter().chain(malformed).map(mistake).collect();
    if mistakes.is_empty() { Ok(parser.done) } else { Err(mistakes) }
}

#[derive(Default)]
struct Parser {
    section: Option<String>,
    /// Whether the last assignment may be continued.
    open: bool,
    /// Whether the last line that can be continued is malformed. Its
    /// continuations are then not reported as mistakes.
    spoilt: bool,
    done: Vec<Assignment>,
}

/// What is wrong with a line.
type Problem = &'static str;

impl Parser {
    fn line(&mut self, number: usize, line: &str) -> Result<(), Problem> {
        if line.starts_with([' ', '\t']) {
            match self.done.last_mut() {
                Some(last) if self.open => last.value.extend(["\n", line.trim_start()]),
                _ if self.spoilt => {}
                _ => {
                    return Err(
                        "a line that starts with a blank continues the value before it, and there is none; \
                                remove the blank",
                    );
                }
            }
            return Ok(());
        }
        self.open = false;
        self.spoilt &= line.is_empty();
        if line.is_empty() || line.starts_with(['#', ';']) {
            return Ok(());
        }
        if line.starts_with('[') {
            // The lines after a malformed header still belong to a section.
            let section = self.section.insert(String::new());
            *section = section_name(line)?;
            return Ok(());
        }
        let (option, value) =
            line.split_once(['=', ':']).ok_or("neither a [section] nor an `option = value`")?;
        let option = option.trim().to_owned();
        if option.is_empty() {
            return Err("there is no option name before the `=`");
        }
        let section = self.section.clone().ok_or("an option must be in a section; begin with [DEFAULT]")?;
        let value = unquoted(value.trim()).to_owned();
        self.done.push(Assignment { section, option, value, line: number });
        self.open = true;
        Ok(())
    }
}

fn section_name(line: &str) -> Result<String, Problem> {
    match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        None => Err("a [section] must end with ] and be alone on its line"),
        Some("") => Err("the [section] has no name"),
        Some("DEFAULT") => Ok("DEFAULT".to_owned()),
        Some(name) => Ok(name.to_lowercase()),
    }
}

/// Removes one pair of equal quotes. A lone quote becomes an empty text, as with Python's `value[1:-1]`.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return if rest.is_empty() { "" } else { rest.strip_suffix(quote).unwrap_or(value) };
        }
    }
    value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::ConfigError;

    fn parsed(text: &str) -> Result<Vec<Assignment>, ConfigError> {
        Ok(parse(Path::new("f.conf"), text)?)
    }

    /// `section.option=value` of each assignment.
    fn read(text: &str) -> Vec<String> {
        let show = |a: &Assignment| format!("{}.{}={}", a.section, a.option, a.value);
        parsed(text).unwrap().iter().map(show).collect()
    }

    #[test]
    fn values_are_those_that_oslo_config_reads() {
        // Every expectation was checked against oslo.config 10.7.0.
        let cases: &[(&str, &[&str])] = &[
            // Comments only at the start of a line; the first of `=` and `:` separates.
            ("a = x # not\n# c\n; c\nb: y=z", &["DEFAULT.a=x # not", "DEFAULT.b=y=z"]),
            // Repeated keys add values; if a single value is needed, the last one wins (see `oslo_files`).
            ("a=1\na=2", &["DEFAULT.a=1", "DEFAULT.a=2"]),
            // Continuations, also of an empty value, also of text that looks like a comment.
            ("a = one\n  two\n\tthree\nb=2", &["DEFAULT.a=one\ntwo\nthree", "DEFAULT.b=2"]),
            ("a=\n  x", &["DEFAULT.a=\nx"]),
            ("a=x   \n   # no comment", &["DEFAULT.a=x\n# no comment"]),
            // One pair of quotes is removed from the first line if both ends match.
            ("a = \"q\"\nb = 'q'", &["DEFAULT.a=q", "DEFAULT.b=q"]),
            ("a = \"q'\nb = \"", &["DEFAULT.a=\"q'", "DEFAULT.b="]),
            ("a = ' q '\nb = \"x\" y", &["DEFAULT.a= q ", "DEFAULT.b=\"x\" y"]),
            ("a = \"one\"\n  \"two\"", &["DEFAULT.a=one\n\"two\""]),
            ("a=  'x\n  y'", &["DEFAULT.a='x\ny'"]),
            ("a=''", &["DEFAULT.a="]),
            ("l = 'a','b'", &["DEFAULT.l=a','b"]),
            // Section names in any case except DEFAULT; a section may be repeated.
            ("a=1\n[Gr]\nx=1\n[DEFAULT]\nb=2", &["DEFAULT.a=1", "gr.x=1", "DEFAULT.b=2"]),
            ("[default]\na=1", &["default.a=1"]),
            ("[ g ]\nx=1", &[" g .x=1"]),
            // Names are kept as written.
            ("A=1\nguest-id=2", &["DEFAULT.A=1", "DEFAULT.guest-id=2"]),
            ("a=1\r\nb = 2 \r\n", &["DEFAULT.a=1", "DEFAULT.b=2"]),
            // Only a blank or a tab starts a continuation; other white space is trimmed.
            ("a\u{a0}= x\n\u{a0}b=1", &["DEFAULT.a=x", "DEFAULT.b=1"]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(read(&format!("[DEFAULT]\n{text}\n")), *expected, "{text:?}");
        }
    }

    #[test]
    fn files_that_oslo_config_refuses_are_refused_at_the_same_line() {
        // Every line number was checked against oslo.config 10.7.0.
        let cases = [
            ("[DEFAULT]\na = one\n\n  two", 4),
            ("[DEFAULT]\na = one\n# c\n  two", 4),
            ("[DEFAULT]\na=1\n  \t \n  b", 4),
            ("[DEFAULT]\na=1\n[g]\n   b", 4),
            ("  a=1", 1),
            ("a=1", 1),
            ("[DEFAULT\na=1", 1),
            ("[DEFAULT] # c\na=1", 1),
            ("[]\na=1", 1),
            ("[DEFAULT]\nnovalue", 2),
            ("[DEFAULT]\n= x", 2),
            ("\u{feff}[DEFAULT]\na=1", 1),
        ];
        for (text, line) in cases {
            let error = parsed(text).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("f.conf is malformed at line {line}: ")), "{text:?}: {error}");
        }
    }

    #[test]
    fn every_mistake_of_a_file_is_named_and_none_that_follows_from_another() {
        let text = "\u{feff}[DEFAULT\na=1\nnovalue\n  more\n\n= x\n[g]\nb=2\n";
        let error = parsed(text).map(|_| ()).unwrap_err().to_string();
        let places: Vec<&str> = error
            .lines()
            .skip(1)
            .map(|line| line.split(": ").next().unwrap().rsplit(' ').next().unwrap())
            .collect();
        assert_eq!(places, ["1", "1", "3", "6"], "{error}");
        assert!(error.contains("byte order mark"), "{error}");
    }

    #[test]
    fn errors_do_not_quote_the_line() {
        for text in ["[DEFAULT]\nplanted", "[DEFAULT]\n= planted", "[planted", "a = planted", "  planted"] {
            let error = parsed(text).map(|_| ()).unwrap_err().to_string();
            assert!(!error.contains("planted"), "{error}");
        }
    }

    #[test]
    fn an_assignment_knows_its_line() {
        let lines: Vec<_> =
            parsed("[DEFAULT]\n# c\na=1\n  2\nb=3\n").unwrap().iter().map(|a| a.line).collect();
        assert_eq!(lines, [3, 5]);
    }
}
