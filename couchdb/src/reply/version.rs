//! CouchDB's version, and the features that depend on it.

use serde::Deserialize;

use crate::reply::error::CouchError;

/// A server's version, from `GET /`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion {
    /// 1, 2 or 3.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

#[derive(Deserialize)]
struct Welcome {
    couchdb: Option<String>,
    version: Option<String>,
}

impl ServerVersion {
    /// The oldest supported version. CouchDB accepts ready-made PBKDF2 hashes since 1.3; 1.6 is the oldest
    /// version still in use.
    pub const OLDEST: Self = Self { major: 1, minor: 6 };

    /// Reads the answer of `GET /`.
    pub fn from_welcome(body: serde_json::Value) -> Result<Self, CouchError> {
        let odd = |problem: String| CouchError::Unexpected { what: "GET /", problem };
        let welcome: Welcome =
            serde_json::from_value(body).map_err(|_| odd("not a CouchDB welcome".into()))?;
        if welcome.couchdb.is_none() {
            return Err(odd("what answers there is not CouchDB".into()));
        }
        let text = welcome.version.unwrap_or_default();
        match Self::from_number(&text) {
            Some(version) if version < Self::OLDEST => {
                Err(odd(format!("CouchDB {text} is too old; 1.6 or later is needed")))
            }
            Some(version) => Ok(version),
            None => Err(odd(format!("the version {text:?} is not one"))),
        }
    }

    /// Reads the `Server` header of any answer, such as `CouchDB/3.5.0 (Erlang OTP/25)`. `None` if it is not
    /// CouchDB's.
    pub(crate) fn from_header(text: &str) -> Option<Self> {
        Self::from_number(text.strip_prefix("CouchDB/")?)
    }

    fn from_number(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(leading_number);
        Some(Self { major: numbers.next()??, minor: numbers.next()?? })
    }

    /// 3.4 introduced `pbkdf2_prf`. A 3.3 server stores a sha256 hash but refuses the login, or uses the text
    /// of an administrator's hash as the password.
    pub fn takes_sha256(self) -> bool {
        self >= Self { major: 3, minor: 4 }
    }

    /// 2.0 moved the configuration from `/_config` to `/_node/NAME/_config`.
    pub fn has_nodes(self) -> bool {
        self.major >= 2
    }

    /// Since 3.0 only administrators can use a new database, unless `default_security` says otherwise.
    pub fn makes_closed_databases(self) -> bool {
        self.major >= 3
    }

    /// The section where `require_valid_user` takes effect (`chttpd` serves the clustered port of 2.x and
    /// 3.x).
    pub fn require_valid_user_section(self) -> &'static str {
        if self.has_nodes() { "chttpd" } else { "couch_httpd_auth" }
    }
}

impl std::fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

fn leading_number(part: &str) -> Option<u32> {
    let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn version(text: &str) -> Result<ServerVersion, CouchError> {
        ServerVersion::from_welcome(json!({"couchdb": "Welcome", "version": text}))
    }

    #[test]
    fn real_versions_are_read() {
        assert_eq!(version("3.5.0"), Ok(ServerVersion { major: 3, minor: 5 }));
        assert_eq!(version("1.6.1"), Ok(ServerVersion { major: 1, minor: 6 }));
        assert_eq!(version("3.4.0-RC1"), Ok(ServerVersion { major: 3, minor: 4 }));
        assert_eq!(version("3.4beta"), Ok(ServerVersion { major: 3, minor: 4 }));
    }

    #[test]
    fn what_is_no_couchdb_is_refused() {
        assert!(version("1.5.0").is_err());
        assert!(version("").is_err());
        assert!(ServerVersion::from_welcome(json!({"express-pouchdb": "Welcome!"})).is_err());
        assert!(ServerVersion::from_welcome(json!([])).is_err());
    }

    #[test]
    fn an_answers_header_names_the_version() {
        let of = ServerVersion::from_header;
        assert_eq!(of("CouchDB/3.5.2 (Erlang OTP/25)"), Some(ServerVersion { major: 3, minor: 5 }));
        assert_eq!(of("CouchDB/1.6.1 (Erlang OTP/17)"), Some(ServerVersion { major: 1, minor: 6 }));
        for other in ["nginx/1.22.1", "CouchDB", "CouchDB/", "CouchDB/x.y", ""] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn sha256_needs_3_4() {
        let takes = |major, minor| ServerVersion { major, minor }.takes_sha256();
        assert!(takes(3, 4) && takes(4, 0));
        assert!(!takes(3, 3) && !takes(2, 9) && !takes(1, 7));
    }
}
