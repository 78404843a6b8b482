//! The seed of a command, from which a secret in its answer is derived.

use std::fmt;

use sha2::{Digest, Sha256};
use trove_couchdb_protocol::{Secret, new_id};
use zeroize::Zeroizing;

/// One character of each class that a server's password rules may require.
const KINDS: &str = "Tc3-";

/// 256 random bits for one command.
///
/// A generated secret depends on the seed only. So a command that is run or answered a second time with the
/// same seed gives the same secret. A stored seed must be deleted once the command's message is acknowledged.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(Secret);

impl Seed {
    /// A new seed.
    pub fn random() -> Self {
        Self(Secret::new(new_id() + &new_id()))
    }

    /// A seed that was stored.
    pub fn from_text(text: Secret) -> Self {
        Self(text)
    }

    /// The form in which the seed is stored.
    pub fn text(&self) -> &Secret {
        &self.0
    }

    /// A password: [`KINDS`] and 32 hexadecimal characters (128 bits) that reveal nothing of the seed.
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
