//! Removes secrets from text that leaves the machine: the doctor's bundle, and logs.
//!
//! It masks every secret of the configuration and the credentials file, in every form in which it may appear
//! (plain, percent-encoded, as JSON, in HTTP Basic), and everything that looks like a password in a URL, an
//! `Authorization` header, a document or an Erlang term. The texts should contain no secrets anyway; this is a
//! second line of defence.

mod fields;

use std::collections::BTreeSet;

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use trove_couchdb_config::Settings;
use trove_couchdb_protocol::Secret;

use fields::MASK;

/// The known secrets.
#[derive(Clone, Default)]
pub struct Redactor {
    forms: BTreeSet<String>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Redactor({} forms)", self.forms.len())
    }
}

impl Redactor {
    /// Knows every secret of a configuration.
    pub fn of(settings: &Settings) -> Self {
        let mut redactor = Self::default();
        redactor.learn_settings(settings);
        redactor
    }

    /// Adds every secret of a configuration.
    pub fn learn_settings(&mut self, settings: &Settings) {
        if let Some(key) = &settings.guest.encryption_key {
            self.learn(key);
        }
        if let Some((name, password)) = &settings.couchdb.bootstrap_admin {
            self.learn(password);
            self.learn_login(name, password);
        }
        if let Some(broker) = &settings.broker {
            for host in &broker.transport_url.hosts {
                if let (Some(user), Some(password)) = (&host.user, &host.password) {
                    self.learn(password);
                    self.learn_login(user, password);
                }
            }
        }
    }

    /// Adds a secret.
    pub fn learn(&mut self, secret: &Secret) {
        let text = secret.expose();
        if text.is_empty() {
            return;
        }
        let encoded = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let json = serde_json::Value::from(text).to_string();
        let ascii = ascii_json(text);
        let forms = [
            text.to_owned(),
            encoded.to_lowercase(),
            encoded,
            json.trim_matches('"').to_owned(),
            ascii,
            BASE64_STANDARD.encode(text),
        ];
        self.forms.extend(forms);
    }

    /// Adds a name and a password in the form of HTTP Basic.
    pub fn learn_login(&mut self, name: &str, password: &Secret) {
        if !password.expose().is_empty() {
            self.forms.insert(BASE64_STANDARD.encode(format!("{name}:{}", password.expose())));
        }
    }

    /// The text without secrets.
    pub fn redact(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        // The longest first, because a short secret may be part of a long one.
        let mut forms: Vec<&String> = self.forms.iter().collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        for form in forms {
            clean = clean.replace(form.as_str(), MASK);
        }
        fields::masked(&without_basic(&without_passwords(&clean)))
    }
}

/// Python's `json.dumps` writes non-ASCII characters as `\uXXXX`.
fn ascii_json(text: &str) -> String {
    let mut out = String::new();
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => out.push(char::from(byte)),
            _ => out.extend(format!("\\u{unit:04x}").chars()),
        }
    }
    out
}

/// Replaces `scheme://user:password@` by `scheme://user:REDACTED@`, also with several hosts.
fn without_passwords(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out += before;
        let end = after.find(|c: char| c.is_whitespace() || "/\"'<>`".contains(c)).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        let hosts: Vec<String> = authority.split(',').map(masked_host).collect();
        out += &hosts.join(",");
        rest = tail;
    }
    out + rest
}

fn masked_host(host: &str) -> String {
    match host.rsplit_once('@') {
        Some((credentials, address)) => match credentials.split_once(':') {
            Some((user, _)) => format!("{user}:{MASK}@{address}"),
            None => host.to_owned(),
        },
        // The `@` may be missing: text with several colons may contain a password,
        // unless it is an IPv6 address in brackets.
        None if host.split(':').count() > 2 && !host.starts_with('[') => MASK.to_owned(),
        None => host.to_owned(),
    }
}

/// Replaces `Basic dXNlcjpwdw==` by `Basic REDACTED`.
fn without_basic(text: &str) -> String {
    let mut parts = text.split("Basic ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
        let end = part.find(|c: char| !is_base64(c)).unwrap_or(part.len());
        let (token, rest) = part.split_at(end);
        // Shorter text is a word of a sentence, such as "Basic credentials".
        let looks_so =
            token.len() >= 8 && BASE64_STANDARD.decode(token).is_ok_and(|bytes| bytes.contains(&b':'));
        out += "Basic ";
        out += if looks_so { MASK } else { token };
        out += rest;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_goes_in_every_form() {
        let mut redactor = Redactor::default();
        let secret = Secret::new("p@s\"s wörd");
        redactor.learn(&secret);
        redactor.learn_login("os_admin", &secret);
        let text = format!(
            "plain p@s\"s wörd url p%40s%22s%20w%C3%B6rd low p%40s%22s%20w%c3%b6rd json {} python p@s\"s w\\u00f6rd \
             basic {}",
            serde_json::Value::from("p@s\"s wörd"),
            BASE64_STANDARD.encode("os_admin:p@s\"s wörd")
        );
        let clean = redactor.redact(&text);
        assert!(!clean.contains("rd low") && !clean.contains("wörd") && !clean.contains("%C3"), "{clean}");
        assert_eq!(clean.matches(MASK).count(), 6, "{clean}");
        assert!(!format!("{redactor:?}").contains("wörd"));
    }

    #[test]
    fn what_looks_like_a_password_goes_too() {
        let redactor = Redactor::default();
        for (text, clean) in [
            ("at rabbit://u:pw@h:1,v:p:w@i:2/x end", "at rabbit://u:REDACTED@h:1,v:REDACTED@i:2/x end"),
            ("http://h:1/a@b http://u@h/", "http://h:1/a@b http://u@h/"),
            ("\"couchdb://a:b@h\"", "\"couchdb://a:REDACTED@h\""),
            ("rabbit://u:pw:h:5672/ rabbit://[::1]:5,h:1/", "rabbit://REDACTED/ rabbit://[::1]:5,h:1/"),
            ("Authorization: Basic dXNlcjpwdw==\n", "Authorization: Basic REDACTED\n"),
            ("Basic credentials are fine", "Basic credentials are fine"),
            ("://", "://"),
        ] {
            assert_eq!(redactor.redact(text), clean);
        }
    }

    #[test]
    fn a_short_secret_does_not_spoil_a_longer_one() {
        let mut redactor = Redactor::default();
        redactor.learn(&Secret::new("abc"));
        redactor.learn(&Secret::new("abcdef"));
        redactor.learn(&Secret::new(""));
        assert_eq!(redactor.redact("abcdef abc"), "REDACTED REDACTED");
    }
}
