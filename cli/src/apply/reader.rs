//! Converts TOML to the described state, and reports every mistake with its line.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::PathBuf,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use trove_couchdb_protocol::{DatabaseName, UserName};

use super::wanted::{PasswordSource, Wanted, WantedUser};

type Value<'a> = Spanned<DeValue<'a>>;

/// The state that a text describes, or all its mistakes, each with its line.
pub(super) fn wanted(text: &str) -> Result<Wanted, Vec<String>> {
    let mut reader = Reader { text, mistakes: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        reader.mistake(error.span().unwrap_or_default(), error.message());
    }
    // After a syntax error, unread parts would be reported as missing.
    if errors.is_empty() {
        let wanted = reader.document(document.get_ref());
        if reader.mistakes.is_empty() {
            return Ok(wanted);
        }
    }
    reader.mistakes.sort();
    if !errors.is_empty() {
        // A syntax error causes further errors on its line.
        reader.mistakes.dedup_by_key(|(line, _)| *line);
    }
    Err(reader.mistakes.into_iter().map(|(line, text)| format!("line {line}: {text}")).collect())
}

struct Reader<'a> {
    text: &'a str,
    /// Each mistake with its line.
    mistakes: Vec<(usize, String)>,
}

impl Reader<'_> {
    fn mistake(&mut self, span: Range<usize>, text: impl Into<String>) {
        let before = self.text.get(..span.start).unwrap_or_default();
        self.mistakes.push((before.matches('\n').count() + 1, text.into()));
    }

    fn document(&mut self, document: &DeTable<'_>) -> Wanted {
        let mut wanted = Wanted::default();
        if let Some(value) = document.get("databases") {
            wanted.databases = self.names(value, "databases").into_keys().collect();
        }
        for (key, value) in document {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("databases", _) => {}
                ("users", DeValue::Table(users)) => {
                    for (name, value) in users {
                        let place = format!("users.{:?}", name.get_ref());
                        let user = self.user(value, &wanted.databases, &place);
                        match name.get_ref().parse::<UserName>() {
                            Ok(name) => drop(wanted.users.insert(name, user)),
                            Err(error) => self.mistake(name.span(), format!("{place}: {error}")),
                        }
                    }
                }
                ("users", _) => self.mistake(value.span(), "users must be tables, such as [users.al]"),
                (other, _) => {
                    self.mistake(
                        key.span(),
                        format!("unknown field {other:?}; a file has databases and users"),
                    );
                }
            }
        }
        wanted
    }

    fn user(&mut self, value: &Value<'_>, databases: &BTreeSet<DatabaseName>, place: &str) -> WantedUser {
        let mut user = WantedUser::default();
        let DeValue::Table(table) = value.get_ref() else {
            self.mistake(value.span(), format!("{place} must be a table, such as [{place}]"));
            return user;
        };
        let mut sources = BTreeMap::new();
        for (key, value) in table {
            let field = key.get_ref().as_ref();
            let place = format!("{place}.{field}");
            match field {
                "databases" => {
                    for (name, span) in self.names(value, &place) {
                        if !databases.contains(&name) {
                            let name = name.as_str();
                            let text =
                                format!("{place}: the database {name:?} is not in `databases`; add it there");
                            self.mistake(span, text);
                        }
                        user.databases.insert(name);
                    }
                }
                "password_file" => {
                    sources.extend(
                        self.string(value, &place).map(|s| (field, PasswordSource::File(PathBuf::from(s)))),
                    );
                }
                "password_env" => {
                    sources
                        .extend(self.string(value, &place).map(|s| (field, PasswordSource::Environment(s))));
                }
                "generate" if self.flag(value, &place) => {
                    drop(sources.insert(field, PasswordSource::Generated));
                }
                "generate" => {}
                "rotate_password" => user.rotate_password = self.flag(value, &place),
                _ => {
                    let fields = "databases, password_file, password_env, generate and rotate_password";
                    self.mistake(key.span(), format!("{place}: unknown field; a user has {fields}"));
                }
            }
        }
        if sources.len() > 1 {
            let text = format!("{place}: password_file, password_env and generate exclude each other");
            self.mistake(value.span(), text);
        }
        user.password = sources.into_values().next();
        if user.rotate_password && user.password.is_none() {
            let text = format!("{place}: rotate_password needs password_file, password_env or generate");
            self.mistake(value.span(), text);
        }
        user
    }

    fn names(&mut self, value: &Value<'_>, place: &str) -> BTreeMap<DatabaseName, Range<usize>> {
        let mut names = BTreeMap::new();
        let DeValue::Array(items) = value.get_ref() else {
            self.mistake(value.span(), format!("{place} must be a list, such as [\"a\", \"b\"]"));
            return names;
        };
        for item in items {
            let Some(name) = self.string(item, place) else { continue };
            match DatabaseName::try_from(name.as_str()) {
                Ok(valid) if names.contains_key(&valid) => {
                    self.mistake(item.span(), format!("{place}: {name:?} is there twice"));
                }
                Ok(valid) => drop(names.insert(valid, item.span())),
                Err(error) => self.mistake(item.span(), format!("{place}: {error}")),
            }
        }
        names
    }

    fn string(&mut self, value: &Value<'_>, place: &str) -> Option<String> {
        if let DeValue::String(text) = value.get_ref() {
            return Some(text.to_string());
        }
        self.mistake(value.span(), format!("{place} must be text in double quotes"));
        None
    }

    fn flag(&mut self, value: &Value<'_>, place: &str) -> bool {
        if let DeValue::Boolean(flag) = value.get_ref() {
            return *flag;
        }
        self.mistake(value.span(), format!("{place} must be true or false, without quotes"));
        false
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_says_databases_users_and_access() {
        let wanted = wanted(
            "databases = ['shop', 'log']\n[users.al]\ndatabases = ['shop']\npassword_file = 'x'\n\
             [users.'b o@x']\ngenerate = true\nrotate_password = true\n[users.c]\n",
        )
        .unwrap();
        assert_eq!(wanted.databases.len(), 2);
        let al = &wanted.users[&"al".parse().unwrap()];
        assert_eq!(al.password, Some(PasswordSource::File("x".into())));
        assert!(al.databases.contains(&"shop".parse().unwrap()));
        assert!(wanted.users[&"b o@x".parse().unwrap()].rotate_password);
        assert_eq!(wanted.users[&"c".parse().unwrap()], WantedUser::default());
        assert_eq!(super::wanted("").unwrap(), Wanted::default());
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        for (text, says) in [
            ("databses = []", "line 1: unknown field \"databses\""),
            ("databases = ['Shop']", "lower-case"),
            ("databases = ['a', 'a']", "twice"),
            ("databases = 'a'", "must be a list"),
            ("databases = [1]", "must be text"),
            (
                "[users.al]\ndatabases = ['a']",
                "line 2: users.\"al\".databases: the database \"a\" is not in `databases`",
            ),
            ("[users.'a:b']", "colon"),
            ("[users.al]\npassword = 'x'", "line 2: users.\"al\".password: unknown field"),
            ("[users.al]\ngenerate = true\npassword_env = 'X'", "exclude each other"),
            ("[users.al]\ngenerate = 'yes'", "must be true or false"),
            ("[users.al]\nrotate_password = true", "rotate_password needs"),
            ("[[users]]", "users must be tables"),
            ("users.al = 1", "must be a table"),
        ] {
            let mistakes = wanted(text).unwrap_err();
            assert!(mistakes.len() == 1 && mistakes[0].contains(says), "{text}: {mistakes:?}");
        }
    }

    #[test]
    fn all_mistakes_of_a_file_are_named_at_once() {
        let text =
            "databases = ['A', 'b']\nx = 1\n[users.al]\ndatabases = ['c']\npassword = 'p'\n[users.'q:r']\n";
        let lines: Vec<String> = wanted(text).unwrap_err();
        let numbers: Vec<&str> = lines.iter().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(numbers, ["line 1", "line 2", "line 4", "line 5", "line 6"], "{lines:?}");
        let broken = wanted("a = \nb = = 2\n[users.al\n").unwrap_err();
        assert_eq!(broken.len(), 3, "{broken:?}");
    }
}
