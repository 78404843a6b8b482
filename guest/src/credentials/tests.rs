#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_generated_password_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("creds.json");
    assert!(load(&path).unwrap().is_none());
    let password = generate(&path).unwrap().password;
    assert_eq!(load(&path).unwrap().unwrap().password, password);
    assert_eq!(password.expose().len(), PASSWORD_LENGTH);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
    assert_eq!(generate(&path).unwrap().password, password, "a file that is there is never replaced");
    fs::remove_file(&path).unwrap();
    assert_ne!(generate(&path).unwrap().password, password);
}

#[test]
fn while_it_changes_the_file_holds_both_passwords() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("creds.json");
    let old = generate(&path).unwrap();
    let both = old.with_next();
    store(&path, &both).unwrap();
    let read = load(&path).unwrap().unwrap();
    assert_eq!((&read.password, &read.next), (&old.password, &both.next));
    assert_ne!(both.next.as_ref(), Some(&old.password));
    let turned = both.clone().turned();
    assert_eq!((Some(&turned.password), turned.next.as_ref()), (both.next.as_ref(), Some(&old.password)));
    store(&path, &read.clone().promoted()).unwrap();
    let promoted = load(&path).unwrap().unwrap();
    assert_eq!((Some(&promoted.password), &promoted.next), (both.next.as_ref(), &None));
    assert_eq!(read.settled().next, None);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
}

#[test]
fn a_file_that_does_not_say_is_as_old_as_its_last_change() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("creds.json");
    system::replace(&path, br#"{"username": "os_admin", "password": "x"}"#, MODE).unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(load(&path).unwrap().unwrap().since, modified);
    system::replace(&path, br#"{"username": "os_admin", "password": "x", "since": 9}"#, MODE).unwrap();
    assert_eq!(load(&path).unwrap().unwrap().since, SystemTime::UNIX_EPOCH + Duration::from_secs(9));
}

/// Mutation: foreign-credentials-are-used (docs/guarantees.md).
#[test]
fn a_file_of_another_account_is_refused_with_its_name() {
    if !geteuid().is_root() {
        return; // only root can change the owner, and read the file afterwards
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("creds.json");
    generate(&path).unwrap();
    std::os::unix::fs::chown(&path, Some(1), None).unwrap();
    let error = load(&path).unwrap_err();
    assert!(matches!(error, CredentialsError::Foreign { .. }), "{error}");
    let told = error.to_string();
    assert!(told.contains("uid 1") && told.contains("chown 0"), "{told}");
    std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    assert!(load(&path).unwrap().is_some());
}

#[test]
fn a_link_to_the_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (path, link) = (directory.path().join("creds.json"), directory.path().join("link.json"));
    generate(&path).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let error = load(&link).unwrap_err();
    assert!(matches!(error, CredentialsError::Link { .. }), "{error}");
    assert!(error.to_string().contains("link.json"), "{error}");
}

#[test]
fn a_bad_file_is_named_and_never_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("creds.json");
    for content in [
        r#"{"username": "os_admin", "password": 90210}"#,
        r#"{"username": "hunter2", "password": "hunter2"}"#,
        r#"{"username": "os_admin", "password": ""}"#,
        r#"{"username": "os_admin", "password": "hunter2", "next_password": ""}"#,
        r#"{"username": "os_admin", "password": "hunter2""#,
        "hunter2",
        "",
    ] {
        system::replace(&path, content.as_bytes(), MODE).unwrap();
        let error = load(&path).unwrap_err();
        assert!(matches!(error, CredentialsError::Malformed { .. }), "{content}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("90210"), "{shown}");
    }
}

/// Mutation: open-credentials-are-used (docs/guarantees.md).
#[test]
fn a_file_that_others_can_read_is_refused_until_it_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("creds.json");
    let content = r#"{"username": "os_admin", "password": "hunter2"}"#;
    for mode in [0o644, 0o640, 0o620, 0o604, 0o601] {
        system::replace(&path, content.as_bytes(), mode).unwrap();
        let told = load(&path).unwrap_err().to_string();
        assert!(told.contains("chmod 600") && told.contains("rotate-os-admin"), "{told}");
        assert!(told.contains(&format!("{mode:04o}")) && !told.contains("hunter2"), "{told}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "it is left as it is");
        assert!(generate(&path).is_err(), "and no other one is made");
        fs::set_permissions(&path, fs::Permissions::from_mode(MODE)).unwrap();
        assert!(load(&path).unwrap().is_some());
    }
    system::replace(&path, content.as_bytes(), 0o400).unwrap();
    assert!(load(&path).unwrap().is_some());
}
