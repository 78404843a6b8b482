//! Erlang terms in CouchDB's configuration. CouchDB evaluates them at every request, and a term that it can't
//! read makes it fail.

use std::iter::Peekable;
use std::str::Chars;

/// The handler of Basic authentication, by which the agent logs in.
pub(super) const BASIC: &str = "default_authentication_handler";

/// The handler that believes the headers of a proxy.
pub(super) const PROXY: &str = "proxy_authentication_handler";

/// The handlers of CouchDB. There is a fifth one, `null_authentication_handler`: it makes every caller an
/// administrator.
const HANDLERS: [&str; 4] = [BASIC, PROXY, "cookie_authentication_handler", "jwt_authentication_handler"];

/// The module of the handlers.
const MODULE: &str = "chttpd_auth";

/// The handlers in words.
pub(super) fn handlers() -> String {
    HANDLERS.map(|handler| format!("{{{MODULE}, {handler}}}")).join(", ")
}

/// Whether a text is a list of CouchDB's handlers.
pub(super) fn are_handlers(text: &str) -> bool {
    let mut rest = text.trim();
    loop {
        let Some((tuple, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
            return false;
        };
        let Some((module, handler)) = tuple.split_once(',') else { return false };
        if module.trim() != MODULE || !HANDLERS.contains(&handler.trim()) {
            return false;
        }
        match after.trim_start().strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None => return after.trim().is_empty(),
        }
    }
}

/// Whether a list of handlers has this one.
pub(super) fn has_handler(text: &str, handler: &str) -> bool {
    text.split('{')
        .filter_map(|tuple| tuple.split_once('}'))
        .any(|(tuple, _)| tuple.split_once(',').is_some_and(|(_, name)| name.trim() == handler))
}

/// Whether a text is a list of `"expression"` and `{"expression", "reason"}`.
pub(super) fn are_password_rules(text: &str) -> bool {
    Rules(text.chars().peekable()).list().is_some()
}

struct Rules<'a>(Peekable<Chars<'a>>);

impl Rules<'_> {
    fn list(mut self) -> Option<()> {
        self.expect('[')?;
        if !self.has(']') {
            loop {
                self.rule()?;
                if !self.has(',') {
                    break;
                }
            }
            self.expect(']')?;
        }
        self.blanks();
        self.0.next().is_none().then_some(())
    }

    fn rule(&mut self) -> Option<()> {
        if self.has('{') {
            self.text()?;
            self.expect(',')?;
            self.text()?;
            return self.expect('}');
        }
        self.text()
    }

    /// A text. Only CouchDB can read the expression in it.
    fn text(&mut self) -> Option<()> {
        self.expect('"')?;
        loop {
            match self.0.next()? {
                '"' => return Some(()),
                '\\' => drop(self.0.next()?),
                _ => {}
            }
        }
    }

    fn blanks(&mut self) {
        while self.0.next_if(|c| c.is_whitespace()).is_some() {}
    }

    fn has(&mut self, wanted: char) -> bool {
        self.blanks();
        self.0.next_if_eq(&wanted).is_some()
    }

    fn expect(&mut self, wanted: char) -> Option<()> {
        self.has(wanted).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_couchdbs_own_handlers_are_taken() {
        let both =
            "{chttpd_auth, cookie_authentication_handler}, {chttpd_auth,default_authentication_handler}";
        assert!(are_handlers(both) && has_handler(both, BASIC) && !has_handler(both, PROXY));
        for wrong in [
            "",
            "default_authentication_handler",
            "{chttpd_auth, null_authentication_handler}",
            "{os, cmd}",
            "{chttpd_auth, default_authentication_handler},",
            "{chttpd_auth, default_authentication_handler} {chttpd_auth, cookie_authentication_handler}",
            "{chttpd_auth, default_authentication_handler",
        ] {
            assert!(!are_handlers(wrong), "{wrong}");
        }
    }

    #[test]
    fn password_rules_are_a_list() {
        for good in ["[]", " [ ] ", r#"[{".{10,}", "Too short."}, "\\d+"]"#, r#"["a\"b"]"#] {
            assert!(are_password_rules(good), "{good}");
        }
        for wrong in ["", "[", "[a]", r#"["a""#, r#"["a",]"#, r#"[{"a"}]"#, r#"["a"] x"#, r#""a""#] {
            assert!(!are_password_rules(wrong), "{wrong}");
        }
    }
}
