//! The names: random combinations of pieces with a meaning in a URL, a request or a shell; the same in every
//! run.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng, rngs::StdRng};

const NAMES: usize = 10_000;
const SEED: u64 = 20_261_101;

/// Pieces of attacks: path steps, separators, their encodings, HTTP lines, sensitive paths, look-alikes.
const PIECES: &[&str] = &[
    "..",
    ".",
    "/",
    "//",
    "\\",
    "/../",
    "%2e%2e",
    "%2f",
    "%2F..%2F",
    "%00",
    "%0d%0a",
    "%",
    "%%",
    "%25",
    "%c0%af",
    "%u2216",
    "?",
    "?rev=1-0",
    "&limit=0",
    "#",
    ";",
    "=",
    "@",
    ":",
    "+",
    "$",
    "(",
    ")",
    "-",
    "_",
    " ",
    "\t",
    "\"",
    "'",
    "<",
    "{",
    "|",
    "\0",
    "\r",
    "\n",
    "\r\n",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{202e}",
    "\u{feff}",
    "\u{2025}",
    "\u{ff0f}",
    "\u{ff0e}",
    "\r\nX-Injected: 1\r\n\r\n",
    " HTTP/1.1\r\nHost: x\r\n\r\nDELETE /_users HTTP/1.1\r\n",
    "http://evil.example/",
    "_users",
    "_security",
    "_users/_security",
    "_node/_local/_config/admins/os_admin",
    "_all_dbs",
    "_design/_auth",
    "org.couchdb.user:",
    "os_admin",
    "root",
    "é",
    "ß",
    "日本",
    "😀",
    "a\u{301}",
    "a",
    "b1",
    "zz",
    "Q",
    "0",
];

/// Characters that are valid in database names, and pieces that distinguish paths.
const DATABASE_PIECES: &[&str] =
    &["a", "b", "z9", "_", "$", "(", ")", "+", "-", "/", "/a", "/b", "_x", "users", "+c"];

pub(super) fn names() -> BTreeSet<String> {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut names = BTreeSet::new();
    while names.len() < NAMES {
        let (first, pieces) = match random.random_range(0..4) {
            0 => ("", PIECES),
            1 => ("a", PIECES),
            _ => ("a", DATABASE_PIECES),
        };
        let length = if random.random_range(0..50) == 0 { 120 } else { random.random_range(1..7) };
        let rest: String = (0..length).map(|_| pieces[random.random_range(0..pieces.len())]).collect();
        names.insert(format!("{first}{rest}"));
    }
    names
}

/// An independent implementation of the rules for names.
pub(super) fn is_user(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && !name.starts_with('_')
        && !name.contains(|c: char| c == ':' || c.is_control())
        && !["os_admin", "root"].contains(&name)
}

pub(super) fn is_database(name: &str) -> bool {
    name.len() <= 238
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_$()+-/".contains(c))
        && name.split('/').all(|part| !part.is_empty() && !part.starts_with('_'))
}
