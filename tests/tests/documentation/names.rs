//! No declaration of the Rust code and no file has one of the names that the project has given up
//! (`tests/english/names.toml`).

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;

use super::{files, read};

/// Directories that are part of no program and no test.
const ELSEWHERE: [&str; 1] = ["fuzz/target/"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    old: Vec<Old>,
    allowed: Vec<Allowed>,
}

/// Names that are not used any more.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Old {
    names: Vec<String>,
    /// What to use.
    write: String,
    /// Also as a part of a longer name: `broker` for `bus` holds for `bus_settings`.
    #[serde(default)]
    part: bool,
    /// Only these kinds; all if there are none.
    #[serde(default)]
    kinds: Vec<Kind>,
    /// Only files whose path begins with one of these; all if there are none.
    #[serde(default)]
    below: Vec<String>,
    /// One declaration may have the name.
    #[serde(default)]
    once: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    name: String,
    /// The beginning of the path.
    file: String,
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Type,
    Module,
    Function,
    Field,
    Variant,
    Constant,
    File,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Declared {
    kind: Kind,
    name: String,
    line: usize,
}

/// Identifiers and single other characters, each with its line; no comments, texts and lifetimes.
struct Tokens<'a>(Vec<(&'a str, usize)>);

impl<'a> Tokens<'a> {
    fn of(text: &'a str, token: &Regex) -> Self {
        let (mut line, mut at, mut tokens) = (1, 0, Vec::new());
        for found in token.captures_iter(text) {
            let whole = found.get(0).unwrap();
            line += text.get(at..whole.start()).unwrap_or_default().matches('\n').count();
            at = whole.start();
            if let Some(kept) = found.name("kept") {
                tokens.push((kept.as_str(), line));
            }
        }
        Self(tokens)
    }

    fn get(&self, at: usize) -> &'a str {
        self.0.get(at).map_or("", |(token, _)| token)
    }

    fn is_name(&self, at: usize) -> bool {
        self.get(at).starts_with(|c: char| c.is_alphabetic() || c == '_')
    }

    fn declare(&self, kind: Kind, at: usize, declared: &mut Vec<Declared>) {
        if self.is_name(at) {
            declared.push(Declared { kind, name: self.get(at).to_owned(), line: self.0[at].1 });
        }
    }

    fn declared(&self) -> Vec<Declared> {
        let mut declared = Vec::new();
        for at in 0..self.0.len() {
            let next = at + 1;
            match self.get(at) {
                "trait" | "type" => self.declare(Kind::Type, next, &mut declared),
                keyword @ ("struct" | "enum" | "union") if self.is_name(next) => {
                    self.declare(Kind::Type, next, &mut declared);
                    if let Some(body) = (next..self.0.len()).find(|at| ["{", ";"].contains(&self.get(*at)))
                        && self.get(body) == "{"
                    {
                        self.body(body, keyword == "enum", &mut declared);
                    }
                }
                "mod" => self.declare(Kind::Module, next, &mut declared),
                "fn" => self.declare(Kind::Function, next, &mut declared),
                "const" | "static" if !["fn", "unsafe", "async", "mut"].contains(&self.get(next)) => {
                    self.declare(Kind::Constant, next, &mut declared);
                }
                _ => {}
            }
        }
        declared
    }

    /// The fields or variants after an opening brace.
    fn body(&self, open: usize, is_enum: bool, declared: &mut Vec<Declared>) {
        let (mut depth, mut starts) = (0, true);
        for at in open..self.0.len() {
            let token = self.get(at);
            match token {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
            if depth > 1 || ["{", "}", ")", "]", ",", ";", "#", "pub"].contains(&token) {
                starts |= depth == 1 && token != "}" && token != ")";
                starts |= depth == 1 && token == ")" && self.get(at + 1) != ",";
                continue;
            }
            let is_field = self.get(at + 1) == ":" && self.get(at + 2) != ":";
            if starts && is_enum {
                self.declare(Kind::Variant, at, declared);
                if self.get(at + 1) == "{" {
                    self.body(at + 1, false, declared);
                }
            } else if starts && is_field {
                self.declare(Kind::Field, at, declared);
            }
            starts = false;
        }
    }
}

/// The words of a name in lower case: `ReplyPublisher`, `reply_publisher` and `reply-publisher` are the same.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() || (was_lower && letter.is_uppercase()) {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            words.last_mut().unwrap().extend(letter.to_lowercase());
        }
        was_lower = letter.is_lowercase() || letter.is_numeric();
    }
    words.retain(|word| !word.is_empty());
    words
}

impl Old {
    /// Whether one of `old`, the words of this row's names, is the name with these words.
    fn is(&self, old: &[Vec<String>], kind: Kind, found: &[String], file: &str) -> bool {
        let is_it = |old: &Vec<String>| {
            if self.part { found.windows(old.len()).any(|part| part == old) } else { found == *old }
        };
        (self.kinds.is_empty() || self.kinds.contains(&kind))
            && (self.below.is_empty() || self.below.iter().any(|below| file.starts_with(below)))
            && old.iter().any(is_it)
    }

