//! Session cookies: `base64url(NAME:TIME:HMAC)`, keyed with the node's secret and the user's salt.
//!
//! Upstream: `couch_httpd_auth.erl`, `cookie_auth_cookie/2`. A new password invalidates all sessions because
//! the salt is part of the key. Callers: `auth` and the session route. This module does not know accounts.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::hmac;

/// As lenient as upstream's decoder, which accepts missing padding and ignores trailing bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The default lifetime of a cookie in seconds (`[chttpd_auth] timeout`).
pub(crate) const TIMEOUT: u64 = 600;

/// A cookie that was parsed but not verified yet.
#[derive(Debug)]
pub(crate) struct Session {
    /// The user that the cookie names.
    pub(crate) name: String,
    time: u64,
    mac: Vec<u8>,
}

/// The value of a new cookie.
pub(crate) fn issue(secret: &str, salt: &str, name: &str) -> String {
    let time = now();
    let mut value = format!("{name}:{time:X}:").into_bytes();
    value.extend(mac(secret, salt, name, time));
    BASE64.encode(value)
}

/// Parses a cookie; `None` if a server answers it with 400.
pub(crate) fn read(value: &str) -> Option<Session> {
    let bytes = BASE64.decode(value).ok()?;
    let mut parts = bytes.splitn(3, |byte| *byte == b':');
    let name = String::from_utf8(parts.next()?.to_vec()).ok()?;
    let time = u64::from_str_radix(std::str::from_utf8(parts.next()?).ok()?, 16).ok()?;
    Some(Session { name, time, mac: parts.next()?.to_vec() })
}

impl Session {
    /// Whether this server issued the cookie, for an account with this salt, and it has not expired.
    pub(crate) fn is_good(&self, secret: &str, salt: &str, timeout: u64) -> bool {
        self.mac == mac(secret, salt, &self.name, self.time) && now() < self.time + timeout
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn mac(secret: &str, salt: &str, name: &str, time: u64) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, format!("{secret}{salt}").as_bytes());
    hmac::sign(&key, format!("{name}:{time:X}").as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_cookie_is_good_for_its_secret_and_salt_only() {
        let session = read(&issue("key", "salt", "with space")).unwrap();
        assert_eq!(session.name, "with space");
        assert!(session.is_good("key", "salt", 9));
        assert!(!session.is_good("key", "pepper", 9) && !session.is_good("other", "salt", 9));
        assert!(!session.is_good("key", "salt", 0));
        assert!(read("garbage").is_none());
    }
}
