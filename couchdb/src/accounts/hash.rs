//! Password hashes in CouchDB's format. The agent makes them, so that no password travels over HTTP.
//!
//! A sha256 hash of 600,000 PBKDF2 rounds takes about 60 ms of a core. The agent computes hashes on tokio's
//! blocking threads, at most one per core.

use std::num::NonZeroU32;
use std::sync::Arc;

use rand::Rng;
use ring::pbkdf2;
use tokio::sync::Semaphore;
use trove_couchdb_protocol::Secret;
use trove_couchdb_system as system;
use zeroize::Zeroize;

use crate::reply::{exact::Exact, version::ServerVersion};

/// The fields of a user document that together form its password. A new password replaces them all: CouchDB
/// would read a leftover field of an older scheme (`simple` keeps `password_sha`) with the new ones.
pub(crate) const PASSWORD_FIELDS: [&str; 7] =
    ["password", "password_scheme", "password_sha", "pbkdf2_prf", "iterations", "salt", "derived_key"];

/// PBKDF2's pseudo-random function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prf {
    /// For servers before 3.4.
    Sha1,
    /// For 3.4 and later.
    Sha256,
}

/// The rounds for each function.
#[derive(Debug, Clone, Copy)]
pub struct Iterations {
    /// For 3.4 and later. CouchDB's own default is 600,000.
    pub sha256: u32,
    /// For earlier servers, whose own default is 10. They hash again for every request with Basic
    /// credentials.
    pub sha1: u32,
}

/// A server's rounds for new hashes (`iterations`), and its limits for those with which it accepts logins
/// (`min_iterations`, `max_iterations`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rounds {
    /// The rounds of new hashes, in place of the agent's own setting.
    pub wanted: Option<u32>,
    /// The minimum.
    pub min: Option<u32>,
    /// The maximum.
    pub max: Option<u32>,
}

impl Rounds {
    /// The server's number, else `usual`, or the nearest that the server allows.
    fn nearest(self, usual: u32) -> u32 {
        let enough = self.wanted.unwrap_or(usual).max(self.min.unwrap_or(0));
        enough.min(self.max.filter(|max| *max > 0).unwrap_or(u32::MAX))
    }
}

/// A password after PBKDF2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordHash {
    prf: Prf,
    iterations: u32,
    /// CouchDB uses the hexadecimal text itself, not the bytes that it encodes.
    salt: String,
    derived_key: String,
}

impl PasswordHash {
    /// Hashes on the calling thread.
    pub fn derive(password: &Secret, prf: Prf, iterations: u32, salt: &str) -> Self {
        let (algorithm, mut key) = match prf {
            Prf::Sha1 => (pbkdf2::PBKDF2_HMAC_SHA1, vec![0; ring::digest::SHA1_OUTPUT_LEN]),
            Prf::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, vec![0; ring::digest::SHA256_OUTPUT_LEN]),
        };
        // No server accepts a hash of zero rounds.
        let rounds = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(algorithm, rounds, salt.as_bytes(), password.expose().as_bytes(), &mut key);
        let derived_key = hex::encode(key);
        Self { prf, iterations, salt: salt.to_owned(), derived_key }
    }

    /// Hashes on the calling thread with a new salt.
    pub fn with_fresh_salt(password: &Secret, prf: Prf, iterations: u32) -> Self {
        Self::derive(password, prf, iterations, &fresh_salt())
    }

    /// Whether an `[admins]` entry is the hash of this password. False for entries of another form.
    pub fn admin_value_fits(value: &str, password: &Secret) -> bool {
        let (prf, rest) = match (value.strip_prefix("-pbkdf2:sha256-"), value.strip_prefix("-pbkdf2-")) {
            (Some(rest), _) => (Prf::Sha256, rest),
            (None, Some(rest)) => (Prf::Sha1, rest),
            (None, None) => return false,
        };
        let mut parts = rest.split(',');
        match (parts.next(), parts.next(), parts.next().and_then(|text| text.parse().ok()), parts.next()) {
            (Some(_), Some(salt), Some(iterations), None) => {
                Self::derive(password, prf, iterations, salt).admin_value() == value
            }
            _ => false,
        }
    }

    /// Replaces the password in a user document with this hash.
    pub(crate) fn write_to(&self, document: &mut Exact) {
        for field in PASSWORD_FIELDS {
            document.remove(field);
        }
        document.set("password_scheme", "pbkdf2");
        // Servers before 3.4 don't know the field and use sha1.
        if self.prf == Prf::Sha256 {
            document.set("pbkdf2_prf", "sha256");
        }
        document.set("iterations", self.iterations);
        document.set("salt", self.salt.as_str());
        document.set("derived_key", self.derived_key.as_str());
    }

    /// The value of an `[admins]` entry, in the form that CouchDB writes after hashing.
    pub fn admin_value(&self) -> String {
        let scheme = match self.prf {
            Prf::Sha1 => "-pbkdf2-",
            Prf::Sha256 => "-pbkdf2:sha256-",
        };
        format!("{scheme}{},{},{}", self.derived_key, self.salt, self.iterations)
    }
}

/// Hashes passwords off the async threads.
#[derive(Debug, Clone)]
pub struct Hasher {
    cores: Arc<Semaphore>,
    iterations: Iterations,
}

