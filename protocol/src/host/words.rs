//! The values that a request may name; each is a newtype that only validation can build.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// The maximum length of a name or an id, in bytes.
const MAX_WORD: usize = 64;

/// An invalid value in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// Not a service's name.
    #[error(
        "a service's name has 1 to 64 lower-case letters, digits and `.`, `_`, `-`, and begins with a letter or digit"
    )]
    Service,
    /// Not an id.
    #[error("a request's id has 1 to 64 letters, digits, `_` and `-`")]
    Id,
    /// Not a time limit.
    #[error("a time limit is a whole number of seconds from 1 to 3600")]
    Within,
    /// Not a device.
    #[error("a device is a path below /dev/ of letters, digits and `.`, `_`, `:`, `+`, `@`, `-`")]
    Device,
    /// Not a number of lines.
    #[error("a number of lines is from 1 to {}", Lines::MAX.0)]
    Lines,
}

/// A service name in `host.toml`: a label, not the name of a unit or a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

impl ServiceName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ServiceName {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        let letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = text.len() <= MAX_WORD
            && text.as_bytes().first().is_some_and(letter)
            && text.bytes().all(|byte| letter(&byte) || b"._-".contains(&byte));
        if fits { Ok(Self(text)) } else { Err(WordError::Service) }
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A block device that may become the volume: a hint, since `host.toml` says which devices may. The only path in
/// a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DevicePath(String);

impl DevicePath {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DevicePath {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        let is_name = |name: &str| {
            !matches!(name, "" | "." | "..")
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:+@-".contains(&byte))
        };
        let below = text.strip_prefix("/dev/").filter(|below| below.split('/').all(is_name));
        if below.is_some() && text.len() <= 255 { Ok(Self(text)) } else { Err(WordError::Device) }
    }
}

impl From<DevicePath> for String {
    fn from(device: DevicePath) -> Self {
        device.0
    }
}

/// The request id in both audit logs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId(String);

impl RequestId {
    /// The id for a request that has none.
    pub fn unnamed() -> Self {
        Self("unnamed".to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RequestId {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let fits = (1..=MAX_WORD).contains(&text.len()) && text.bytes().all(letter);
        if fits { Ok(Self(text)) } else { Err(WordError::Id) }
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.0
    }
}

/// The helper's deadline, in whole seconds. `host.toml` may allow less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Within(u16);

impl Within {
    /// The maximum.
    pub const MAX: Self = Self(3600);

    /// The deadline as a [`Duration`].
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }

    /// A duration, limited to what a request may ask for.
    pub fn at_most(duration: Duration) -> Self {
        let seconds = duration.as_secs().clamp(1, Self::MAX.0.into());
        u16::try_from(seconds).map_or(Self::MAX, Self)
    }
}

impl TryFrom<u64> for Within {
    type Error = WordError;

    fn try_from(seconds: u64) -> Result<Self, WordError> {
        let whole =
            u16::try_from(seconds).ok().map(Self).filter(|within| *within <= Self::MAX && within.0 > 0);
        whole.ok_or(WordError::Within)
    }
}

impl From<Within> for u64 {
    fn from(within: Within) -> Self {
        within.0.into()
    }
}

/// A number of lines of a log; the answer must fit into one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Lines(u16);

impl Lines {
    /// The maximum.
    pub const MAX: Self = Self(500);

    /// What a report on a failed start contains.
    pub const REPORT: Self = Self(30);

    /// The number.
    pub fn count(self) -> usize {
        self.0.into()
    }
}

impl TryFrom<u64> for Lines {
    type Error = WordError;

    fn try_from(count: u64) -> Result<Self, WordError> {
        let lines = u16::try_from(count).ok().filter(|count| (1..=Self::MAX.0).contains(count));
        lines.map(Self).ok_or(WordError::Lines)
    }
}

impl From<Lines> for u64 {
    fn from(lines: Lines) -> Self {
        lines.0.into()
    }
}
