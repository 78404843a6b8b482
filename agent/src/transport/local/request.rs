//! One request of a local connection, and the queue of frames that its sender has not read yet.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::{FutureExt, future, future::BoxFuture};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use trove_couchdb_protocol::{Outcome, frame};

use super::Peer;
use crate::{
    audit::Source,
    transport::rpc::{
        Destination, Publication, Replies, ReplyEncoder, RequestSource, RequestTransport, Responder,
        Undeliverable, stopping,
    },
};

/// How many commands of one connection may be in flight; the next ones stay in its socket.
pub(super) const AT_ONCE: usize = 16;

/// How many call heartbeats may wait alongside the replies; older ones say the same.
const BEATS: usize = 16;

/// How many bytes one process may leave unread: a little more than the largest reply.
const MOST_BYTES: usize = 12 * 1024 * 1024;

/// A frame to be written.
#[derive(Debug)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// Keeps the request's slot until the frame is written.
    _request: Option<Arc<Request>>,
}

impl Outgoing {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The frames that wait for one process. It ends when all senders are dropped.
#[derive(Debug)]
pub(super) struct Queue {
    frames: mpsc::Receiver<Outgoing>,
    /// Bytes in `frames`.
    waiting: Arc<AtomicUsize>,
    /// The process is gone, or must be disconnected.
    pub(super) gone: CancellationToken,
}

impl Queue {
    /// The next frame; `None` at the end, or when the process is gone.
    pub(super) async fn next(&mut self) -> Option<Outgoing> {
        tokio::select! {
            biased;
            () = self.gone.cancelled() => None,
            frame = self.frames.recv() => frame,
        }
    }

    /// Accounts for a frame that is written.
    pub(super) fn written(&self, frame: Outgoing) {
        self.waiting.fetch_sub(frame.bytes.len(), Ordering::Relaxed);
        drop(frame);
    }
}

/// Queues frames for one process.
#[derive(Debug)]
pub(super) struct ResponseWriter {
    pub(super) peer: Peer,
    encoder: Arc<ReplyEncoder>,
    frames: mpsc::Sender<Outgoing>,
    waiting: Arc<AtomicUsize>,
    gone: CancellationToken,
}

impl ResponseWriter {
    /// A writer, and the queue to be written to the process.
    pub(super) fn new(peer: Peer, encoder: Arc<ReplyEncoder>) -> (Arc<Self>, Queue) {
        let (sender, frames) = mpsc::channel(AT_ONCE + BEATS + 1);
        let queue = Queue { frames, waiting: Arc::default(), gone: CancellationToken::new() };
        let (waiting, gone) = (Arc::clone(&queue.waiting), queue.gone.clone());
        (Arc::new(Self { peer, encoder, frames: sender, waiting, gone }), queue)
    }

    /// Queues a frame without waiting.
    pub(super) fn send(&self, body: &[u8], request: Option<Arc<Request>>) {
        // Replies are never empty, and `answer` limits their size.
        let Ok(bytes) = frame::encode(body) else { return };
        let length = bytes.len();
        if self.waiting.fetch_add(length, Ordering::Relaxed) > MOST_BYTES.saturating_sub(length) {
            warn!(peer = %self.peer, "A process does not read its answers; it is let go.");
            self.gone.cancel();
        }
        if self.gone.is_cancelled() {
            debug!(peer = %self.peer, "The caller is gone; the answer is dropped.");
        } else if self.frames.try_send(Outgoing { bytes, _request: request }).is_err() {
            self.gone.cancel();
        }
    }
}

/// A request in flight. It occupies a slot of its connection until its reply is written.
#[derive(Debug)]
pub(super) struct Request {
    writer: Arc<ResponseWriter>,
    _slot: OwnedSemaphorePermit,
}

impl Request {
    pub(super) fn new(writer: Arc<ResponseWriter>, slot: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Self { writer, _slot: slot })
    }

