#![allow(clippy::unwrap_used)]

use futures_util::stream;
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use trove_couchdb_protocol::Secret;
use trove_couchdb_system::tls;

use super::*;
use crate::{Client, Limits, Login, Resource};

/// Ample for one piece, but shorter than the whole stream.
const LIMIT: Duration = Duration::from_millis(400);

const BETWEEN: Duration = Duration::from_millis(100);

const SESSION: &str = "HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\n{}";

async fn listen() -> (TcpListener, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let limits = Limits { connect: LIMIT, request: LIMIT, connections: 1 };
    (listener, Client::new(&url, limits, tls::Files::default()))
}

fn os_admin() -> Login {
    Login::new("os_admin", &Secret::new("pw"))
}

async fn read_head(connection: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

async fn send_slowly(mut connection: TcpStream, pieces: usize) {
    read_head(&mut connection).await;
    connection.write_all(b"HTTP/1.1 200 X\r\nconnection: close\r\n\r\n").await.unwrap();
    for _ in 0..pieces {
        connection.write_all(b"\"piece\"").await.unwrap();
        time::sleep(BETWEEN).await;
    }
}

async fn read_all(mut download: Download) -> Result<usize, CouchError> {
    let mut bytes = 0;
    while let Some(piece) = download.next().await? {
        bytes += piece.len();
    }
    Ok(bytes)
}

#[tokio::test]
async fn a_download_may_take_longer_than_a_request_and_no_more_than_was_allowed() {
    let (listener, client) = listen().await;
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(send_slowly(connection, 8));
        }
    });
    let login = os_admin();
    let open = |longest| client.download(&login, &Resource::Welcome, longest);
    assert_eq!(read_all(open(56).await.unwrap()).await, Ok(56));
    let too_long = read_all(open(55).await.unwrap()).await.unwrap_err();
    assert!(too_long.to_string().contains("longer than was allowed"), "{too_long}");
    // An open download needs no request slot.
    let _held = open(56).await.unwrap();
    assert!(open(56).await.is_ok());
}

#[tokio::test]
async fn a_download_that_stands_still_is_given_up_and_a_page_is_none() {
    let (listener, client) = listen().await;
    tokio::spawn(async move {
        for body in ["{\"rows\":[", "<title>Sign in</title>"] {
            let (mut connection, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                read_head(&mut connection).await;
                let head = "HTTP/1.1 200 X\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n";
                connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
                time::sleep(10 * LIMIT).await;
            });
        }
    });
    let login = os_admin();
    let open = || client.download(&login, &Resource::Welcome, 1_000);
    let stalled = read_all(open().await.unwrap()).await.unwrap_err();
    assert!(matches!(stalled, CouchError::Timeout { limit: LIMIT, .. }), "{stalled}");
    let stranger = open().await.unwrap_err();
    assert!(stranger.to_string().contains("Sign in"), "{stranger}");
}

#[tokio::test]
async fn a_refused_download_has_its_reason_and_is_not_sent_again() {
    let (listener, client) = listen().await;
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        read_head(&mut connection).await;
        let answer = "HTTP/1.1 401 X\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        connection.write_all(answer.as_bytes()).await.unwrap();
    });
    let login = os_admin();
    for _ in 0..2 {
        let refused = client.download(&login, &Resource::Welcome, 9).await.unwrap_err();
        assert_eq!(refused, CouchError::LoginRefused);
    }
}

fn pieces(count: usize) -> Upload {
    Upload::new(stream::unfold(0, move |at| async move {
        time::sleep(BETWEEN).await;
        (at < count).then(|| (Ok(Bytes::from_static(b"\"piece\"")), at + 1))
    }))
}

/// Answers the session request, and returns the head of the upload when `end` has arrived.
async fn take_upload(listener: TcpListener, end: &'static [u8]) -> (String, TcpStream) {
    let (mut connection, _) = listener.accept().await.unwrap();
    read_head(&mut connection).await;
    connection.write_all(SESSION.as_bytes()).await.unwrap();
    let head = read_head(&mut connection).await;
    let mut body = Vec::new();
    while !body.ends_with(end) {
        body.push(connection.read_u8().await.unwrap());
    }
    (head, connection)
}

#[tokio::test]
async fn an_upload_may_take_longer_than_a_request_and_says_its_length_if_it_is_known() {
    for (length, said, end) in [
        (None, "transfer-encoding: chunked", b"0\r\n\r\n".as_slice()),
        (Some(56), "content-length: 56", &b"\"piece\"".repeat(8).leak()[..]),
    ] {
        let (listener, client) = listen().await;
        let server = tokio::spawn(async move {
            let (head, mut connection) = take_upload(listener, end).await;
            connection.write_all(b"HTTP/1.1 201 X\r\ncontent-length: 11\r\n\r\n{\"ok\":true}").await.unwrap();
            head
        });
        let body = match length {
            Some(length) => pieces(8).of_length(length),
            None => pieces(8),
        };
        let answer = client.upload(&os_admin(), Method::POST, &Resource::UsersBulk, body).await;
        assert_eq!(answer, Ok(json!({"ok": true})));
        let head = server.await.unwrap();
        assert!(head.contains(said), "{head}");
    }
}

#[tokio::test]
async fn an_upload_that_stands_still_is_given_up() {
    let (listener, client) = listen().await;
    let (done, is_done) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let _taken = take_upload(listener, b"\"piece\"").await;
        is_done.await.unwrap();
    });
    let body = Upload::new(stream::iter([Ok(Bytes::from_static(b"\"piece\""))]).chain(stream::pending()));
    let late = client.upload(&os_admin(), Method::POST, &Resource::UsersBulk, body).await.unwrap_err();
    assert!(matches!(late, CouchError::Timeout { limit: LIMIT, .. }), "{late}");
    done.send(()).unwrap();
}

#[tokio::test]
async fn an_upload_whose_source_fails_says_so() {
    let (listener, client) = listen().await;
    tokio::spawn(async move { take_upload(listener, b"never").await });
    let broken = Err(io::Error::other("the disk is gone"));
    let body = Upload::new(stream::iter([Ok(Bytes::from_static(b"\"piece\"")), broken]));
    let error = client.upload(&os_admin(), Method::POST, &Resource::UsersBulk, body).await.unwrap_err();
    assert!(error.to_string().contains("the disk is gone"), "{error}");
}
