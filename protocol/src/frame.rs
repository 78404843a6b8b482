//! Message framing on the agent's local socket.
//!
//! ```text
//! | length: 4 bytes, big-endian, never 0 | that many bytes: an envelope as on the broker |
//! ```
//!
//! Replies may arrive in any order; `_msg_id` matches a reply to its request. A reply with an empty `_msg_id`
//! belongs to no request: it explains why the agent closes the connection. This module does no I/O.

/// The size of the length prefix, in bytes.
const PREFIX: usize = 4;

/// Why a stream cannot be read. The next frame cannot be found after an error,
/// so the rest of the stream is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame of length 0.
    #[error("a frame says that it is 0 bytes long; every frame holds one message")]
    Empty,
    /// A frame larger than the receiver's limit.
    #[error("a frame says that it is {length} bytes long, at most {limit} are accepted")]
    TooLong {
        /// The announced length, in bytes.
        length: usize,
        /// The accepted length, in bytes.
        limit: usize,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
}

/// Prepends the length to a payload.
///
/// # Errors
/// The payload is empty, or its length does not fit into four bytes.
pub fn encode(payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    if payload.is_empty() {
        return Err(FrameError::Empty);
    }
    let length = u32::try_from(payload.len())
        .map_err(|_| FrameError::TooLong { length: payload.len(), limit: u32::MAX as usize })?;
    let mut frame = Vec::with_capacity(PREFIX + payload.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// Splits a stream into payloads, whatever the chunks it arrives in.
///
/// The buffer only grows with the bytes received, so a sender cannot allocate
/// memory by announcing a large length.
#[derive(Debug)]
pub struct FrameDecoder {
    limit: usize,
    buffer: Vec<u8>,
    /// Bytes at the front of `buffer` that were already returned.
    taken: usize,
}

impl FrameDecoder {
    /// A decoder for payloads of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, buffer: Vec::new(), taken: 0 }
    }

    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        // Release the memory of a large message when the stream is idle.
        if self.buffer.is_empty() && self.buffer.capacity() > 64 * 1024 {
            self.buffer = Vec::new();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole payload; `None` if more bytes are needed. After an
    /// error every call returns the same error.
    ///
    /// # Errors
    /// The stream cannot be read any further.
    pub fn next_payload(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let pending = self.buffer.get(self.taken..).unwrap_or_default();
        let Some((prefix, rest)) = pending.split_first_chunk::<PREFIX>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        if length == 0 {
            return Err(FrameError::Empty);
        }
        if length > self.limit {
            return Err(FrameError::TooLong { length, limit: self.limit });
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let payload = payload.to_vec();
        self.taken += PREFIX + length;
        Ok(Some(payload))
    }

    /// Call when the stream has ended and every whole payload was taken.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] if bytes are left.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.taken == self.buffer.len() { Ok(()) } else { Err(FrameError::Truncated) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 64;

    /// All payloads decoded when `stream` arrives in these pieces.
    fn decode(stream: &[u8], pieces: &[usize]) -> (Vec<Vec<u8>>, Result<(), FrameError>) {
        let mut decoder = FrameDecoder::new(LIMIT);
        let mut payloads = Vec::new();
        let mut rest = stream;
        let mut pieces = pieces.iter().copied().cycle();
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(pieces.next().unwrap_or(1).clamp(1, rest.len()));
            rest = later;
            decoder.push(piece);
            loop {
                match decoder.next_payload() {
                    Ok(Some(payload)) => payloads.push(payload),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(decoder.next_payload(), Err(error), "it stays so");
                        return (payloads, Err(error));
                    }
                }
            }
        }
        (payloads, decoder.finish())
    }

    fn frames(payloads: &[Vec<u8>]) -> Vec<u8> {
        payloads.iter().flat_map(|payload| encode(payload).unwrap()).collect()
    }

    #[test]
    fn a_frame_is_its_length_and_its_payload() {
        assert_eq!(encode(b"hello").unwrap(), b"\0\0\0\x05hello");
        assert_eq!(encode(b""), Err(FrameError::Empty));
    }

    #[test]
    fn a_length_of_nothing_or_of_too_much_ends_the_stream() {
        let good = frames(&[b"one".to_vec()]);
        let after = |bad: [u8; 4]| decode(&[&good[..], &bad[..], b"xyz"].concat(), &[1]);
        assert_eq!(after([0; 4]), (vec![b"one".to_vec()], Err(FrameError::Empty)));
        let too_long = FrameError::TooLong { length: LIMIT + 1, limit: LIMIT };
        assert_eq!(after([0, 0, 0, 65]), (vec![b"one".to_vec()], Err(too_long)));
        let huge = FrameError::TooLong { length: 0xFFFF_FFFF, limit: LIMIT };
        assert_eq!(after([0xFF; 4]), (vec![b"one".to_vec()], Err(huge)));
        assert_eq!(decode(&frames(&[vec![7; LIMIT]]), &[9]), (vec![vec![7; LIMIT]], Ok(())));
    }

    #[test]
    fn an_idle_stream_keeps_no_memory() {
        let mut decoder = FrameDecoder::new(1 << 20);
        decoder.push(&encode(&vec![1; 1 << 20]).unwrap());
        assert!(decoder.next_payload().unwrap().is_some());
        decoder.push(b"\0");
        assert!(decoder.buffer.capacity() < 1024, "{}", decoder.buffer.capacity());
    }

    proptest! {
        #[test]
        fn payloads_survive_any_split(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=LIMIT), 0..8),
            pieces in prop::collection::vec(1_usize..100, 1..20),
        ) {
            prop_assert_eq!(decode(&frames(&payloads), &pieces), (payloads, Ok(())));
        }

        #[test]
        fn a_cut_stream_yields_what_is_whole_and_says_so(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=LIMIT), 1..6),
            pieces in prop::collection::vec(1_usize..100, 1..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let stream = frames(&payloads);
            let cut = cut.index(stream.len());
            let mut end = 0;
            let mut whole = Vec::new();
            for payload in &payloads {
                end += 4 + payload.len();
                if end <= cut {
                    whole.push(payload.clone());
                }
            }
            let at_a_border = frames(&whole).len() == cut;
            let expected = if at_a_border { Ok(()) } else { Err(FrameError::Truncated) };
            prop_assert_eq!(decode(&stream[..cut], &pieces), (whole, expected));
        }

        #[test]
        fn no_bytes_panic_and_the_split_does_not_matter(
            stream in prop::collection::vec(any::<u8>(), 0..300),
            pieces in prop::collection::vec(1_usize..50, 1..20),
        ) {
            prop_assert_eq!(decode(&stream, &pieces), decode(&stream, &[300]));
        }
    }
}
