//! A ciphertext that decrypts is JSON that can be encrypted and decrypted again. Any other ciphertext is one
//! of three errors, none of which reveals anything about the key or the plain text.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use trove_couchdb_protocol::{Cipher, CipherError, Secret};

use crate::{cipher_of_captures, has_fraction};

/// Panics when the guarantee at the top of this file is broken.
pub fn holds(data: &[u8]) {
    let cipher = cipher_of_captures();
    if let Ok(text) = std::str::from_utf8(data) {
        decrypt(&cipher, text);
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
        round_trip(&cipher, &value);
        // Any text is a key.
        round_trip(&Cipher::new(&Secret::new(text)), &value);
    }
    let whole_blocks = data.get(..data.len() & !15).unwrap_or_default();
    decrypt(&cipher, &STANDARD.encode(whole_blocks));
    damage(&cipher, data);
}

fn decrypt(cipher: &Cipher, text: &str) {
    let blocks = STANDARD.decode(text).ok().filter(|sealed| sealed.len() >= 32 && sealed.len() % 16 == 0);
    match cipher.decrypt(text) {
        Ok(value) => round_trip(cipher, &value),
        Err(CipherError::Malformed) => assert_eq!(blocks, None),
        Err(error) => {
            assert_eq!(error, CipherError::Undecipherable);
            assert!(blocks.is_some());
        }
    }
}

fn round_trip(cipher: &Cipher, value: &Value) {
    if !has_fraction(value) {
        assert_eq!(cipher.decrypt(&cipher.encrypt_with_iv(value, [7; 16])).as_ref(), Ok(value));
    }
}

/// Flips one bit of a valid message: it must not count as malformed, and the only error is that of a wrong key.
fn damage(cipher: &Cipher, data: &[u8]) {
    let Some((place, plain)) = data.split_first_chunk::<2>() else { return };
    let value = Value::from(String::from_utf8_lossy(plain));
    let mut sealed = STANDARD.decode(cipher.encrypt_with_iv(&value, [9; 16])).unwrap_or_default();
    let place = usize::from(u16::from_be_bytes(*place)) % (sealed.len() * 8);
    if let Some(byte) = sealed.get_mut(place / 8) {
        *byte ^= 1 << (place % 8);
    }
    // Trove's format has no authentication code, so the result may be different text (SECURITY.md). It may also be the
    // same text: JSON ignores padding that was damaged to white space.
    if let Err(error) = cipher.decrypt(&STANDARD.encode(&sealed)) {
        assert_eq!(error, CipherError::Undecipherable);
    }
}
