//! The CouchDB version that the node imitates, and all differences between the versions.
//!
//! The agent supports 1.x, 2.x and 3.x, and the differences between them are its greatest difficulties. All
//! of them are methods of this type, so that no route compares version numbers. The answers for 3.x are
//! checked against transcripts of real servers; those for 1.x and 2.x follow the manuals and sources of 1.6.1
//! and 2.3.1.

use std::str::FromStr;

use serde_json::{Value, json};

use crate::passwords::{Hashing, Prf};

/// A CouchDB release line, ordered by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Version {
    /// 1.6.1: `/_config`, admin party, system databases created at start, no clusters.
    V1,
    /// 2.3.1: `/_node/…/_config`, still an admin party and public databases.
    V2,
    /// 3.3.3: refuses to start without an admin, supports only SHA-1 password hashes.
    V3_3,
    /// 3.4.3: SHA-256 hashes with 600,000 rounds, and the lockout.
    V3_4,
    /// 3.5.0: rewrites old password hashes of users when they log in.
    #[default]
    V3_5,
}

/// A `--version` that is not a known release line.
#[derive(Debug, thiserror::Error)]
#[error("unknown CouchDB version {0:?}: use one of 3.5, 3.4, 3.3, 2.x, 1.x")]
pub struct UnknownVersion(String);

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.trim_end_matches("-dirty").split('.');
        match (parts.next(), parts.next()) {
            (Some("1"), _) => Ok(Self::V1),
            (Some("2"), _) => Ok(Self::V2),
            (Some("3"), Some("3")) => Ok(Self::V3_3),
            (Some("3"), Some("4")) => Ok(Self::V3_4),
            (Some("3"), Some("5")) => Ok(Self::V3_5),
            _ => Err(UnknownVersion(text.to_owned())),
        }
    }
}

impl Version {
    /// The full release number, as in `GET /`.
    pub fn number(self) -> &'static str {
        match self {
            Self::V1 => "1.6.1",
            Self::V2 => "2.3.1",
            Self::V3_3 => "3.3.3",
            Self::V3_4 => "3.4.3",
            Self::V3_5 => "3.5.0",
        }
    }

    /// The whole body of `GET /`.
    pub(crate) fn welcome(self, uuid: &str) -> Value {
        let foundation = "The Apache Software Foundation";
        let modern = |git_sha: &str, features: Value| {
            json!({
                "couchdb": "Welcome", "version": self.number(), "git_sha": git_sha, "uuid": uuid,
                "features": features, "vendor": { "name": foundation }
            })
        };
        let common = ["access-ready", "partitioned", "pluggable-storage-engines", "reshard", "scheduler"];
        let with_quickjs: Vec<&str> = std::iter::once("quickjs").chain(common).collect();
        match self {
            Self::V1 => json!({
                "couchdb": "Welcome", "uuid": uuid, "version": self.number(),
                "vendor": { "version": self.number(), "name": foundation }
            }),
            Self::V2 => modern("c298091a4", json!(["pluggable-storage-engines", "scheduler"])),
            Self::V3_3 => modern("40afbcf", json!(common)),
            Self::V3_4 => modern("e12b967", json!(with_quickjs)),
            Self::V3_5 => modern("11f0d36", json!(with_quickjs)),
        }
    }

    /// Whether a node without a server admin starts and treats every caller as an admin.
    pub(crate) fn starts_as_admin_party(self) -> bool {
        self < Self::V3_3
    }

    /// Whether the server creates `_users` and `_replicator` itself at its first start.
    pub(crate) fn makes_system_databases(self) -> bool {
        self == Self::V1
    }

    /// Whether configuration and cluster are at `/_node` and `/_membership` instead of `/_config`.
    pub(crate) fn is_clustered(self) -> bool {
        self >= Self::V2
    }

    /// The `_security` object of a database whose `_security` was never set.
    pub(crate) fn default_security(self, everyone: bool) -> Value {
        if everyone || self < Self::V3_3 {
            json!({})
        } else {
            json!({ "members": { "roles": ["_admin"] }, "admins": { "roles": ["_admin"] } })
        }
    }

    /// Whether every caller may list the databases (`admin_only_all_dbs` came with 3.0).
    pub(crate) fn lists_databases_to_everyone(self) -> bool {
        self < Self::V3_3
    }

    /// Whether too many wrong passwords lock an account.
    pub(crate) fn locks_out(self) -> bool {
        self >= Self::V3_4
    }

    /// Whether `pbkdf2_prf` of users and `-pbkdf2:sha256-` of admins are supported.
    pub(crate) fn understands_sha256(self) -> bool {
        self >= Self::V3_4
    }

    /// Whether a user document with an old hash is rewritten after a login (`upgrade_hash_on_auth`).
    pub(crate) fn upgrades_hashes(self) -> bool {
        self == Self::V3_5
    }

    /// Whether a plain admin password is hashed after the reply instead of before.
    pub(crate) fn hashes_admins_later(self) -> bool {
        self >= Self::V2
    }

    /// Whether every admin value that begins with `-` counts as a hash.
    pub(crate) fn skips_dashed_admins(self) -> bool {
        self >= Self::V3_4
    }

    /// Whether a configuration value that is not a string is a 400; before, the handler crashes (500).
    pub(crate) fn checks_config_values(self) -> bool {
        self >= Self::V3_4
    }

    /// Whether `_design/_auth` refuses unknown password schemes.
    pub(crate) fn refuses_unknown_schemes(self) -> bool {
        self >= Self::V3_4
    }

    /// How the server hashes plain passwords by default: SHA-256 × 600,000 from 3.4 on, SHA-1 × 10 before.
    pub(crate) fn default_hashing(self) -> Hashing {
        if self.understands_sha256() {
            Hashing { prf: Prf::Sha256, iterations: 600_000 }
        } else {
            Hashing { prf: Prf::Sha1, iterations: 10 }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn versions_parse_from_short_and_full_numbers() {
        for (text, version) in [
            ("3.5", Version::V3_5),
            ("3.4.3", Version::V3_4),
            ("3.3.3-dirty", Version::V3_3),
            ("2.x", Version::V2),
            ("1.6.1", Version::V1),
        ] {
            assert_eq!(text.parse::<Version>().unwrap(), version, "{text}");
        }
        assert!("4.0".parse::<Version>().is_err());
    }

    #[test]
    fn only_3x_closes_a_fresh_database() {
        assert_eq!(Version::V2.default_security(false), json!({}));
        assert_eq!(Version::V3_5.default_security(true), json!({}));
        assert_eq!(Version::V3_3.default_security(false)["members"]["roles"], json!(["_admin"]));
    }
}
