//! The version in every request, and oslo.messaging's compatibility rule.
//!
//! A server accepts a request of the same major version with the same or a lower
//! minor version (`oslo_messaging/_utils.py`, `version_is_compatible`). Trove 26
//! sends 1.0 to 1.3, capped by `upgrade_levels`.

use std::{fmt, str::FromStr};

use crate::{error::DecodeError, limits};

/// The version of this guest.
pub const SERVED: RpcVersion = RpcVersion { major: limits::SERVED.0, minor: limits::SERVED.1 };

/// `MAJOR.MINOR` of a request, of an API or of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RpcVersion {
    /// A different major version is a different API.
    pub major: u32,
    /// A higher minor version only adds to the API.
    pub minor: u32,
}

impl RpcVersion {
    /// The version of a request that names none (`oslo_messaging/rpc/dispatcher.py`).
    pub const UNSTATED: Self = Self { major: 1, minor: 0 };

    /// Whether a server of this version accepts a request of version `requested`.
    pub fn accepts(&self, requested: &Self) -> bool {
        self.major == requested.major && self.minor >= requested.minor
    }
}

impl fmt::Display for RpcVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for RpcVersion {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, DecodeError> {
        // `u32::from_str` accepts a sign; versions have none.
        let number = |part: &str| part.parse().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit()));
        let parts = text.split_once('.').and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
        let (major, minor) = parts.ok_or_else(|| DecodeError::UnsupportedVersion(text.to_owned()))?;
        Ok(Self { major, minor })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn served(text: &str) -> bool {
        SERVED.accepts(&text.parse().unwrap())
    }

    #[test]
    fn the_major_version_must_be_equal_and_the_minor_not_above() {
        assert!(served("1.0") && served("1.2") && served("1.3"));
        assert!(!served("1.4") && !served("1.10") && !served("2.0") && !served("0.9") && !served("9.0"));
    }

    #[test]
    fn only_two_plain_numbers_are_a_version() {
        for text in ["", "1", "1.", ".1", "1.x", "+1.0", "1.-0", "1.0.0", " 1.0", "1.99999999999", "１.0"] {
            assert_eq!(text.parse::<RpcVersion>(), Err(DecodeError::UnsupportedVersion(text.to_owned())));
        }
        assert_eq!("01.3".parse::<RpcVersion>().unwrap().to_string(), "1.3");
    }
}
