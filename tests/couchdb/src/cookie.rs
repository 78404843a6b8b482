//! Session cookies: `base64url(NAME:TIME:HMAC)`, keyed with the node's secret and the user's salt.
//!
//! Upstream: `couch_httpd_auth.erl`, `cookie_auth_cookie/2`. The salt in the key is why a new password ends all sessions.
//! Called by `auth` and the session route; knows no accounts.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::hmac;

/// As lenient as upstream's decoder, which takes padding or none and ignores left-over bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// How long a cookie is good, in seconds (upstream's default of `[chttpd_auth] timeout`).
pub(crate) const TIMEOUT: u64 = 600;

/// A cookie that was read and not proved yet.
#[derive(Debug)]
pub(crate) struct Session {
    /// Whose session it claims to be.
    pub(crate) name: String,
    time: u64,
    mac: Vec<u8>,
}

/// The value of a fresh cookie.
pub(crate) fn issue(secret: &str, salt: &str, name: &str) -> String {
    let time = now();
    let mut value = format!("{name}:{time:X}:").into_bytes();
    value.extend(mac(secret, salt, name, time));
    BASE64.encode(value)
}

/// Reads a cookie; `None` for one that a server answers with 400.
pub(crate) fn read(value: &str) -> Option<Session> {
    let bytes = BASE64.decode(value).ok()?;
    let mut parts = bytes.splitn(3, |byte| *byte == b':');
    let name = String::from_utf8(parts.next()?.to_vec()).ok()?;
    let time = u64::from_str_radix(std::str::from_utf8(parts.next()?).ok()?, 16).ok()?;
    Some(Session { name, time, mac: parts.next()?.to_vec() })
}

impl Session {
    /// Whether we made it, for an account with this salt, and recently enough.
    pub(crate) fn is_good(&self, secret: &str, salt: &str) -> bool {
        self.mac == mac(secret, salt, &self.name, self.time) && now() < self.time + TIMEOUT
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
        assert!(session.is_good("key", "salt"));
        assert!(!session.is_good("key", "pepper") && !session.is_good("other", "salt"));
        assert!(read("garbage").is_none());
    }
}
