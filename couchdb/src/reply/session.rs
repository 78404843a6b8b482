//! Evaluates `GET /_session`: whether a login is a server administrator, and if not, why.
//!
//! CouchDB answers a wrong password with 401. It treats a login that it did not see like a request without a
//! login, and `info.authentication_handlers` shows whether it reads Basic credentials
//! (`couch_httpd_auth.erl`, `handle_session_req`). So the reason for an unseen login can be determined.

use serde_json::Value;

use crate::reply::{error::CouchError, login_problem::LoginProblem};

/// CouchDB's name for Basic authentication in its list of handlers.
const BASIC: &str = "default";

/// An answer to `GET /_session`.
#[derive(Debug)]
pub struct Session(Value);

impl Session {
    /// Reads the answer.
    ///
    /// # Errors
    /// The answer does not come from CouchDB.
    pub fn from_answer(body: Value) -> Result<Self, CouchError> {
        if body["userCtx"].is_object() {
            return Ok(Self(body));
        }
        let problem = "it names no user context, so what answers there is not CouchDB".to_owned();
        Err(CouchError::Unexpected { what: "GET /_session", problem })
    }

    /// Whether the account of the request is a server administrator.
    pub fn is_admin(&self) -> bool {
        let roles = self.0["userCtx"]["roles"].as_array();
        roles.is_some_and(|roles| roles.iter().any(|role| role == "_admin"))
    }

    /// Checks that CouchDB accepted the login of `account` as a server administrator.
    pub fn must_be_admin(&self, account: &str) -> Result<(), LoginProblem> {
        match self.0["userCtx"]["name"].as_str() {
            // In admin-party mode everyone is an administrator, and there is no name.
            _ if self.is_admin() => Ok(()),
            Some(name) if name == account => Err(LoginProblem::NotAdministrator(name.to_owned())),
            Some(name) => Err(LoginProblem::SomebodyElse(name.to_owned())),
            None => Err(self.why_unseen()),
        }
    }

    /// Checks that CouchDB saw the login of `account`, whatever its permissions.
    pub fn must_be_seen(&self, account: &str) -> Result<(), LoginProblem> {
        match self.must_be_admin(account) {
            Err(LoginProblem::NotAdministrator(_)) => Ok(()),
            other => other,
        }
    }

    fn why_unseen(&self) -> LoginProblem {
        let handlers = self.0["info"]["authentication_handlers"].as_array();
        let handlers: Vec<&str> = handlers.into_iter().flatten().filter_map(Value::as_str).collect();
        if handlers.is_empty() {
            return LoginProblem::Unseen("no user".to_owned());
        }
        if handlers.contains(&BASIC) {
            return LoginProblem::Stripped;
        }
        LoginProblem::BasicOff(handlers.join(", "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn problem(name: Option<&str>, roles: &[&str], handlers: &[&str]) -> Result<(), LoginProblem> {
        let answer = json!({
            "ok": true, "userCtx": {"name": name, "roles": roles}, "info": {"authentication_handlers": handlers}
        });
        Session::from_answer(answer).unwrap().must_be_admin("os_admin")
    }

    /// Answers of CouchDB 3.5.2 with cookie and JWT as the only `authentication_handlers`, and behind a proxy
    /// that removes `Authorization`.
    #[test]
    fn a_login_that_was_not_seen_has_its_reason() {
        assert_eq!(problem(Some("os_admin"), &["_admin"], &["cookie", "default"]), Ok(()));
        let basic_off = LoginProblem::BasicOff("cookie, jwt".into());
        assert_eq!(problem(None, &[], &["cookie", "jwt"]), Err(basic_off));
        assert_eq!(problem(None, &[], &["cookie", "default"]), Err(LoginProblem::Stripped));
        assert!(matches!(problem(None, &[], &[]), Err(LoginProblem::Unseen(_))));
    }

    #[test]
    fn another_account_or_none_of_an_administrator_is_named() {
        let handlers = ["cookie", "default"];
        let user = LoginProblem::NotAdministrator("os_admin".into());
        assert_eq!(problem(Some("os_admin"), &["staff"], &handlers), Err(user));
        let other = LoginProblem::SomebodyElse("al".into());
        assert_eq!(problem(Some("al"), &[], &handlers), Err(other));
        assert_eq!(problem(None, &["_admin"], &handlers), Ok(()), "an admin party");
    }

    #[test]
    fn what_is_no_session_is_not_couchdbs() {
        for odd in [json!(null), json!({}), json!({"userCtx": 1}), json!([])] {
            let told = Session::from_answer(odd).unwrap_err().to_string();
            assert!(told.contains("not CouchDB"), "{told}");
        }
    }
}
