//! Large bodies, sent and read in pieces.
//!
//! A stream of many gigabytes may take any time as long as it makes progress. So the time limit applies to
//! each piece, not to the whole.

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

/// The body of a successful answer, which CouchDB sends as fast as it is read.
#[derive(Debug)]
pub struct Download {
    response: Response,
    /// A piece that was already read.
    first: Option<Bytes>,
    origin: String,
    limit: Duration,
    left: u64,
}

impl Download {
    /// Waits for the first piece, which reveals a page of another server.
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
        match stranger::found_instead(status, &headers, first) {
            Some(found) => {
                Err(CouchError::NotCouchDb { origin: download.origin, status: status.as_u16(), found })
            }
            None => Ok(download),
        }
    }

    /// The next piece. `None` at the end.
    ///
    /// # Errors
    /// CouchDB sends nothing within the request time limit, breaks off, or sends more than allowed.
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

/// An answer that broke off.
pub(super) fn broken_off(origin: &str, error: &reqwest::Error) -> CouchError {
    CouchError::BrokenOff { origin: origin.to_owned(), reason: innermost(error) }
}

/// A JSON body, sent in pieces as they arrive.
pub struct Upload {
    pieces: BoxStream<'static, io::Result<Bytes>>,
    length: Option<u64>,
}

impl Upload {
    /// A body of unknown length.
    pub fn new(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self { pieces: pieces.boxed(), length: None }
    }

    /// The same body with a known length in bytes.
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

/// Reports the progress of a body.
pub(super) struct Progress(watch::Receiver<()>);

impl Progress {
    /// Returns when no piece is sent for `limit`, or no answer follows the last piece for `limit`.
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

/// The body for the HTTP library. The lock is never contended: it provides the `Sync` that a stream lacks.
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
