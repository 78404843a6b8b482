//! The seed of a command: what a secret in its answer is made of.

use std::fmt;

use sha2::{Digest, Sha256};
use trove_couchdb_protocol::{Secret, new_id};
use zeroize::Zeroizing;

/// One character of each kind that a server's rules for passwords may ask for.
const KINDS: &str = "Tc3-";

/// 256 random bits of one command's own.
///
/// A secret that is made up for a caller comes from here and from nothing that changes meanwhile: a command that is run or
/// answered a second time with the same seed gives the same secret. Whoever keeps a seed deletes it once the command's
/// message is acknowledged.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(Secret);

impl Seed {
    /// A new one.
    pub fn random() -> Self {
        Self(Secret::new(new_id() + &new_id()))
    }

    /// One that was kept.
    pub fn from_text(text: Secret) -> Self {
        Self(text)
    }

    /// The form to keep.
    pub fn text(&self) -> &Secret {
        &self.0
    }

    /// A password: [`KINDS`] and 32 hexadecimal characters (128 bits) that tell nothing of the seed.
    pub fn password(&self) -> Secret {
        let digest = Sha256::new()
            .chain_update(b"trove-couchdb-agent password\0")
            .chain_update(self.0.expose().as_bytes())
            .finalize();
        let digits = Zeroizing::new(hex::encode(digest));
        let mut text = Zeroizing::new(String::with_capacity(KINDS.len() + 32));
        text.push_str(KINDS);
        text.extend(digits.chars().take(32));
        Secret::new(text.as_str())
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_password_and_shows_nothing() {
        let seed = Seed::random();
        let kept = Seed::from_text(seed.text().clone());
        assert_eq!(seed.password(), kept.password());
        assert_eq!(seed.password().expose().len(), KINDS.len() + 32);
        assert_ne!(seed.password(), Seed::random().password());
        assert_eq!(seed.text().expose().len(), 64);
        assert_eq!(format!("{seed:?}"), "REDACTED");
    }
}
