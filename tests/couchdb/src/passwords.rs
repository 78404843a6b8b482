//! Password hashes as CouchDB stores and verifies them (upstream: `couch_passwords.erl`,
//! `couch_auth_cache.erl`).
//!
//! Nothing is faked here, because the riskiest part of the agent is how a server treats a hash that the agent
//! computed. Callers: `auth` (logins), `users` (passwords in documents) and `admins` (plain admin passwords);
//! they run the derivation on blocking threads. Nothing is stored here.

use std::num::NonZeroU32;

use ring::{digest, pbkdf2};
use serde_json::{Map, Value};

use crate::personality::Version;

/// The pseudo-random function of PBKDF2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prf {
    /// 20 bytes of derived key.
    Sha1,
    /// 32 bytes of derived key.
    Sha256,
}

impl Prf {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "sha" => Some(Self::Sha1),
            "sha256" => Some(Self::Sha256),
            _ => None,
        }
    }
}

/// How this server hashes plain passwords from clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hashing {
    /// The pseudo-random function.
    pub(crate) prf: Prf,
    /// Rounds of PBKDF2.
    pub(crate) iterations: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// `sha1(password ++ salt)`: CouchDB before 1.3.
    Simple,
    Pbkdf2(Hashing),
}

/// A stored hash that a password can be checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    scheme: Scheme,
    salt: String,
    expected: String,
}

/// An admin value that looks like a hash but is malformed; CouchDB answers a login with 500 `badmatch`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

impl Stored {
    /// The hash in a user document; `None` if it has no usable one, so that the user cannot log in.
    pub(crate) fn of_user(version: Version, doc: &Map<String, Value>) -> Option<Self> {
        let text = |key: &str| doc.get(key).and_then(Value::as_str);
        let salt = text("salt").unwrap_or_default().to_owned();
        match text("password_scheme").unwrap_or("simple") {
            "simple" => {
                Some(Self { scheme: Scheme::Simple, salt, expected: text("password_sha")?.to_owned() })
            }
            "pbkdf2" => {
                // Versions before 3.4 ignore the field, derive with SHA-1 and never match.
                let named = text("pbkdf2_prf").filter(|_| version.understands_sha256());
                let prf = Prf::parse(named.unwrap_or("sha"))?;
                let iterations =
                    doc.get("iterations").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok())?;
                let scheme = Scheme::Pbkdf2(Hashing { prf, iterations });
                Some(Self { scheme, salt, expected: text("derived_key")?.to_owned() })
            }
            _ => None,
        }
    }

    /// The hash in an `[admins]` value; `Ok(None)` if the value is still plain text.
    pub(crate) fn of_admin(version: Version, value: &str) -> Result<Option<Self>, Malformed> {
        let malformed = |rest: &str| Malformed(rest.to_owned());
        if let Some(rest) = value.strip_prefix("-hashed-") {
            let [hash, salt] = fields(rest).ok_or_else(|| malformed(rest))?;
            return Ok(Some(Self {
                scheme: Scheme::Simple,
                salt: salt.to_owned(),
                expected: hash.to_owned(),
            }));
        }
        let (prf, rest) = if let Some(rest) = value.strip_prefix("-pbkdf2-") {
            (Prf::Sha1, rest)
        } else if let Some((name, rest)) =
            value.strip_prefix("-pbkdf2:").and_then(|rest| rest.split_once('-'))
            && version.understands_sha256()
        {
            (Prf::parse(name).ok_or_else(|| malformed(rest))?, rest)
        } else {
            return Ok(None);
        };
        let [key, salt, rounds] = fields(rest).ok_or_else(|| malformed(rest))?;
        let iterations = rounds.parse().map_err(|_| malformed(rest))?;
        let scheme = Scheme::Pbkdf2(Hashing { prf, iterations });
        Ok(Some(Self { scheme, salt: salt.to_owned(), expected: key.to_owned() }))
    }

    /// Derives and compares; deliberately slow, so never call it on an async thread.
    pub(crate) fn matches(&self, password: &str) -> bool {
        let derived = match self.scheme {
            Scheme::Simple => {
                let salted = format!("{password}{}", self.salt);
                hex::encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, salted.as_bytes()))
            }
            Scheme::Pbkdf2(Hashing { iterations: 0, .. }) => return false,
            Scheme::Pbkdf2(hashing) => derive(hashing, password, &self.salt),
        };
        derived == self.expected
    }

    /// Whether the server's current settings give this hash, apart from the salt.
    pub(crate) fn is_current(&self, hashing: Hashing) -> bool {
        self.scheme == Scheme::Pbkdf2(hashing)
    }

    /// The number of rounds, for schemes that have rounds.
    pub(crate) fn rounds(&self) -> Option<u32> {
        match self.scheme {
            Scheme::Simple => None,
            Scheme::Pbkdf2(hashing) => Some(hashing.iterations),
        }
    }

    /// The salt, which also goes into session cookies and the lockout's key.
    pub(crate) fn salt(&self) -> &str {
        &self.salt
    }
}

fn fields<const N: usize>(text: &str) -> Option<[&str; N]> {
    text.split(',').collect::<Vec<_>>().try_into().ok()
}

