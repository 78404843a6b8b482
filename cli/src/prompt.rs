//! Asks the operator for a password or a confirmation.
//!
//! Both are read from a terminal; standard input may be a file. Without a terminal nothing is assumed: the
//! command fails and names the option to use instead.

use std::io::{self, BufRead, IsTerminal, Write};

use rand::RngExt;
use trove_couchdb_protocol::{Secret, text};
use zeroize::Zeroizing;

use crate::exit::{CliError, Code};

/// Letters and digits without those that look alike (0 O, 1 l I), because people type the password.
const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";

/// 24 characters out of 56 are 139 bits.
const GENERATED: usize = 24;

/// The longest password accepted from standard input, in bytes. Guards against a wrong file.
const LONGEST: u64 = 64 * 1024;

/// Asks twice for a new password.
pub fn new_password(whose: &str) -> Result<Secret, CliError> {
    let first = prompt(&format!("New password for {whose}: "))?;
    if first != prompt("Repeat password: ")? {
        return Err(CliError::usage("the two passwords differ; nothing was changed"));
    }
    Ok(first)
}

/// Asks for an existing password.
pub fn known_password(whose: &str) -> Result<Secret, CliError> {
    prompt(&format!("Password of {whose}: "))
}

fn prompt(question: &str) -> Result<Secret, CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::usage("there is no terminal to ask for the password")
            .advise("--password-stdin reads it from standard input"));
    }
    let text = rpassword::prompt_password(question)
        .map_err(|error| CliError::usage(format!("the password can't be asked for: {error}")))?;
    not_empty(Secret::new(text::secret_line(&Zeroizing::new(text))))
}

/// Reads the first line of standard input.
pub fn password_from_stdin() -> Result<Secret, CliError> {
    first_line(io::stdin().lock())
}

fn first_line(input: impl BufRead) -> Result<Secret, CliError> {
    let unread =
        |reason: &dyn std::fmt::Display| CliError::usage(format!("standard input can't be read: {reason}"));
    let mut line = Vec::new();
    input.take(LONGEST).read_until(b'\n', &mut line).map_err(|error| unread(&error))?;
    if line.len() as u64 == LONGEST {
        return Err(unread(&format!("its first line has more than {LONGEST} bytes")));
    }
    let line = Zeroizing::new(text::decode(line).map_err(|problem| unread(&problem))?);
    not_empty(Secret::new(text::secret_line(&line)))
}

fn not_empty(password: Secret) -> Result<Secret, CliError> {
    if password.expose().is_empty() {
        return Err(CliError::usage("the password is empty; nothing was changed"));
    }
    Ok(password)
}

/// A random password.
pub fn generated_password() -> Secret {
    let mut rng = rand::rng();
    let character =
        |_| char::from(ALPHABET.get(rng.random_range(0..ALPHABET.len())).copied().unwrap_or(b'x'));
    Secret::new((0..GENERATED).map(character).collect::<String>())
}

/// The operator's confirmation of actions that cannot be undone.
#[derive(Debug, Clone, Copy)]
pub struct Consent {
    /// `--yes` was given.
    pub given: bool,
}

impl Consent {
    /// Fails if the operator cannot be asked whether to do this. Call it before any change.
    pub fn possible(self, action: &str) -> Result<(), CliError> {
        if self.given || io::stdin().is_terminal() {
            return Ok(());
        }
        Err(CliError::new(Code::Refused, format!("refusing to {action} without confirmation; use --yes")))
    }

    /// Asks for confirmation, unless `--yes` was given.
    pub fn ask(self, question: &str) -> Result<(), CliError> {
        if self.given {
            return Ok(());
        }
        self.possible("continue")?;
        let unread = |error: io::Error| CliError::usage(format!("the answer can't be read: {error}"));
        eprint!("{question} [y/N] ");
        io::stderr().flush().map_err(unread)?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(unread)?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(CliError::new(Code::Refused, "not confirmed; nothing was changed")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_password_is_the_first_line_as_it_is() {
        assert_eq!(first_line(&b" p w \r\nmore"[..]).unwrap(), Secret::new(" p w "));
        assert_eq!(first_line(&b"pw"[..]).unwrap(), Secret::new("pw"));
        for empty in [&b""[..], b"\n", b"\r\n"] {
            assert_eq!(first_line(empty).unwrap_err().code, Code::Usage);
        }
        assert!(first_line(&b"\xff\n"[..]).is_err());
        assert_eq!(first_line("\u{feff}pw\r\n".as_bytes()).unwrap(), Secret::new("pw"));
        let utf16: Vec<u8> = "\u{feff}pw\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(first_line(&utf16[..]).unwrap_err().message.contains("UTF-16"));
        let long = vec![b'x'; 70_000];
        assert!(first_line(&long[..]).unwrap_err().message.contains("65536 bytes"), "no password is cut");
    }

    #[test]
    fn generated_passwords_differ() {
        let password = generated_password();
        assert_eq!(password.expose().len(), GENERATED);
        assert_ne!(password, generated_password());
    }
}
