//! Bodies that the control plane has compressed (its option `kombu_compression` of
//! `[oslo_messaging_rabbit]`).
//!
//! A header names the method (`amqp/compression.rs`). What kombu calls gzip has the frame of zlib, not of
//! gzip (`kombu/compression.py` 5.7.0). Replies have no such header and are not compressed.

use flate2::{Decompress, FlushDecompress, Status};
use trove_couchdb_protocol::{Cipher, DecodeError, Request, Undecodable};
use zeroize::Zeroizing;

/// kombu's name for zlib, and its aliases.
const ZLIB: [&str; 3] = ["application/x-gzip", "gzip", "zlib"];

/// Inflated data is at most this many times as long as the input (zlib's technical details), plus `SLACK`.
const MOST_PER_BYTE: usize = 1032;
const SLACK: usize = 64;

/// How a body is compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::transport) enum Compression {
    /// zlib, which the agent reads.
    Zlib,
    /// Any other method, by its name.
    Other(String),
}

impl Compression {
    /// Finds a method by kombu's name; `None` for a body that is not compressed.
    pub(in crate::transport) fn named(name: &str) -> Option<Self> {
        // As in Python, where an empty string is false.
        match name {
            "" => None,
            zlib if ZLIB.contains(&zlib) => Some(Self::Zlib),
            _ => Some(Self::Other(name.to_owned())),
        }
    }

    fn decompress(&self, body: &[u8], max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, DecodeError> {
        match self {
            Self::Zlib => inflate(body, max_bytes),
            Self::Other(name) => Err(DecodeError::Compression(name.clone())),
        }
    }
}

/// Decodes a request, compressed or not. If the body cannot be decompressed, its sender is unknown.
pub(super) fn decode(
    body: Vec<u8>,
    compression: Option<&Compression>,
    cipher: Option<&Cipher>,
    max_bytes: usize,
) -> Result<Request, Box<Undecodable>> {
    let body = Zeroizing::new(body);
    let body = match compression {
        None => body,
        Some(compression) => {
            compression.decompress(&body, max_bytes).map_err(|error| Box::new(Undecodable::hidden(error)))?
        }
    };
    Request::decode(&body, cipher, max_bytes)
}

/// Inflates into memory that is reserved beforehand, so that a bomb cannot grow and no copy of a password is
/// left behind.
fn inflate(body: &[u8], max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, DecodeError> {
    let most = body.len().saturating_mul(MOST_PER_BYTE).saturating_add(SLACK);
    let mut inflated = Zeroizing::new(Vec::with_capacity(most.min(max_bytes.saturating_add(1))));
    let status = Decompress::new(true).decompress_vec(body, &mut inflated, FlushDecompress::Finish);
    match status {
        _ if inflated.len() > max_bytes => Err(DecodeError::TooLargeInflated { limit: max_bytes }),
        Ok(Status::StreamEnd) => Ok(inflated),
        _ => Err(DecodeError::NotInflated),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::io::Write;

    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 100_000;

    fn zlib(clear: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(clear).unwrap();
        encoder.finish().unwrap()
    }

    fn kind(body: &[u8]) -> &'static str {
        inflate(body, LIMIT).unwrap_err().kind()
    }

    #[test]
    fn names_are_those_of_kombu() {
        for zlib in ZLIB {
            assert_eq!(Compression::named(zlib), Some(Compression::Zlib));
        }
        for other in ["application/x-bz2", "application/x-lzma", "application/zstd", "application/x-brotli"] {
            assert_eq!(Compression::named(other), Some(Compression::Other(other.into())));
        }
        assert_eq!(Compression::named(""), None);
    }

    /// Made by `zlib.compress(b'{"a": 1}')` of Python 3.11.
    #[test]
    fn what_python_has_packed_is_unpacked() {
        let packed = hex::decode("789cab564a54b25230ac050009e50229").unwrap();
        assert_eq!(inflate(&packed, LIMIT).unwrap().as_slice(), br#"{"a": 1}"#);
    }

    #[test]
    fn a_bomb_takes_no_more_room_than_a_message_may() {
        let bomb = zlib(&vec![0; 100 * LIMIT]);
        assert!(bomb.len() < LIMIT);
        assert_eq!(inflate(&bomb, LIMIT), Err(DecodeError::TooLargeInflated { limit: LIMIT }));
        let longest = vec![b'x'; LIMIT];
        assert_eq!(inflate(&zlib(&longest), LIMIT).unwrap().as_slice(), longest);
        assert_eq!(kind(&zlib(&vec![b'x'; LIMIT + 1])), "too_large");
        let few = zlib(b"few");
        assert!(inflate(&few, usize::MAX).unwrap().capacity() < 100_000, "room for what can be in it");
    }

    #[test]
    fn broken_streams_are_refused_wherever_they_break() {
        let whole = zlib(br#"{"oslo.version": "2.0", "oslo.message": "{}"}"#);
        for end in 0..whole.len() {
            assert_eq!(kind(&whole[..end]), "not_inflated", "{end}");
        }
        let mut wrong_sum = whole.clone();
        *wrong_sum.last_mut().unwrap() ^= 1;
        assert_eq!(kind(&wrong_sum), "not_inflated");
        let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(b"{}").unwrap();
        assert_eq!(kind(&gzip.finish().unwrap()), "not_inflated", "kombu takes no gzip either");
    }

    #[test]
    fn a_refusal_has_its_reason_and_no_name() {
        let refusal = |compression| decode(b"BZh9".to_vec(), Some(&compression), None, LIMIT).unwrap_err();
        let refused = refusal(Compression::Other("application/x-bz2".into()));
        assert!(refused.to_string().contains("application/x-bz2"), "{refused}");
        assert!(refused.to_string().contains("set kombu_compression"), "{refused}");
        assert_eq!((refused.reply, refused.context), (None, None));
        assert_eq!(refusal(Compression::Zlib).error, DecodeError::NotInflated);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_nor_become_more_than_they_may(
            body in proptest::collection::vec(any::<u8>(), 0..300), at in any::<proptest::sample::Index>(), byte in any::<u8>()
        ) {
            drop(inflate(&body, LIMIT));
            let mut packed = zlib(&body);
            let index = at.index(packed.len());
            packed[index] = byte;
            if let Ok(inflated) = inflate(&packed, 200) {
                prop_assert!(inflated.len() <= 200);
            }
        }
    }
}
