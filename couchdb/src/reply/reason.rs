//! CouchDB's reasons in error messages, shortened and with advice.

use std::borrow::Cow;

/// When CouchDB crashes, it returns a long Erlang term, of which only the beginning is useful.
const LONGEST: usize = 200;

/// The text on one line of at most 200 characters.
pub(crate) fn one_line(text: &str) -> String {
    let visible = text.chars().map(|character| if character.is_control() { ' ' } else { character });
    let words: String = visible.collect();
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        None => line,
        Some(_) => line.chars().take(LONGEST - 1).chain(['…']).collect(),
    }
}

/// Advice for reasons that are known to be unclear; empty for all others.
pub(crate) fn advice(reason: &str) -> Cow<'static, str> {
    if reason.contains(UNOPENABLE) {
        format!("; look at {CAUSES}").into()
    } else if reason == NO_FILES {
        "; it has no file descriptor left: raise LimitNOFILE of its service".into()
    } else {
        "".into()
    }
}

/// Whether a reason is an Erlang error code for writing a file (file(3erl), "POSIX Error Codes").
pub(crate) fn is_of_a_file(reason: &str) -> bool {
    const CODES: [&str; 11] = [
        "eacces", "edquot", "eio", "eisdir", "emfile", "enfile", "enoent", "enospc", "enotdir", "eperm",
        "erofs",
    ];
    CODES.contains(&reason)
}

/// CouchDB lists the database but can't open its files.
pub(crate) const UNOPENABLE: &str = "No DB shards could be opened";

/// CouchDB's process has as many files open as it may.
pub(crate) const NO_FILES: &str = "emfile";

/// The possible causes of [`UNOPENABLE`]. CouchDB's reason is the same for all of them.
pub(crate) const CAUSES: &str =
    "CouchDB's log, its limit of open files, its disk, and whether its node name has changed";

/// Too few nodes of the cluster wrote the object, the disk was full, the object was malformed, or the caller
/// lacks the permission.
pub(crate) const NO_MAJORITY: &str = "no_majority";

/// The prefix of a 403 about the rounds of an account's hash (`couch_httpd_auth.erl`, `verify_iterations`).
const ROUNDS: &str = "Iteration count";
const TOO_FEW: &str = "os_admin's hash in CouchDB's ini file has 10 rounds, as its password has 256 random bits: set \
                       min_iterations of [chttpd_auth] to 10 or less";
const TOO_MANY: &str = "the account's hash has more rounds than max_iterations of [chttpd_auth] allows: raise it to what \
                        the hash has (its last number in [admins]; os_admin's has 600000 unless it was made under the limit)";

/// The reason of a 403, with advice if it is about the rounds of a hash.
pub(crate) fn with_help(reason: String) -> String {
    if !reason.starts_with(ROUNDS) {
        return reason;
    }
    let help = if reason.contains("too high") { TOO_MANY } else { TOO_FEW };
    format!("{reason}; {help}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_erlang_term_becomes_one_short_line() {
        let term = "{badmatch,\n    {error,\r\n\t{file_permission_error,\n  [<<\"a\">>]}}}\n\u{7}";
        assert_eq!(one_line(term), "{badmatch, {error, {file_permission_error, [<<\"a\">>]}}}");
        let long = one_line(&"é".repeat(300));
        assert_eq!(long.chars().count(), LONGEST);
        assert!(long.ends_with('…'));
        assert_eq!(one_line(&"x".repeat(LONGEST)), "x".repeat(LONGEST));
    }

    #[test]
    fn only_what_is_known_gets_advice() {
        assert!(advice("No DB shards could be opened.").contains("node name"));
        assert!(advice("emfile").contains("LimitNOFILE"));
        assert_eq!(advice("internal_server_error"), "");
    }
}
