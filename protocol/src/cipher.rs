//! Trove's payload encryption, on when the guest has an `instance_rpc_encr_key`.
//!
//! ```text
//! value -> JSON -> AES-256-CBC, PKCS#7, random IV -> base64(IV || ciphertext)
//! ```
//!
//! Mirrors `trove/common/crypto_utils.py` and `trove/common/rpc/secure_serializer.py`. Every argument, the
//! context and the result are encrypted separately. The method, the argument names, the ids and failures stay
//! in clear. A message to the conductor is wrapped once more with the guest's id, because the conductor has
//! to choose the key (`conductor_guest_serializer.py`). The format has no authentication code: anyone who can
//! write to the broker can alter a message, and decryption only detects a result that is not JSON.

use std::fmt;

use aes::{
    Aes256,
    cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::{Digest, Md5};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::{
    json::{self, Budget, Fault},
    limits::MAX_VALUES,
    secret::Secret,
};

/// The AES block length and the initialisation vector length, in bytes.
const BLOCK: usize = 16;

/// The key of a wrapped value (`conductor_guest_serializer.py`).
const ENTITY: &str = "entity";

/// The key of the guest id in a wrapped argument (`conductor_guest_serializer.py`).
pub(crate) const INSTANCE: &str = "csz-instance-id";

/// The last block of an encrypted value, used to recognise replays.
///
/// In CBC the last block depends on the key, the random initialisation vector and every block before it, so
/// no two encrypted values share it. An attacker who changes any other block, or the vector, keeps the
/// recorded last block. An attacker who changes the last block turns its plain text into garbage, unless the
/// new block is a recorded one with known plain text: see SECURITY.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seal(pub [u8; BLOCK]);

/// The trailing byte of a plain text that a guest encrypted. JSON readers ignore it, and Python's
/// `json.dumps` never writes white space there.
///
/// A guest and the control plane use one key for both directions. Without this mark, an attacker who recorded
/// a reply or a heartbeat could send parts of it back to the guest as an argument or a context.
const OWN: u8 = b' ';

/// Why an encrypted value cannot be read.
///
/// Wrong padding and wrong JSON (including a repeated key) are one case on purpose. Failures are sent in
/// clear, so different errors would be a padding oracle: an attacker could decrypt messages byte by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// The value is not text, although it should be encrypted.
    #[error("must be encrypted, as this guest has an instance_rpc_encr_key")]
    NotEncrypted,
    /// Not base64, or not a whole number of blocks.
    #[error("is not an encrypted value: it must be base64 of whole AES blocks")]
    Malformed,
    /// A different key, or a damaged message.
    #[error("does not decrypt with this guest's instance_rpc_encr_key")]
    Undecipherable,
    /// More values than the agent accepts.
    #[error("brings the message to more than {MAX_VALUES} values; ask for fewer things at once")]
    TooManyValues,
    /// The sender encrypts, but this guest has no key.
    #[error("is encrypted, and this guest has no instance_rpc_encr_key")]
    NoKey,
}

/// The AES key of one guest. Wiped from memory when dropped.
#[derive(Clone)]
pub struct Cipher {
    /// Trove uses the hexadecimal *text* of the digest, not its 16 bytes (`crypto_utils.py`, `encrypt_data`).
    key: Zeroizing<[u8; 32]>,
}

impl Cipher {
    /// Derives the AES key from the text of `instance_rpc_encr_key`.
    pub fn new(key: &Secret) -> Self {
        let mut digest = Md5::digest(key.expose().as_bytes());
        let mut hexadecimal = Zeroizing::new([0; 32]);
        for (pair, byte) in hexadecimal.chunks_exact_mut(2).zip(&digest) {
            pair.copy_from_slice(&hex_pair(*byte));
        }
        zeroize::Zeroize::zeroize(digest.as_mut_slice());
        Self { key: hexadecimal }
    }

    /// Encrypts a value with a random initialisation vector.
    pub fn encrypt(&self, value: &Value) -> String {
        self.encrypt_with_iv(value, rand::random())
    }

    /// Encrypts a value with the given initialisation vector; for tests only.
    pub fn encrypt_with_iv(&self, value: &Value, iv: [u8; BLOCK]) -> String {
        self.seal(&Zeroizing::new(value.to_string()), iv)
    }