impl Hasher {
    /// A hasher that uses every core.
    pub fn new(iterations: Iterations) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { cores: Arc::new(Semaphore::new(cores)), iterations }
    }

    /// The function and rounds for a server.
    pub fn scheme_for(&self, server: ServerVersion) -> (Prf, u32) {
        if server.takes_sha256() {
            (Prf::Sha256, self.iterations.sha256)
        } else {
            (Prf::Sha1, self.iterations.sha1)
        }
    }

    /// Hashes one password with a new salt for `server`. `None` if the runtime is shutting down.
    pub async fn hash(
        &self,
        password: &Secret,
        server: ServerVersion,
        rounds: Rounds,
    ) -> Option<PasswordHash> {
        let (prf, iterations) = self.scheme_for(server);
        let iterations = rounds.nearest(iterations);
        let permit = Arc::clone(&self.cores).acquire_owned().await.ok()?;
        let password = password.clone();
        let work = system::blocking(move || {
            let hash = PasswordHash::with_fresh_salt(&password, prf, iterations);
            wipe_stack();
            drop(permit);
            hash
        });
        work.await.ok()
    }
}

/// HMAC copies a short password, which is its key, to the stack of this thread. The thread may then idle for
/// a minute.
#[inline(never)]
fn wipe_stack() {
    // Larger than the stack frames of PBKDF2. `black_box` keeps the compiler from removing the writes.
    let mut frames = [0xff_u8; 16 * 1024];
    frames.zeroize();
    std::hint::black_box(&frames);
}

/// 32 hexadecimal characters, like CouchDB's own salts.
fn fresh_salt() -> String {
    let mut bytes = [0_u8; 16];
    rand::rng().fill_bytes(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hash(prf: Prf) -> PasswordHash {
        // Expected values from Python:
        // hashlib.pbkdf2_hmac(prf, b'pw\xc3\xa9', b'00112233445566778899aabbccddeeff', 10)
        PasswordHash::derive(&Secret::new("pwé"), prf, 10, "00112233445566778899aabbccddeeff")
    }

    #[test]
    fn known_answers() {
        assert_eq!(hash(Prf::Sha256).derived_key, SHA256_ANSWER);
        assert_eq!(hash(Prf::Sha1).derived_key, SHA1_ANSWER);
    }

    const SHA256_ANSWER: &str = "830ee14d441f47c50b981f0364002955146c5ec7c4dc4dae60ecd9ba064b647f";
    const SHA1_ANSWER: &str = "238286cde5d7eba8f7b1c36832913f66433c3be2";

    #[test]
    fn an_old_scheme_leaves_nothing_behind() {
        let before = json!({
            "name": "al", "roles": [], "password_sha": "x", "password": "plain", "pbkdf2_prf": "sha256", "extra": 1
        });
        let mut document = Exact::read(before.to_string().as_bytes()).unwrap_or_default();
        hash(Prf::Sha1).write_to(&mut document);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&document.to_text()).unwrap_or_default(),
            json!({
                "name": "al", "roles": [], "extra": 1, "password_scheme": "pbkdf2", "iterations": 10,
                "salt": "00112233445566778899aabbccddeeff", "derived_key": SHA1_ANSWER
            })
        );
    }

    #[test]
    fn admin_values_name_their_function() {
        assert!(hash(Prf::Sha256).admin_value().starts_with("-pbkdf2:sha256-"));
        assert_eq!(
            hash(Prf::Sha1).admin_value(),
            format!("-pbkdf2-{SHA1_ANSWER},00112233445566778899aabbccddeeff,10")
        );
    }

    #[tokio::test]
    async fn the_server_decides_the_function() {
        let hasher = Hasher::new(Iterations { sha256: 2, sha1: 3 });
        let any = Rounds::default();
        let old = hasher.hash(&Secret::new("pw"), ServerVersion { major: 3, minor: 3 }, any).await;
        assert_eq!(old.as_ref().map(|hash| (hash.prf, hash.iterations)), Some((Prf::Sha1, 3)));
        let new = hasher.hash(&Secret::new("pw"), ServerVersion { major: 3, minor: 4 }, any).await;
        assert_eq!(new.as_ref().map(|hash| (hash.prf, hash.iterations)), Some((Prf::Sha256, 2)));
        assert_ne!(old.map(|hash| hash.salt), new.map(|hash| hash.salt));
    }

    #[test]
    fn a_servers_limits_for_rounds_are_kept() {
        let rounds = |min, max| Rounds { wanted: None, min, max }.nearest(600_000);
        assert_eq!(rounds(None, None), 600_000);
        assert_eq!(rounds(None, Some(100_000)), 100_000);
        assert_eq!(rounds(Some(700_000), None), 700_000);
        assert_eq!(rounds(Some(1), Some(1_000_000_000)), 600_000);
        let wanted = |max| Rounds { wanted: Some(5_000), min: None, max }.nearest(600_000);
        assert_eq!((wanted(None), wanted(Some(4_000))), (5_000, 4_000));
    }

    #[tokio::test]
    async fn a_hash_has_no_more_rounds_than_the_server_lets_log_in() {
        let hasher = Hasher::new(Iterations { sha256: 600_000, sha1: 3 });
        let server = ServerVersion { major: 3, minor: 5 };
        let few = Rounds { max: Some(9), ..Rounds::default() };
        let hash = hasher.hash(&Secret::new("pw"), server, few).await;
        assert_eq!(hash.map(|hash| hash.iterations), Some(9));
    }
}
