//! Which commands result from the requests that were captured from an unmodified Trove 26.0.0.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)] // the tests of `protocol` ask it for more
#[path = "../../../protocol/tests/wire/captures.rs"]
mod captures;

use std::fmt::Write as _;

use trove_couchdb_agent::commands::{self, Command};
use trove_couchdb_protocol::{
    DecodeError, Request,
    trove::{Method, UserAction},
};

use captures::{Capture, Recipient};

/// In bytes; the largest captured request has about 8 kB.
const LIMIT: usize = 1 << 16;

fn request(capture: &Capture) -> Request {
    Request::decode(&capture.body, capture.cipher.as_ref(), LIMIT)
        .unwrap_or_else(|refused| panic!("{}: {refused}", capture.name))
}

/// As if the request were unencrypted.
fn command(request: &Request) -> Result<Box<dyn Command>, DecodeError> {
    let clear = Request { disclosure: trove_couchdb_protocol::Disclosure::Open, ..request.clone() };
    commands::of_request(&clear, UserAction::default())
}

#[test]
fn every_request_to_a_guest_is_a_command() {
    for capture in captures::to(Recipient::Guest) {
        let request = request(&capture);
        match command(&request) {
            Ok(command) => assert_eq!(command.name(), request.method, "{}", capture.name),
            // A user tried `database-create ID _users`, and Trove's API let it through (PROTOCOL, section 8).
            Err(refused) => {
                assert_eq!(refused.kind(), "name", "{}: {refused}", capture.name);
                assert!(refused.to_string().contains("\"_users\""), "{}: {refused}", capture.name);
            }
        }
    }
}

/// A method's capture must give the same command, whether encrypted or not. The snapshot holds the commands.
#[test]
fn what_the_commands_are() {
    let mut lines = String::new();
    for capture in captures::to(Recipient::Guest) {
        let request = request(&capture);
        let is_plain = |command: &dyn Command| {
            !commands::is_served(command.method()) || command.method() == Method::GetFilesystemStats
        };
        let line = match command(&request) {
            Ok(command) if is_plain(&*command) => continue,
            Ok(command) => format!("{command:?}"),
            Err(refused) => format!("refused: {refused}"),
        };
        writeln!(lines, "{}\n    {line}", capture.name).unwrap();
    }
    insta::assert_snapshot!("commands", lines);
}

#[test]
fn the_taskmanagers_methods_are_not_a_guests() {
    let captures = captures::to(Recipient::Taskmanager);
    let one = captures.iter().find(|capture| capture.message["method"] == "create_instance").unwrap();
    let refused = command(&request(one)).unwrap_err();
    assert_eq!(refused, DecodeError::UnknownMethod("create_instance".to_owned()));
}

#[test]
fn no_damage_to_a_captured_request_panics() {
    let captures = captures::to(Recipient::Guest);
    let one = captures.iter().find(|capture| capture.name.starts_with("create_user.secure")).unwrap();
    for index in 0..one.body.len() {
        let mut damaged = one.body.clone();
        damaged[index] ^= 0x10;
        // Only the envelope's names, insignificant spaces and the unencrypted ids can change unnoticed.
        if let Ok(request) = Request::decode(&damaged, one.cipher.as_ref(), LIMIT) {
            drop(command(&request));
        }
    }
}
