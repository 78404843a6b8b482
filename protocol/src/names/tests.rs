//! Which names are accepted, which rule a refused name breaks, and how names look in a URL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

fn database_rule(name: &str) -> NameRule {
    DatabaseName::try_from(name).expect_err("the name must be refused").rule()
}

fn user_rule(name: &str) -> NameRule {
    UserName::try_from(name).expect_err("the name must be refused").rule()
}

#[test]
fn ordinary_names_are_accepted() {
    for name in ["a", "db1", "a/b/c", "a_$()+-/b", &"a".repeat(MAX_DATABASE_NAME)] {
        assert_eq!(DatabaseName::try_from(name).unwrap().as_str(), name);
    }
    for name in
        ["alice", "a b", " padded ", "Zoë", "o'brien", "a/b", "a@b", "..", "a_b", &"u".repeat(MAX_USER_NAME)]
    {
        assert_eq!(UserName::try_from(name).unwrap().as_str(), name);
    }
}

#[test]
fn every_rule_for_databases_has_its_own_message() {
    assert_eq!(database_rule(""), NameRule::Empty);
    assert_eq!(database_rule(&"a".repeat(MAX_DATABASE_NAME + 1)), NameRule::TooLong(238));
    assert_eq!(database_rule("_users"), NameRule::SystemDatabase);
    assert_eq!(database_rule("a.couch"), NameRule::Dot);
    assert_eq!(database_rule("1a"), NameRule::FirstLetter);
    assert_eq!(database_rule("/a"), NameRule::FirstLetter);
    assert_eq!(database_rule("Abc"), NameRule::FirstLetter);
    for name in ["aBc", "a b", "a\n", "a%2f", "aé", "a\0", "a\\b", "a?b"] {
        assert_eq!(database_rule(name), NameRule::DatabaseCharacter, "{name:?}");
    }
    assert_eq!(database_rule("a/"), NameRule::EmptySegment);
    assert_eq!(database_rule("a//b"), NameRule::EmptySegment);
    assert_eq!(database_rule("a/_b"), NameRule::UnderscoreSegment);
}

#[test]
fn every_rule_for_users_has_its_own_message() {
    assert_eq!(user_rule(""), NameRule::Empty);
    assert_eq!(user_rule(&"é".repeat(128)), NameRule::TooLong(255));
    assert_eq!(user_rule("_admin"), NameRule::LeadingUnderscore);
    assert_eq!(user_rule("a:b"), NameRule::Colon);
    for name in ["a\nb", "\0", "a\u{7f}", "a\u{85}b"] {
        assert_eq!(user_rule(name), NameRule::ControlCharacter, "{name:?}");
    }
}

#[test]
fn messages_name_the_rule_and_quote_the_name_on_one_line() {
    let error = DatabaseName::try_from("_users").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the database name \"_users\" is not allowed: names that begin with `_` belong to CouchDB's system databases"
    );
    let hostile = format!("a\r\n\u{1b}[31m\"{}", "x".repeat(400));
    let text = UserName::try_from(hostile).unwrap_err().to_string();
    assert!(!text.contains(char::is_control), "{text}");
    assert!(text.contains(r#""a\r\n\u{1b}[31m\"xxx"#) && text.contains("xx…\""), "{text}");
    assert!(text.len() < 200, "{text}");
}

#[test]
fn a_name_is_one_segment_of_a_url() {
    assert_eq!(DatabaseName::try_from("a/b+c$(d)-e_f").unwrap().percent_encoded(), "a%2Fb%2Bc%24%28d%29-e_f");
    let user = UserName::try_from("Zoë/.. ?").unwrap();
    assert_eq!(user.document_id(), "org.couchdb.user:Zoë/.. ?");
    assert_eq!(user.document_path(), "org.couchdb.user%3AZo%C3%AB%2F..%20%3F");
}

#[test]
fn only_percent_and_nothing_mean_any_host() {
    assert!(HostPattern::default().is_any());
    assert!(HostPattern::new("%").is_any());
    assert!(HostPattern::new("").is_any());
    assert!(!HostPattern::new("10.0.0.%").is_any());
}

proptest! {
    #[test]
    fn no_text_panics_and_messages_stay_printable(name in any::<String>()) {
        let errors = [UserName::try_from(name.as_str()).err(), DatabaseName::try_from(name.as_str()).err()];
        for error in errors.into_iter().flatten() {
            prop_assert!(!error.to_string().contains(char::is_control));
        }
    }

    #[test]
    fn an_accepted_name_survives_encoding(name in "\\PC{1,60}") {
        if let Ok(user) = UserName::try_from(name.as_str()) {
            let encoded = user.document_path();
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
            let decoded = percent_encoding::percent_decode_str(&encoded).decode_utf8().unwrap().into_owned();
            prop_assert_eq!(decoded, user.document_id());
        }
    }

    #[test]
    fn the_database_rule_is_couchdbs_and_ours(name in "[a-c_/$.A0-]{0,8}") {
        let couch = name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.contains(['.', 'A']);
        let ours = !name.ends_with('/') && !name.contains("//") && !name.contains("/_");
        prop_assert_eq!(DatabaseName::try_from(name.as_str()).is_ok(), couch && ours);
    }
}
