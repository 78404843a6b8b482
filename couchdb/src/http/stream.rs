//! Bodies that are longer than a command's, sent and read in pieces.
//!
//! A request of a few kilobytes is late after a time; a stream of many gigabytes is not, as long as it goes on. So there is a
//! limit for each piece, and none for the whole.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream::BoxStream};
use http_body::{Frame, SizeHint};
use reqwest::{Body, Response};
use tokio::{sync::watch, time};

use crate::{
    http::connector::innermost,
    reply::{error::CouchError, stranger},
};

/// The body of a good answer, which CouchDB goes on sending for as long as it is read.
#[derive(Debug)]
pub struct Download {
    response: Response,
    /// Read already.
    first: Option<Bytes>,
    origin: String,
    limit: Duration,
    left: u64,
}

impl Download {
    /// Waits for the first piece: that of another server's page shows that it is one.
    pub(super) async fn open(
        response: Response,
        origin: &str,
        limit: Duration,
        longest: u64,
    ) -> Result<Self, CouchError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut download = Self { response, first: None, origin: origin.to_owned(), limit, left: longest };
        download.first = download.receive().await?;
        let first = download.first.as_deref().unwrap_or_default();
        match stranger::seen(status, &headers, first) {
            Some(seen) => {
                Err(CouchError::NotCouchDb { origin: download.origin, status: status.as_u16(), seen })
            }
            None => Ok(download),
        }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// CouchDB sends nothing within the limit of a request, breaks off, or sends more than is wanted.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CouchError> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, CouchError> {
        let received = time::timeout(self.limit, self.response.chunk()).await;
        let late = |_| CouchError::Timeout { origin: self.origin.clone(), limit: self.limit };
        let Some(piece) = received.map_err(late)?.map_err(|error| broken_off(&self.origin, &error))? else {
            return Ok(None);
        };
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        let too_long = || CouchError::Unexpected {
            what: "a request",
            problem: "it is longer than was allowed".to_owned(),
        };
        self.left = self.left.checked_sub(length).ok_or_else(too_long)?;
        Ok(Some(piece))
    }
}

/// An answer began and did not end.
pub(super) fn broken_off(origin: &str, error: &reqwest::Error) -> CouchError {
    CouchError::BrokenOff { origin: origin.to_owned(), reason: innermost(error) }
}

/// A body of JSON to be sent in pieces, as they come.
pub struct Upload {
    pieces: BoxStream<'static, io::Result<Bytes>>,
    length: Option<u64>,
}

impl Upload {
    /// One whose length nobody knows yet.
    pub fn new(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self { pieces: pieces.boxed(), length: None }
    }

    /// The same, known to be so many bytes long.
    #[must_use]
    pub fn of_length(self, length: u64) -> Self {
        Self { length: Some(length), ..self }
    }

    pub(super) fn begin(self) -> (Body, Progress) {
        let (taken, progress) = watch::channel(());
        let stream = Mutex::new(self.pieces);
        (Body::wrap(Pieces { stream, length: self.length, taken }), Progress(progress))
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("length", &self.length).finish_non_exhaustive()
    }
}

/// How far a body is.
pub(super) struct Progress(watch::Receiver<()>);

impl Progress {
    /// Returns when no piece was sent, or after the last one no answer came, for so long.
    pub(super) async fn stalls(mut self, limit: Duration) {
        loop {
            match time::timeout(limit, self.0.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_all_are_sent)) => return time::sleep(limit).await,
                Err(_late) => return,
            }
        }
    }
}

/// The body as the HTTP library takes it. The lock is never waited for: it stands for the `Sync` that a stream lacks.
struct Pieces {
    stream: Mutex<BoxStream<'static, io::Result<Bytes>>>,
    length: Option<u64>,
    taken: watch::Sender<()>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let stream = this.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
        let piece = ready!(stream.poll_next_unpin(context));
        this.taken.send_replace(());
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
#[path = "stream/tests.rs"]
mod tests;