    /// Encrypts a value for the control plane and marks it, so that it cannot be sent back to the guest.
    pub(crate) fn encrypt_own(&self, value: &Value) -> String {
        let mut plain = Zeroizing::new(value.to_string());
        plain.push(char::from(OWN));
        self.seal(&plain, rand::random())
    }

    fn seal(&self, plain: &str, iv: [u8; BLOCK]) -> String {
        let encryptor = cbc::Encryptor::<Aes256>::new((&*self.key).into(), (&iv).into());
        let mut sealed = iv.to_vec();
        sealed.extend(encryptor.encrypt_padded_vec::<Pkcs7>(plain.as_bytes()));
        STANDARD.encode(sealed)
    }

    /// Decrypts a value that [`Cipher::encrypt`] or Trove encrypted.
    pub fn decrypt(&self, text: &str) -> Result<Value, CipherError> {
        self.read(text, &mut Budget::unlimited(), |_| true)
    }

    fn read(
        &self,
        text: &str,
        budget: &mut Budget,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Value, CipherError> {
        let sealed = STANDARD.decode(text).map_err(|_| CipherError::Malformed)?;
        let (iv, blocks) = sealed.split_first_chunk::<BLOCK>().ok_or(CipherError::Malformed)?;
        if blocks.is_empty() || blocks.len() % BLOCK != 0 {
            return Err(CipherError::Malformed);
        }
        let decryptor = cbc::Decryptor::<Aes256>::new((&*self.key).into(), iv.into());
        let plain = decryptor.decrypt_padded_vec::<Pkcs7>(blocks).map_err(|_| CipherError::Undecipherable)?;
        let plain = Zeroizing::new(plain);
        if !is_wanted(&plain) {
            return Err(CipherError::Undecipherable);
        }
        json::parse(&plain, budget).map_err(|fault| match fault {
            Fault::TooManyValues => CipherError::TooManyValues,
            Fault::Syntax(_) | Fault::RepeatedKey(_) => CipherError::Undecipherable,
        })
    }

    /// The last block of an encrypted value; `None` if the value is not encrypted.
    pub(crate) fn seal_of(value: &Value) -> Option<Seal> {
        let sealed = STANDARD.decode(value.as_str()?).ok()?;
        let (_iv, blocks) = sealed.split_first_chunk::<BLOCK>()?;
        blocks.last_chunk::<BLOCK>().copied().map(Seal)
    }

    /// Decrypts a value of a message. With a key, a value in clear is an error.
    pub fn decrypt_value(&self, value: &Value) -> Result<Value, CipherError> {
        self.decrypt(value.as_str().ok_or(CipherError::NotEncrypted)?)
    }

    /// Decrypts a value sent to a guest, with a limit on the number of JSON values. A
    /// value that a guest encrypted is refused.
    pub(crate) fn decrypt_within(&self, value: &Value, budget: &mut Budget) -> Result<Value, CipherError> {
        let of_a_guest = |plain: &[u8]| plain.last() == Some(&OWN);
        self.read(value.as_str().ok_or(CipherError::NotEncrypted)?, budget, |plain| !of_a_guest(plain))
    }

    /// Encrypts an argument for the conductor and adds the id of the guest that owns the key.
    pub(crate) fn wrap(&self, value: &Value, instance_id: &str) -> Value {
        json!({ ENTITY: self.encrypt_own(value), INSTANCE: instance_id }).to_string().into()
    }

    /// Decrypts a wrapped argument for the conductor.
    pub(crate) fn unwrap(&self, wrapped: &Value) -> Result<Value, CipherError> {
        let text = wrapped.as_str().ok_or(CipherError::NotEncrypted)?;
        let inner: Map<String, Value> = serde_json::from_str(text).map_err(|_| CipherError::Malformed)?;
        self.decrypt_value(inner.get(ENTITY).ok_or(CipherError::Malformed)?)
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Cipher(REDACTED)")
    }
}

/// Two lower-case hexadecimal digits. Returns an array because a `String` would copy the key to the heap.
fn hex_pair(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

#[cfg(test)]
mod tests;