    /// Queues the reply.
    fn answer(self: &Arc<Self>, body: &[u8]) {
        self.writer.send(body, Some(Arc::clone(self)));
    }

    /// Queues a call heartbeat, unless enough of them are waiting.
    fn beat(&self, body: &[u8]) {
        if self.writer.frames.capacity() > AT_ONCE + 1 {
            self.writer.send(body, None);
        }
    }
}

impl Replies for Arc<Request> {
    fn encoder(&self) -> &ReplyEncoder {
        &self.writer.encoder
    }

    fn publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, Result<(), Undeliverable>> {
        // The conductor does not know of a command that did not come from Trove.
        if publication.to != Destination::Conductor {
            self.answer(&publication.body);
        }
        future::ready(Ok(())).boxed()
    }
}

impl RequestSource for Arc<Request> {
    fn transport(&self) -> RequestTransport {
        RequestTransport::Local
    }

    fn source(&self) -> Source {
        self.writer.peer.source()
    }

    fn try_publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, ()> {
        self.beat(&publication.body);
        future::ready(()).boxed()
    }

    fn acknowledge(&self) -> BoxFuture<'_, bool> {
        future::ready(true).boxed()
    }

    fn requeue(&self, responder: Responder) -> BoxFuture<'_, ()> {
        for publication in responder.answer(&Outcome::Failure(stopping()), self.encoder()) {
            self.answer(&publication.body);
        }
        future::ready(()).boxed()
    }

    /// Closes the connection.
    fn reject(&self) -> BoxFuture<'_, ()> {
        self.writer.gone.cancel();
        future::ready(()).boxed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::net::UnixStream;

    use tokio::sync::Semaphore;

    use super::*;

    fn writer() -> (Arc<ResponseWriter>, Queue) {
        let (here, _there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        let peer = tokio::net::UnixStream::from_std(here).unwrap().peer_cred().unwrap().into();
        ResponseWriter::new(peer, Arc::new(ReplyEncoder { guest_id: "g".into(), cipher: None }))
    }

    #[tokio::test]
    async fn a_slot_is_free_when_the_answer_is_written() {
        let (writer, mut queue) = writer();
        let slots = Arc::new(Semaphore::new(1));
        let request = Request::new(writer, Arc::clone(&slots).try_acquire_owned().unwrap());
        request.answer(b"{}");
        drop(request);
        assert_eq!(slots.available_permits(), 0, "the answer waits to be read");
        let frame = queue.next().await.unwrap();
        queue.written(frame);
        assert_eq!(slots.available_permits(), 1);
    }

    #[tokio::test]
    async fn signs_of_life_leave_room_for_every_answer() {
        let (writer, _queue) = writer();
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let requests: Vec<_> = (0..AT_ONCE)
            .map(|_| Request::new(Arc::clone(&writer), Arc::clone(&slots).try_acquire_owned().unwrap()))
            .collect();
        for request in requests.iter().cycle().take(1000) {
            request.beat(b"{}");
        }
        for request in &requests {
            request.answer(b"{}");
        }
        writer.send(b"{}", None);
        assert!(!writer.gone.is_cancelled(), "answers, and a last word, found room");
    }

    #[tokio::test]
    async fn who_does_not_read_is_let_go_before_memory_is() {
        let (writer, mut queue) = writer();
        let megabytes = vec![b' '; 5 * 1024 * 1024];
        writer.send(&megabytes, None);
        writer.send(&megabytes, None);
        assert!(!writer.gone.is_cancelled());
        let read = queue.next().await.unwrap();
        queue.written(read);
        writer.send(&megabytes, None);
        assert!(!writer.gone.is_cancelled());
        writer.send(&megabytes, None);
        assert!(writer.gone.is_cancelled());
        assert_eq!(queue.frames.len(), 2, "the last one was not kept");
        assert!(queue.next().await.is_none(), "nothing more is written");
    }
}