fn derive(hashing: Hashing, password: &str, salt: &str) -> String {
    let (algorithm, mut key) = match hashing.prf {
        Prf::Sha1 => (pbkdf2::PBKDF2_HMAC_SHA1, vec![0; digest::SHA1_OUTPUT_LEN]),
        Prf::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, vec![0; digest::SHA256_OUTPUT_LEN]),
    };
    let rounds = NonZeroU32::new(hashing.iterations).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(algorithm, rounds, salt.as_bytes(), password.as_bytes(), &mut key);
    hex::encode(key)
}

/// 32 hex digits; CouchDB uses the text itself, not the bytes, as the salt.
pub(crate) fn new_salt() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

/// The `[admins]` value for a plain password.
pub(crate) fn hash_for_admin(hashing: Hashing, password: &str) -> String {
    let salt = new_salt();
    let key = derive(hashing, password, &salt);
    let prefix = match hashing.prf {
        Prf::Sha1 => "-pbkdf2-",
        Prf::Sha256 => "-pbkdf2:sha256-",
    };
    format!("{prefix}{key},{salt},{}", hashing.iterations)
}

/// Replaces `password` in a user document by its hash; the fields have the order of 3.4+, on which `_rev`
/// depends.
pub(crate) fn hash_into_user(
    hashing: Hashing,
    doc: &Map<String, Value>,
    password: &str,
    salt: &str,
) -> Map<String, Value> {
    let mut hashed = Map::new();
    hashed.insert("password_scheme".into(), "pbkdf2".into());
    if hashing.prf == Prf::Sha256 {
        hashed.insert("pbkdf2_prf".into(), "sha256".into());
    }
    hashed.insert("salt".into(), salt.into());
    hashed.insert("iterations".into(), hashing.iterations.into());
    hashed.insert("derived_key".into(), derive(hashing, password, salt).into());
    let replaced =
        ["password", "password_scheme", "pbkdf2_prf", "salt", "iterations", "derived_key", "password_sha"];
    hashed.extend(
        doc.iter()
            .filter(|(key, _)| !replaced.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    hashed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    fn user(value: &Value) -> Option<Stored> {
        Stored::of_user(Version::V3_5, value.as_object().unwrap())
    }

    /// Taken from the recorded `admins_config` and `users` transcripts of 3.5.0.
    #[test]
    fn recorded_hashes_accept_their_passwords() {
        let admins = [
            ("-pbkdf2-c02dd71445a9b228796a069d0e5b1056e11b5891,5a7ba6e0a0d2f1b9c1cd3b8a7c7d4a33,10", "bobpw"),
            (
                "-pbkdf2:sha256-ec9810ad66154b3f7f58ec8d6f4a85dd6669f84cba56a496e91e18c1c7e78764,5a7ba6e0a0d2f1b9c1cd3b8a7c7d4a33,10",
                "carolpw",
            ),
            ("-hashed-520be90a7908175fcd3fca5b0bd79a288a32c4b9,5a7ba6e0a0d2f1b9c1cd3b8a7c7d4a33", "oldpw"),
        ];
        for (value, password) in admins {
            let stored = Stored::of_admin(Version::V3_5, value).unwrap().unwrap();
            assert!(stored.matches(password), "{value}");
            assert!(!stored.matches("wrong"));
        }
        let sha1 = user(
            &json!({ "password_scheme": "pbkdf2", "iterations": 10, "salt": "00aa", "derived_key": "501afea22ce2111502c1d0a229d286541b0f0898" }),
        );
        assert!(sha1.unwrap().matches("pw"));
        let simple =
            user(&json!({ "salt": "00aa", "password_sha": "04e3ce161777edb9506cbde670d116eaa11d2b14" }));
        assert!(simple.unwrap().matches("pw"));
    }

    #[test]
    fn a_sha256_admin_is_plain_text_before_3_4() {
        let value = "-pbkdf2:sha256-00,salt,10";
        assert_eq!(Stored::of_admin(Version::V3_3, value), Ok(None));
        assert!(Stored::of_admin(Version::V3_4, value).unwrap().is_some());
    }

    #[test]
    fn half_a_hash_is_malformed() {
        assert_eq!(Stored::of_admin(Version::V3_5, "-pbkdf2-x"), Err(Malformed("x".into())));
        assert_eq!(Stored::of_admin(Version::V3_5, "-hashed-x"), Err(Malformed("x".into())));
    }

    #[test]
    fn a_new_hash_is_current_and_hides_the_password() {
        let hashing = Hashing { prf: Prf::Sha256, iterations: 3 };
        let doc = json!({ "name": "u", "password": "pw", "password_sha": "old" });
        let hashed = hash_into_user(hashing, doc.as_object().unwrap(), "pw", &new_salt());
        assert!(!hashed.contains_key("password") && !hashed.contains_key("password_sha"));
        let stored = Stored::of_user(Version::V3_5, &hashed).unwrap();
        assert!(stored.matches("pw") && stored.is_current(hashing));
        assert!(
            user(&json!({ "password_scheme": "pbkdf2", "iterations": -1, "salt": "a", "derived_key": "x" }))
                .is_none()
        );
    }
}
