//! The commands of a replayed schedule: what is sent to the agent, and what the agent sends to CouchDB.

use serde_json::json;

use super::schedule::Command;
use crate::bus::Request;
use crate::fixture::{Fixture, user_object};

/// The commands that create a thing, and those that delete it.
const WHOLE: [(&str, &str); 2] = [("create_user", "delete_user"), ("create_database", "delete_database")];

impl Command {
    /// The same command, however it is sent: over broker and socket it has the same id.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.method == other.method && self.on == other.on
    }

    /// Whether one of the two changes what the other reads or changes.
    pub(super) fn conflicts_with(&self, other: &Self) -> bool {
        let is_about_same = self.things().any(|thing| other.things().any(|one| one == thing));
        is_about_same && !(self.only_reads() && other.only_reads())
    }

    pub(super) fn only_reads(&self) -> bool {
        self.method == "get_user"
    }

    /// Its users and databases; the first is what it creates or deletes.
    pub(super) fn things(&self) -> impl Iterator<Item = (bool, &str)> {
        let is_user = |place: usize| place == 0 && !self.method.ends_with("_database");
        self.on.iter().enumerate().map(move |(place, name)| (is_user(place), name.as_str()))
    }

    /// Whether it creates (true) or deletes the thing; `None` if the thing only has to exist.
    pub(super) fn makes(&self, thing: (bool, &str)) -> Option<bool> {
        let is_first = self.things().next() == Some(thing);
        let whole = WHOLE.iter().find(|(create, delete)| [*create, *delete].contains(&self.method.as_str()));
        whole.filter(|_| is_first).map(|(create, _)| self.method == *create)
    }

    pub(super) fn request(&self, fixture: &Fixture) -> Request {
        let names: Vec<String> = self.on.iter().map(|name| fixture.name(name)).collect();
        let first = names.first().map(String::as_str).unwrap_or_default();
        let (method, args) = match self.method.as_str() {
            "create_database" => ("create_database", json!({"databases": [{"_name": first}]})),
            "delete_database" => ("delete_database", json!({"database": {"_name": first}})),
            "create_user" => ("create_user", json!({"users": [user_object(first, &[])]})),
            "delete_user" => ("delete_user", json!({"user": {"_name": first, "_host": "%"}})),
            "change_password" => {
                ("change_passwords", json!({"users": [{"name": first, "host": "%", "password": "new-pw"}]}))
            }
            "get_user" => ("get_user", json!({"username": first, "hostname": "%"})),
            _ => ("grant_access", json!({"username": first, "hostname": "%", "databases": names.get(1..)})),
        };
        Request::new(method, args)
    }

    /// The request to CouchDB by which the command takes effect: its method, and its path as in a rule.
    pub(super) fn asks_for(&self, fixture: &Fixture) -> (&'static str, String) {
        let name = |place: usize| self.on.get(place).map(|name| fixture.name(name)).unwrap_or_default();
        let user = || format!("/_users/org.couchdb.user%3A{}", name(0));
        match self.method.as_str() {
            "create_database" => ("PUT", format!("/{}", name(0))),
            "delete_database" => ("DELETE", format!("/{}", name(0))),
            "delete_user" => ("DELETE", user()),
            "get_user" => ("GET", user()),
            "grant_access" => ("PUT", format!("/{}/_security", name(1))),
            _ => ("PUT", user()),
        }
    }
}
