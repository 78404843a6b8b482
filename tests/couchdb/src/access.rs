//! Authorization: server admins, database admins and members, by the `_security` object.
//!
//! The rules are upstream's `couch_db.erl` (`check_is_admin`, `check_is_member`) and
//! `chttpd_auth_request.erl`. Callers: the router before a route runs, and routes that require more than
//! membership. This module never handles passwords.

use serde_json::Value;

use crate::reply::{Refusal, Reply};

/// The sender of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// `None` is anonymous, which is still an admin on a node without admins.
    pub(crate) name: Option<String>,
    pub(crate) roles: Vec<String>,
    /// The handler that authenticated the caller: `cookie` or `default`.
    pub(crate) authenticated: Option<&'static str>,
}

impl Caller {
    /// Whether the caller is a server admin.
    pub(crate) fn is_server_admin(&self) -> bool {
        self.roles.iter().any(|role| role == "_admin")
    }

    /// 401 for every caller except a server admin, logged in or not.
    pub(crate) fn require_server_admin(&self) -> Result<(), Refusal> {
        if self.is_server_admin() { Ok(()) } else { Err(Reply::not_server_admin()) }
    }

    /// Whether the caller is an admin of the database with this `_security`.
    pub(crate) fn is_db_admin(&self, security: &Value) -> bool {
        self.is_server_admin() || self.is_listed(security.get("admins"))
    }

    /// Whether the caller may read and write documents; every caller may if no member is listed.
    pub(crate) fn is_member(&self, security: &Value) -> bool {
        // `readers` is the name in 1.0, which newer servers still accept.
        let members = security.get("members").or_else(|| security.get("readers"));
        let none = |key: &str| list(members, key).next().is_none();
        (none("names") && none("roles")) || self.is_listed(members) || self.is_db_admin(security)
    }

    /// A refusal for callers who are not members: 401 for anonymous ones, 403 for others.
    pub(crate) fn require_member(&self, security: &Value) -> Result<(), Refusal> {
        if self.is_member(security) {
            Ok(())
        } else if self.name.is_none() {
            Err(Reply::unauthorized("You are not authorized to access this db."))
        } else {
            Err(Reply::forbidden("You are not allowed to access this db."))
        }
    }

    /// Refuses to write a design document unless the caller is an admin of the database.
    pub(crate) fn require_design_rights(&self, security: &Value) -> Result<(), Refusal> {
        let reason = "You are not a db or server admin.";
        match (self.is_db_admin(security), &self.name) {
            (true, _) => Ok(()),
            (false, None) => Err(Reply::unauthorized(reason)),
            (false, Some(_)) => Err(Reply::forbidden(reason)),
        }
    }

    fn is_listed(&self, group: Option<&Value>) -> bool {
        let named =
            self.name.as_deref().is_some_and(|name| list(group, "names").any(|listed| listed == name));
        named || list(group, "roles").any(|listed| self.roles.iter().any(|role| role == listed))
    }
}

fn list<'a>(group: Option<&'a Value>, key: &str) -> impl Iterator<Item = &'a str> {
    let items = group.and_then(|group| group.get(key)).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str)
}

/// Whether an object may be stored as `_security`; a real server answers 500 `no_majority` for others.
pub(crate) fn is_valid_security(security: &Value) -> bool {
    let strings = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
    let group = |key: &str| match security.get(key) {
        None => true,
        Some(Value::Object(members)) => {
            ["names", "roles"].iter().all(|key| members.get(*key).is_none_or(strings))
        }
        Some(_) => false,
    };
    security.is_object() && ["admins", "members", "readers"].into_iter().all(group)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(name: &str, roles: &[&str]) -> Caller {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Caller { name: Some(name.to_owned()), roles, authenticated: None }
    }

    #[test]
    fn no_listed_member_opens_a_database_to_everybody() {
        for open in [
            json!({}),
            json!({ "admins": { "names": ["a"] } }),
            json!({ "members": { "names": [], "roles": [] } }),
        ] {
            assert!(Caller::default().is_member(&open), "{open}");
        }
        let closed = json!({ "members": { "names": [], "roles": ["_admin"] } });
        assert!(!Caller::default().is_member(&closed) && !user("u", &[]).is_member(&closed));
    }

    #[test]
    fn names_and_roles_let_in() {
        let security = json!({ "admins": { "roles": ["ar"] }, "members": { "names": ["m"] } });
        assert!(user("m", &[]).is_member(&security) && !user("m", &[]).is_db_admin(&security));
        assert!(user("x", &["ar"]).is_member(&security) && user("x", &["ar"]).is_db_admin(&security));
        assert!(!user("x", &[]).is_member(&security));
        assert!(user("x", &["_admin"]).is_db_admin(&json!({ "members": { "names": ["m"] } })));
    }

    #[test]
    fn bad_shapes_are_no_security_objects() {
        for bad in [
            json!([]),
            json!({ "admins": [] }),
            json!({ "members": { "names": null } }),
            json!({ "admins": { "names": [1] } }),
        ] {
            assert!(!is_valid_security(&bad), "{bad}");
        }
        assert!(is_valid_security(&json!({ "cloudant": {}, "members": { "names": ["a"], "foo": "bar" } })));
    }
}
