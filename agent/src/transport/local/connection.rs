//! One connection on the local socket: reads requests and writes replies concurrently.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Semaphore,
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use trove_couchdb_protocol::{
    Failure, FailureClass, FrameDecoder, FrameError, Outcome, ReplyAddress, ReplyQueue, encode_reply, frame,
    new_id,
};

use super::{
    Peer,
    request::{AT_ONCE, Queue, Request, ResponseWriter},
};
use crate::transport::rpc::{IncomingMessage, ReplyEncoder, RequestPipeline};

/// The size of one read.
const CHUNK: usize = 16 * 1024;

/// A peer that does not read one reply within this time is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The same for the final message of a connection, and for all replies once the agent stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// How many bytes of a refused peer are discarded until it reads the reason.
const LAST_WORDS: u64 = 64 * 1024 * 1024;

/// How reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The peer has nothing more to send, or the agent stops.
    Quiet,
    /// The peer sent an invalid frame, and may still be sending.
    Fault,
}

/// Serves one peer until it hangs up, sends an invalid frame, or the agent stops. Then answers the requests
/// in flight.
pub(super) async fn serve(
    stream: UnixStream,
    peer: Peer,
    encoder: Arc<ReplyEncoder>,
    pipeline: RequestPipeline,
    stopping: CancellationToken,
) {
    let (mut input, mut output) = stream.into_split();
    let (writer, mut queue) = ResponseWriter::new(peer, encoder);
    let gone = queue.gone.clone();
    let reading = async {
        let end = tokio::select! {
            biased;
            () = gone.cancelled() => End::Quiet,
            () = stopping.cancelled() => End::Quiet,
            end = read(&mut input, &writer, &pipeline) => end,
        };
        // The queue ends when the last writer is dropped; the requests in flight hold the others.
        drop(writer);
        if end == End::Fault {
            listen_on(&mut input).await;
        }
    };
    tokio::join!(reading, write(&mut output, &mut queue, &stopping));
}

/// Sends the peer the reason why it is refused.
pub(super) async fn refuse(stream: UnixStream, failure: &Failure) {
    let (mut input, mut output) = stream.into_split();
    let Ok(frame) = frame::encode(&last_word(failure)) else { return };
    let telling = async {
        let told = time::timeout(FAREWELL, output.write_all(&frame)).await;
        if !matches!(told, Ok(Ok(()))) {
            debug!("A refused process did not listen.");
        }
        end_output(&mut output).await;
    };
    tokio::join!(telling, listen_on(&mut input));
}

async fn read(input: &mut OwnedReadHalf, writer: &Arc<ResponseWriter>, pipeline: &RequestPipeline) -> End {
    let mut decoder = FrameDecoder::new(pipeline.max_message_bytes());
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut chunk = vec![0; CHUNK];
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return End::Quiet };
        let body = loop {
            match decoder.next_payload() {
                Ok(Some(body)) => break body,
                Ok(None) => {}
                Err(error) => {
                    warn!(peer = %writer.peer, %error, "A process on the local socket is not understood.");
                    writer.send(&last_word(&not_understood(error)), None);
                    return End::Fault;
                }
            }
            match input.read(&mut chunk).await {
                Ok(0) => {
                    if let Err(error) = decoder.finish() {
                        debug!(peer = %writer.peer, %error, "A process on the local socket hung up.");
                    }
                    return End::Quiet;
                }
                Ok(length) => decoder.push(chunk.get(..length).unwrap_or_default()),
                Err(error) => {
                    debug!(peer = %writer.peer, %error, "A process on the local socket is gone.");
                    return End::Quiet;
                }
            }
        };
        let request = Request::new(Arc::clone(writer), slot);
        // A stream delivers nothing twice, and does not say how long the caller waits.
        pipeline.take(IncomingMessage {
            body,
            compression: None,
            redelivered: false,
            caller_timeout: None,
            at_once_or_not: false,
            source_ref: Arc::new(request),
        });
    }
}

async fn write(output: &mut OwnedWriteHalf, queue: &mut Queue, stopping: &CancellationToken) {
    while let Some(frame) = queue.next().await {
        let hurry = async {
            stopping.cancelled().await;
            time::sleep(FAREWELL).await;
        };
        let written = tokio::select! {
            written = time::timeout(WRITE_TIMEOUT, output.write_all(frame.bytes())) => written,
            () = queue.gone.cancelled() => return,
            () = hurry => return queue.gone.cancel(),
        };
        if !matches!(written, Ok(Ok(()))) {
            debug!("A process on the local socket does not read any more.");
            return queue.gone.cancel();
        }
        queue.written(frame);
    }
    end_output(output).await;
}

/// Discards what a refused peer still sends. If the socket were closed before the peer has read the reason,
/// it would see a broken connection.
async fn listen_on(input: &mut OwnedReadHalf) {
    let mut last_words = input.take(LAST_WORDS);
    let mut nowhere = tokio::io::sink();
    let listening = tokio::io::copy(&mut last_words, &mut nowhere);
    if time::timeout(FAREWELL, listening).await.is_err() {
        debug!("An unwelcome process on the local socket goes on talking; it is hung up on.");
    }
}

async fn end_output(output: &mut OwnedWriteHalf) {
    if let Err(error) = output.shutdown().await {
        debug!(%error, "A process on the local socket hung up first.");
    }
}

fn not_understood(error: FrameError) -> Failure {
    Failure::new(FailureClass::InvalidFrame, format!("{error}; the agent ends the connection"))
}

/// A reply to no particular request, after which the connection closes.
fn last_word(failure: &Failure) -> Vec<u8> {
    let nobody = ReplyAddress { msg_id: String::new(), reply_queue: ReplyQueue::local() };
    encode_reply(&nobody, &new_id(), &Outcome::Failure(failure.clone()), None)
}
