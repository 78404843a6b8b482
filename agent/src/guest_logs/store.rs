//! The objects of one log in the object store.

use super::{GuestLogError, LogName, metafile::Metafile, names, piece::Piece};
use crate::swift::{Account, Header, Place, SwiftError};

const DELETE_AFTER: &str = "x-delete-after";

/// `trove log-tail` counts with it.
const LINES: &str = "x-object-meta-lines";

/// The longest metafile that is read.
const LONGEST_METAFILE: usize = 64 << 10;

/// The objects of one log.
#[derive(Debug)]
pub(super) struct Store<'a> {
    account: &'a Account,
    container: &'a str,
    prefix: String,
    metafile: String,
    pub(super) log: LogName,
    expiry: u64,
}

impl<'a> Store<'a> {
    pub(super) fn new(
        account: &'a Account,
        container: &'a str,
        guest_id: &str,
        log: LogName,
        expiry: u64,
    ) -> Self {
        let (prefix, metafile) = (names::prefix(guest_id, log), names::metafile(guest_id, log));
        Self { account, container, prefix, metafile, log, expiry }
    }

    /// `None` if nothing is published.
    pub(super) async fn metafile(&self) -> Result<Option<Metafile>, GuestLogError> {
        let read = match self.account.get(self.place(&self.metafile), LONGEST_METAFILE).await {
            Err(SwiftError::TooLong { .. }) => return Err(self.no_metafile()),
            read => read?,
        };
        let parsed = read.map(|text| serde_json::from_slice(&text)).transpose();
        parsed.map_err(|_| self.no_metafile())
    }

    /// Writes the metafile. Creates the container, which is missing before the first publication of a project.
    pub(super) async fn put_metafile(&self, metafile: &Metafile) -> Result<(), SwiftError> {
        let text = serde_json::to_vec(metafile).unwrap_or_default();
        let place = self.place(&self.metafile);
        if self.account.put(place, &[self.expiry()], text.clone()).await? {
            return Ok(());
        }
        let container = Place { container: self.container, object: None };
        self.account.put(container, &[], Vec::new()).await?;
        self.must_exist(self.account.put(place, &[self.expiry()], text).await?)
    }

    pub(super) async fn put_piece(&self, name: &str, piece: Piece) -> Result<(), SwiftError> {
        let headers = [self.expiry(), (LINES, piece.lines.to_string())];
        let name = format!("{}{name}", self.prefix);
        self.must_exist(self.account.put(self.place(&name), &headers, piece.text).await?)
    }

    /// Deletes all pieces, and the metafile last: if that is interrupted, it goes on the next time.
    pub(super) async fn discard(&self) -> Result<(), SwiftError> {
        let mut marker = String::new();
        loop {
            let names = self.account.list(self.container, &self.prefix, &marker).await?;
            let Some(last) = names.last() else { break };
            marker.clone_from(last);
            for name in &names {
                self.account.delete(self.place(name)).await?;
            }
        }
        self.account.delete(self.place(&self.metafile)).await
    }

    fn expiry(&self) -> Header {
        (DELETE_AFTER, self.expiry.to_string())
    }

    fn place<'b>(&'b self, object: &'b str) -> Place<'b> {
        Place { container: self.container, object: Some(object) }
    }

    /// Someone has deleted the container meanwhile.
    fn must_exist(&self, exists: bool) -> Result<(), SwiftError> {
        if exists { Ok(()) } else { Err(SwiftError::Gone { container: self.container.to_owned() }) }
    }

    fn no_metafile(&self) -> GuestLogError {
        GuestLogError::Metafile { container: self.container.to_owned(), name: self.metafile.clone() }
    }
}