    fn words(&self) -> Vec<Vec<String>> {
        self.names.iter().map(|name| words(name)).collect()
    }
}

fn token() -> Regex {
    let comment = r"//[^\n]*|(?s:/\*.*?\*/)";
    let text = r#"(?s:\bb?r[#]{2}".*?"[#]{2}|\bb?r[#]".*?"[#]|\bb?r"[^"]*"|b?"(?:\\.|[^"\\])*")"#;
    let letter = r"'(?:\\[^\n]*?[^\n\\]|[^'\\\n])'|'\\''|'[A-Za-z_]\w*";
    Regex::new(&format!(r"{comment}|{text}|{letter}|(?<kept>(?:r#)?[A-Za-z_]\w*|[^\s\w])")).unwrap()
}

/// Everything that has a name, by its file.
fn all() -> BTreeMap<String, Vec<(Declared, Vec<String>)>> {
    let token = token();
    let mut all = BTreeMap::new();
    for extension in ["rs", "md", "patch"] {
        for file in files("", extension) {
            if ELSEWHERE.iter().any(|below| file.starts_with(below)) {
                continue;
            }
            let mut declared: Vec<_> = file
                .trim_end_matches(&format!(".{extension}"))
                .split('/')
                .map(|name| Declared { kind: Kind::File, name: name.to_owned(), line: 1 })
                .collect();
            if extension == "rs" {
                declared.extend(Tokens::of(&read(&file), &token).declared());
            }
            let with_words = |declared: Declared| {
                let words = words(&declared.name);
                (declared, words)
            };
            all.insert(file, declared.into_iter().map(with_words).collect());
        }
    }
    all
}

#[test]
fn nothing_has_a_name_that_was_given_up() {
    let names: Names = toml::from_str(&read("tests/english/names.toml")).unwrap();
    let (all, mut wrong) = (all(), Vec::new());
    let mut used = vec![false; names.allowed.len()];
    for old in &names.old {
        let (mut found, given_up) = (Vec::new(), old.words());
        for (file, declared) in &all {
            for (declared, its_words) in declared {
                if !old.is(&given_up, declared.kind, its_words, file) {
                    continue;
                }
                let allowed = names.allowed.iter().position(|allowed| {
                    words(&allowed.name) == *its_words && file.starts_with(&allowed.file)
                });
                match allowed {
                    Some(place) => used[place] = true,
                    None => found.push(format!("{file}:{}: {}", declared.line, declared.name)),
                }
            }
        }
        if found.len() > usize::from(old.once) {
            wrong.extend(found.iter().map(|found| format!("{found}; write {}", old.write)));
        }
    }
    assert!(wrong.is_empty(), "{} names:\n{}", wrong.len(), wrong.join("\n"));
    for (allowed, used) in names.allowed.iter().zip(used) {
        assert!(!allowed.reason.is_empty() && used, "nothing to allow in {}: {}", allowed.file, allowed.name);
    }
}

#[test]
fn each_kind_of_declaration_is_found_and_nothing_else() {
    let text = r##"
        //! struct InAComment;
        mod a { pub(crate) fn b<'c>(d: fn(u8)) -> &'c str { "struct InAText \" { e: u8 }" } }
        pub struct F<T> { #[serde(rename = "g")] pub h: HashMap<String, i::J>, pub(crate) k: T }
        struct L([u8; 16]);
        enum M { N, #[allow(o)] P(q::R), S { t: u8, u: V }, W = 1 }
        const fn x() { let y = r#"fn z() {}"#; let character = '"'; }
        const AA: &str = "bb"; static CC: u8 = b'\''; type DD = u8; trait EE { const FF: u8; }
    "##;
    let found: Vec<String> = Tokens::of(text, &token())
        .declared()
        .into_iter()
        .map(|found| format!("{:?} {}", found.kind, found.name))
        .collect();
    let expected = "Module a,Function b,Type F,Field h,Field k,Type L,Type M,Variant N,Variant P,Variant S,Field t,\
                    Field u,Variant W,Function x,Constant AA,Constant CC,Type DD,Type EE,Constant FF";
    assert_eq!(found.join(","), expected);
}

#[test]
fn a_name_is_recognised_in_every_spelling_and_as_a_part_only_where_that_is_meant() {
    let names: Names = toml::from_str(&read("tests/english/names.toml")).unwrap();
    let is_old = |kind, name: &str| {
        names.old.iter().any(|old| !old.once && old.is(&old.words(), kind, &words(name), "agent/src/x.rs"))
    };
    for name in ["Bus", "bus_settings", "BusClient", "WRITE_PATIENCE", "local-and-bus"] {
        assert!(is_old(Kind::Type, name), "{name}");
    }
    assert!(!is_old(Kind::Type, "busy") && !is_old(Kind::Function, "kept_back_in"));
    assert!(is_old(Kind::Type, "Seen") && is_old(Kind::Function, "told"));
}
