//! The page of a list that Trove requests, and the markers between pages.
//!
//! A marker is the last item of the previous page. trove-api quotes the marker of its `next` links twice, and
//! shows users as `name@host`; CouchDB needs the plain name.

use percent_encoding::percent_decode_str;
use trove_couchdb_protocol::{DecodeError, Field, UserName};

use super::Arguments;
use crate::couch::{Couch, CouchError, Range};

/// The longest marker, in bytes. A name of 238 bytes that trove-api has quoted twice has 1,190 characters.
/// CouchDB rejects a request line of 16 KiB, and quoting turns a byte into three characters.
const LONGEST_MARKER: usize = 2_048;

/// The requested page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Page {
    /// The maximum number of items, never 0; `None` for all.
    pub(super) limit: Option<usize>,
    /// Where the page starts: a name, or `name@host`.
    pub(super) marker: Option<String>,
    /// Whether the page includes the item at the marker.
    pub(super) include_marker: bool,
}

impl Page {
    pub(super) fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            // Like trove/guestagent/common/pagination.py.
            limit: args.optional_as("limit", Field::count)?.filter(|limit| *limit > 0),
            marker: args
                .optional_as("marker", |field| field.short::<LONGEST_MARKER>("text of a name's length"))?,
            include_marker: args.optional_as("include_marker", Field::flag)?.unwrap_or(false),
        })
    }

    /// The range of databases. No database name contains a `%`, so every marker can be unquoted.
    pub(super) fn of_databases(&self) -> Range {
        let unquoted = |marker: &str| percent_decode_str(marker).decode_utf8_lossy().into_owned();
        self.starting_at(self.marker.as_deref().map(unquoted))
    }

    /// The range of users.
    pub(super) async fn of_users(&self, couch: &Couch) -> Result<Range, CouchError> {
        let start = match &self.marker {
            Some(marker) => Some(name_in_marker(couch, marker).await?),
            None => None,
        };
        Ok(self.starting_at(start))
    }

    fn starting_at(&self, start: Option<String>) -> Range {
        Range { start, include_start: self.include_marker, limit: self.limit }
    }
}

/// The marker of a page that begins after this user.
pub(super) fn marker_of_user(name: &str) -> String {
    format!("{name}@%")
}

/// The user name in a marker: Trove's API sends `name@host`, and a name may contain an `@` itself.
async fn name_in_marker(couch: &Couch, marker: &str) -> Result<String, CouchError> {
    // trove-api quotes the marker of its `next` links twice. A client that follows such a link literally
    // returns our own `name@%` quoted once. No marker of the API itself ends like that.
    let unquoted = marker.ends_with("%40%25").then(|| percent_decode_str(marker).decode_utf8_lossy());
    let marker = unquoted.as_deref().unwrap_or(marker);
    let Some((name, host)) = marker.rsplit_once('@') else {
        return Ok(marker.to_owned());
    };
    if host == "%" {
        return Ok(name.to_owned());
    }
    let is_a_name = match UserName::try_from(marker) {
        Ok(whole) => couch.user_exists(&whole).await?,
        Err(_) => false,
    };
    Ok(if is_a_name { marker } else { name }.to_owned())
}
