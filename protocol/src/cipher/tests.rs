//! Known answers of the real Trove, and texts that are not valid encrypted values.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

/// Key and known answers from PROTOCOL, section 4.
const KEY: &str = "oj47q4kuzlRq7dAFMPggh1Lj5XClBLVU";

fn cipher() -> Cipher {
    Cipher::new(&Secret::new(KEY))
}

fn counting_iv() -> [u8; BLOCK] {
    std::array::from_fn(|index| u8::try_from(index).unwrap())
}

#[test]
fn the_key_is_the_text_of_the_digest() {
    assert_eq!(cipher().key.as_slice(), b"3014fd42b862eb89210e50221823c48f");
}

#[test]
fn known_answers() {
    let answers = [
        (json!(true), "AAECAwQFBgcICQoLDA0OD8untTib7B+AkDHgyHVBlaY="),
        (json!(null), "AAECAwQFBgcICQoLDA0OD9FjkF90rvIVQqJRFeb+aEw="),
        (json!("alice"), "AAECAwQFBgcICQoLDA0ODxdrX/JP+XUHpXw/aX686Ig="),
    ];
    for (value, text) in answers {
        assert_eq!(cipher().encrypt_with_iv(&value, counting_iv()), text);
        assert_eq!(cipher().decrypt(text), Ok(value));
    }
    assert_eq!(cipher().decrypt("ycY+b4p5OsKwFEAYT9/r6ZlH8Tj4KMQKZ6xIbmm/QLo="), Ok(json!(true)));
}

#[test]
fn every_encryption_has_its_own_vector() {
    let first = cipher().encrypt(&json!("alice"));
    assert_ne!(first, cipher().encrypt(&json!("alice")));
    assert_eq!(cipher().decrypt(&first), Ok(json!("alice")));
}

#[test]
fn foreign_data_is_recognised_only_by_its_form() {
    for text in ["", "alice", "AAEC", "AAECAwQFBgcICQoLDA0ODw==", "AAECAwQFBgcICQoLDA0ODwA="] {
        assert_eq!(cipher().decrypt(text), Err(CipherError::Malformed), "{text:?}");
    }
    let stranger = Cipher::new(&Secret::new("another key"));
    for value in [json!(null), json!({"a": [1, 2, 3]}), json!("x".repeat(200))] {
        assert_eq!(cipher().decrypt(&stranger.encrypt(&value)), Err(CipherError::Undecipherable));
    }
    assert_eq!(cipher().decrypt_value(&json!({"clear": 1})), Err(CipherError::NotEncrypted));
}

#[test]
fn the_conductors_wrapping_names_the_instance() {
    let wrapped = cipher().wrap(&json!({"service_status": "healthy"}), "dc00c948");
    let text: Map<String, Value> = serde_json::from_str(wrapped.as_str().unwrap()).unwrap();
    assert_eq!(text["csz-instance-id"], "dc00c948");
    assert_eq!(cipher().decrypt_value(&text["entity"]), Ok(json!({"service_status": "healthy"})));
    assert_eq!(cipher().unwrap(&wrapped), Ok(json!({"service_status": "healthy"})));
    for bad in [json!({}), json!("x"), json!("{}"), json!("{\"entity\": 1}"), json!("[]")] {
        assert!(cipher().unwrap(&bad).is_err(), "{bad}");
    }
}

#[test]
fn what_a_guest_encrypts_is_read_by_others_and_not_by_a_guest() {
    let read = |text: String| cipher().decrypt_within(&text.into(), &mut Budget::unlimited());
    for value in [json!(null), json!([{"_name": "al"}]), json!(" ")] {
        assert_eq!(cipher().decrypt(&cipher().encrypt_own(&value)), Ok(value.clone()));
        assert_eq!(read(cipher().encrypt_own(&value)), Err(CipherError::Undecipherable));
        assert_eq!(read(cipher().encrypt(&value)), Ok(value));
    }
    let mut wrapped: Map<String, Value> =
        serde_json::from_str(cipher().wrap(&json!("id"), "id").as_str().unwrap()).unwrap();
    let entity = wrapped.remove("entity").unwrap();
    assert_eq!(read(entity.as_str().unwrap().to_owned()), Err(CipherError::Undecipherable));
}

#[test]
fn the_key_is_not_shown() {
    assert_eq!(format!("{:?}", cipher()), "Cipher(REDACTED)");
}

proptest! {
    #[test]
    fn every_text_survives(text in any::<String>(), iv in any::<[u8; BLOCK]>()) {
        let value = json!({ "name": text });
        prop_assert_eq!(cipher().decrypt(&cipher().encrypt_with_iv(&value, iv)), Ok(value));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in any::<String>()) {
        drop(cipher().decrypt(&text));
        drop(cipher().decrypt(&STANDARD.encode(&bytes)));
        drop(cipher().unwrap(&Value::String(text)));
    }
}
