//! Masks the value after a word such as `password`, in JSON, in headers, in ini files and in Erlang's terms.
//!
//! CouchDB writes whole documents and requests into its log when a process crashes, and headers at the level
//! `debug`.

/// Replaces a secret.
pub(super) const MASK: &str = "REDACTED";

/// A value after one of these is masked. In lower case.
const WORDS: [&str; 9] = [
    "password",
    "passwd",
    "authsession",
    "auth_token",
    "auth-token",
    "auth-couchdb-token",
    "bearer",
    "derived_key",
    "secret",
];

/// What may be between the word and its value: `"password": "…"`, `{<<"password">>,<<"…">>}`, `password = …`.
const BETWEEN: &str = "\"'<>:=,\\ \t";

/// One of these separates a word from its value. Elsewhere it is a word of a sentence.
const ASSIGNS: &str = ":=,";

/// The text with every such value masked.
pub(super) fn masked(text: &str) -> String {
    // Without the upper half of Latin-1 and beyond, so that both texts have the same positions.
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    while let Some(end) = next_word(&lower, done) {
        let (before, rest) = (text.get(done..end), text.get(end..).unwrap_or_default());
        out += before.unwrap_or_default();
        let gap = rest.len() - rest.trim_start_matches(|c| BETWEEN.contains(c)).len();
        let (between, value) = rest.split_at_checked(gap).unwrap_or((rest, ""));
        out += between;
        done = end + gap;
        let is_bearer = lower.get(..end).is_some_and(|before| before.ends_with("bearer")) && between == " ";
        let length = length_of(value, between);
        if length > 0 && (is_bearer || between.contains(|c| ASSIGNS.contains(c))) {
            out += MASK;
            done += length;
        }
    }
    out + text.get(done..).unwrap_or_default()
}

/// The end of the next word.
fn next_word(lower: &str, from: usize) -> Option<usize> {
    let rest = lower.get(from..)?;
    let ends = WORDS.iter().filter_map(|word| Some(rest.find(word)? + word.len()));
    Some(from + ends.min()?)
}

/// The length of a value: up to the mark that it began with, else up to the next separator.
fn length_of(value: &str, between: &str) -> usize {
    let opened = between.chars().next_back().filter(|last| "\"'".contains(*last));
    let end = match opened {
        // JSON within a text.
        Some(_) if between.ends_with("\\\"") => value.find("\\\""),
        Some(mark) => closing(value, mark),
        None if between.ends_with("<<") => value.find(">>"),
        None => value.find(|c: char| c.is_whitespace() || "\"',;&<>{}[]()".contains(c)),
    };
    end.unwrap_or(value.len())
}

/// The first such mark that is not escaped.
fn closing(value: &str, mark: char) -> Option<usize> {
    let mut escaped = false;
    value.char_indices().find_map(|(at, c)| {
        let found = (c == mark && !escaped).then_some(at);
        escaped = c == '\\' && !escaped;
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_goes_in_every_notation() {
        for (text, clean) in [
            (r#"{"name":"al","password":"a\"b c","x":1}"#, r#"{"name":"al","password":"REDACTED","x":1}"#),
            (
                r#"{<<"password">>,<<"hunter2, x">>},{<<"a">>,1}"#,
                r#"{<<"password">>,<<"REDACTED">>},{<<"a">>,1}"#,
            ),
            ("{<<\"Password\">>,<<195,164,98>>}", "{<<\"Password\">>,<<REDACTED>>}"),
            ("password = hunter2 # x", "password = REDACTED # x"),
            ("Cookie: AuthSession=YWRtaW4:5; a=b", "Cookie: AuthSession=REDACTED; a=b"),
            ("{'X-Auth-Token',\"gAAA\"}", "{'X-Auth-Token',\"REDACTED\"}"),
            ("Authorization: Bearer ey.J0.x y", "Authorization: Bearer REDACTED y"),
            ("?new_password=a&b=1", "?new_password=REDACTED&b=1"),
            ("\"password_sha\":\"5\",\"password\":\"é\"", "\"password_sha\":\"5\",\"password\":\"REDACTED\""),
            ("{\\\"password\\\":\\\"hunter2\\\"}", "{\\\"password\\\":\\\"REDACTED\\\"}"),
        ] {
            assert_eq!(masked(text), clean);
        }
    }

    #[test]
    fn a_word_of_a_sentence_stays() {
        for text in [
            "the password is wrong",
            "Password authentication failed for user al from 10.0.0.1",
            "no password",
            "",
            "password",
            "secret:",
            "ÄÖ password",
        ] {
            assert_eq!(masked(text), text);
        }
    }
}
