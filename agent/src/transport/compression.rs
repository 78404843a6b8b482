//! Bodies that the control plane has compressed: its option `kombu_compression` of `[oslo_messaging_rabbit]`.
//!
//! The header `compression` says how (`kombu/message.py`, `kombu/compression.py` 5.7.0). What kombu calls gzip has
//! zlib's frame and not gzip's. Answers stay as they are: oslo.messaging goes by the header, too.

use flate2::{Decompress, FlushDecompress, Status};
use lapin::{BasicProperties, types::AMQPValue};
use trove_couchdb_protocol::{Cipher, DecodeError, Request, Undecodable};
use zeroize::Zeroizing;

const HEADER: &str = "compression";

/// kombu's name for zlib, and the aliases that it takes as well.
const ZLIB: [&str; 3] = ["application/x-gzip", "gzip", "zlib"];

/// Nothing that deflate has packed becomes more than so many times as long (zlib's technical details), and an end.
const MOST_PER_BYTE: usize = 1032;
const ROOM: usize = 64;

/// How a body is compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Compression {
    /// As is read here.
    Zlib,
    /// Any other way, by its name.
    Other(String),
}

impl Compression {
    /// What a message says of its body; nothing for one that is not compressed.
    pub(super) fn of(properties: &BasicProperties) -> Option<Self> {
        let name = match properties.headers().as_ref()?.inner().get(HEADER)? {
            AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
            AMQPValue::ShortString(text) => text.as_str().to_owned(),
            AMQPValue::Void => return None,
            _ => "something that has no name".to_owned(),
        };
        // As in Python, where an empty text is false.
        match name.as_str() {
            "" => None,
            zlib if ZLIB.contains(&zlib) => Some(Self::Zlib),
            _ => Some(Self::Other(name)),
        }
    }

    fn decompress(&self, body: &[u8], max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, DecodeError> {
        match self {
            Self::Zlib => inflate(body, max_bytes),
            Self::Other(name) => Err(DecodeError::Compression(name.clone())),
        }
    }
}

/// Reads a request as it came, compressed or not. A body that can't be decompressed hides its sender.
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

/// All at once into room that is there already: neither a bomb nor a copy of a password is left on the way.
fn inflate(body: &[u8], max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, DecodeError> {
    let most = body.len().saturating_mul(MOST_PER_BYTE).saturating_add(ROOM);
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
    use lapin::types::FieldTable;
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 100_000;

    fn zlib(clear: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(clear).unwrap();
        encoder.finish().unwrap()
    }

    fn said(value: AMQPValue) -> Option<Compression> {
        let mut headers = FieldTable::default();
        headers.insert(HEADER.into(), value);
        Compression::of(&BasicProperties::default().with_headers(headers))
    }

    fn kind(body: &[u8]) -> &'static str {
        inflate(body, LIMIT).unwrap_err().kind()
    }

    #[test]
    fn the_header_is_read_as_kombu_does() {
        for zlib in ZLIB {
            assert_eq!(said(AMQPValue::LongString(zlib.into())), Some(Compression::Zlib));
        }
        assert_eq!(said(AMQPValue::ShortString("gzip".into())), Some(Compression::Zlib));
        for other in ["application/x-bz2", "application/x-lzma", "application/zstd", "application/x-brotli"] {
            assert_eq!(said(AMQPValue::LongString(other.into())), Some(Compression::Other(other.into())));
        }
        assert!(matches!(said(AMQPValue::Boolean(true)), Some(Compression::Other(_))));
        assert_eq!((said(AMQPValue::LongString("".into())), said(AMQPValue::Void)), (None, None));
        assert_eq!(Compression::of(&BasicProperties::default()), None);
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
    fn what_is_refused_says_why_and_names_nobody() {
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
