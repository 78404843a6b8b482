//! Trove's payload encryption, on when the guest has an `instance_rpc_encr_key`.
//!
//! ```text
//! value -> JSON -> AES-256-CBC, PKCS#7, random IV -> base64(IV || ciphertext)
//! ```
//!
//! Mirrors `trove/common/crypto_utils.py` and `trove/common/rpc/secure_serializer.py`. Every argument, the context and
//! the result are encrypted one by one; names of arguments, method and ids stay clear, and so do failures. What goes
//! to the conductor is wrapped once more, because the conductor has to know whose key to take
//! (`conductor_guest_serializer.py`). There is no authentication code in this format: whoever can write to the broker
//! can alter a message, and the only thing noticed here is a result that is no longer JSON.

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

/// The length of AES's block and of the initialisation vector, in bytes.
const BLOCK: usize = 16;

/// The key under which a wrapped value stands (`conductor_guest_serializer.py`).
const ENTITY: &str = "entity";

/// The key that tells the conductor whose encryption it is (`conductor_guest_serializer.py`).
pub(crate) const INSTANCE: &str = "csz-instance-id";

/// The last block of an encrypted value: a mark by which it is known again.
///
/// In CBC it depends on the key, on the random initialisation vector and on every block before it, so no two values
/// that were encrypted have the same. Who changes anything but the last block (the vector included, which the mark does
/// not contain) leaves it as it is; who changes the last one makes its plain text garbage. Who puts another block of a recorded
/// message in its place, the plain text of which he knows, does not: SECURITY.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seal(pub [u8; BLOCK]);

/// What ends the plain text of a value that a guest has encrypted, and no other: Python's `json.dumps` writes no white space
/// there, and whoever reads JSON passes over it.
///
/// A guest and the control plane have one key for both directions. Without this mark, whoever recorded an answer or a
/// heartbeat could send parts of it back to the guest as an argument or a context.
const OWN: u8 = b' ';

/// Why an encrypted value cannot be read.
///
/// Wrong padding and wrong JSON (a key twice included) are one case on purpose: failures are answered in clear, and an
/// answer that tells them apart would let a stranger decrypt messages byte by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// A value that should have been encrypted came as something else than text.
    #[error("must be encrypted, as this guest has an instance_rpc_encr_key")]
    NotEncrypted,
    /// Not base64, or not of whole blocks.
    #[error("is not an encrypted value: it must be base64 of whole AES blocks")]
    Malformed,
    /// Another key, or a damaged message.
    #[error("does not decrypt with this guest's instance_rpc_encr_key")]
    Undecipherable,
    /// More values than the agent has room for.
    #[error("brings the message to more than {MAX_VALUES} values; ask for fewer things at once")]
    TooManyValues,
    /// The sender encrypts and this guest was given no key.
    #[error("is encrypted, and this guest has no instance_rpc_encr_key")]
    NoKey,
}

/// The key of one guest, ready for use. Wiped from memory when dropped.
#[derive(Clone)]
pub struct Cipher {
    /// Trove takes the hexadecimal *text* of the digest, not its 16 bytes (`crypto_utils.py`, `encrypt_data`).
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

    /// Encrypts a value under a fresh random initialisation vector.
    pub fn encrypt(&self, value: &Value) -> String {
        self.encrypt_with_iv(value, rand::random())
    }

    /// Encrypts a value under a given initialisation vector; only tests have a reason to choose one.
    pub fn encrypt_with_iv(&self, value: &Value, iv: [u8; BLOCK]) -> String {
        self.seal(&Zeroizing::new(value.to_string()), iv)
    }

    /// Encrypts a value that goes from a guest to the control plane, so that it is of no use in the other direction.
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

    /// Decrypts what [`Cipher::encrypt`] or Trove made.
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

    /// The mark of an encrypted value; `None` if it is none.
    pub(crate) fn seal_of(value: &Value) -> Option<Seal> {
        let sealed = STANDARD.decode(value.as_str()?).ok()?;
        let (_iv, blocks) = sealed.split_first_chunk::<BLOCK>()?;
        blocks.last_chunk::<BLOCK>().copied().map(Seal)
    }

    /// Decrypts a value of a message; a guest with a key takes nothing in clear.
    pub fn decrypt_value(&self, value: &Value) -> Result<Value, CipherError> {
        self.decrypt(value.as_str().ok_or(CipherError::NotEncrypted)?)
    }

    /// The same for a value that came to a guest, with a limit on how many values may be in it: what a guest has encrypted
    /// is refused.
    pub(crate) fn decrypt_within(&self, value: &Value, budget: &mut Budget) -> Result<Value, CipherError> {
        let of_a_guest = |plain: &[u8]| plain.last() == Some(&OWN);
        self.read(value.as_str().ok_or(CipherError::NotEncrypted)?, budget, |plain| !of_a_guest(plain))
    }

    /// Encrypts an argument for the conductor, marked with the id of the guest whose key this is.
    pub(crate) fn wrap(&self, value: &Value, instance_id: &str) -> Value {
        json!({ ENTITY: self.encrypt_own(value), INSTANCE: instance_id }).to_string().into()
    }

    /// Takes an argument for the conductor out of its wrapping again.
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

/// Two lower-case hexadecimal digits, without a copy of the key on the heap.
fn hex_pair(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

#[cfg(test)]
mod tests;
