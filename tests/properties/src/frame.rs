//! The local socket's framing: the same payloads result, whatever the pieces in which the bytes arrive. Each
//! payload is within the limit, and the payloads encode to the same stream. A stream stays invalid after its
//! first error.

use trove_couchdb_protocol::frame::{FrameDecoder, FrameError, encode};

const LIMIT: usize = 300;

/// Panics when the guarantee at the top of this file is broken.
pub fn holds(data: &[u8]) {
    let Some((piece, stream)) = data.split_first() else { return };
    let (whole, end) = decode(stream, stream.len().max(1));
    let (pieces, same_end) = decode(stream, usize::from(*piece).max(1));
    assert_eq!((&whole, &end), (&pieces, &same_end), "it depends on how the bytes arrive");
    assert!(whole.iter().all(|payload| !payload.is_empty() && payload.len() <= LIMIT));

    let again: Vec<u8> = whole.iter().filter_map(|payload| encode(payload).ok()).flatten().collect();
    assert!(stream.starts_with(&again));
    let rest = stream.get(again.len()..).unwrap_or_default();
    let announced = rest.first_chunk().map(|prefix| u32::from_be_bytes(*prefix) as usize);
    match (end, announced) {
        (Ok(()), None) => assert!(rest.is_empty()),
        (Err(FrameError::Truncated), announced) => {
            assert!(announced.is_none_or(|length| length > 0 && length <= LIMIT && rest.len() < 4 + length));
        }
        (Err(FrameError::Empty), announced) => assert_eq!(announced, Some(0)),
        (Err(FrameError::TooLong { length, limit }), announced) => {
            assert!(announced == Some(length) && limit == LIMIT && length > LIMIT);
        }
        (end, announced) => unreachable!("{end:?} at {announced:?}"),
    }
    if let Ok(frame) = encode(stream) {
        assert_eq!(decode(&frame, 7).0.first().map(Vec::as_slice), (stream.len() <= LIMIT).then_some(stream));
    }
}

fn decode(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, Result<(), FrameError>) {
    let mut decoder = FrameDecoder::new(LIMIT);
    let mut payloads = Vec::new();
    for bytes in stream.chunks(piece) {
        decoder.push(bytes);
        loop {
            match decoder.next_payload() {
                Ok(Some(payload)) => payloads.push(payload),
                Ok(None) => break,
                Err(error) => {
                    decoder.push(b"\0\0\0\x01x");
                    assert_eq!(decoder.next_payload(), Err(error), "it went on after an error");
                    return (payloads, Err(error));
                }
            }
        }
    }
    (payloads, decoder.finish())
}
