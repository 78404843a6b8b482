//! Ids of operations: commands that may take hours and keep running after their message was answered.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The id of an operation: a UUID in its usual form. Nothing else is accepted,
/// because the id becomes part of file names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OperationId(String);

/// The text is not an operation id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no id of an operation: those look like 6f0c2f1e-0b9d-8c3a-9a51-0d2f3b4c5d6e")]
pub struct NoOperationId;

impl OperationId {
    /// The UUID of these bits. Six bits are replaced: version 8 (custom UUIDs) and the variant of RFC 9562.
    pub fn of_bits(bits: u128) -> Self {
        let all = bits & !(0xf << 76) & !(0b11 << 62) | 8 << 76 | 0b10 << 62;
        let part = |shift: u32, bits: u32| (all >> shift) & ((1 << bits) - 1);
        let parts = (part(96, 32), part(80, 16), part(64, 16), part(48, 16), part(0, 48));
        Self(format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", parts.0, parts.1, parts.2, parts.3, parts.4))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OperationId {
    type Err = NoOperationId;

    fn from_str(text: &str) -> Result<Self, NoOperationId> {
        let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let parts: Vec<&str> = text.split('-').collect();
        let fits = parts.len() == 5
            && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, length)| part.len() == length)
            && parts.iter().all(|part| part.as_bytes().iter().all(is_hex));
        if fits { Ok(Self(text.to_owned())) } else { Err(NoOperationId) }
    }
}

impl TryFrom<String> for OperationId {
    type Error = NoOperationId;

    fn try_from(text: String) -> Result<Self, NoOperationId> {
        text.parse()
    }
}

impl From<OperationId> for String {
    fn from(id: OperationId) -> Self {
        id.0
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_uuid_is_an_id() {
        let id = OperationId::of_bits(u128::MAX);
        assert_eq!(id.as_str(), "ffffffff-ffff-8fff-bfff-ffffffffffff");
        assert_eq!(OperationId::of_bits(0).as_str(), "00000000-0000-8000-8000-000000000000");
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        for bad in ["", "one", "../../../../etc/passwd", &id.as_str().to_uppercase(), &format!("{id}0")] {
            assert_eq!(bad.parse::<OperationId>(), Err(NoOperationId), "{bad}");
        }
    }
}
