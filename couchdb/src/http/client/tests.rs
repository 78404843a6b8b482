#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{self, Instant},
};
use trove_couchdb_protocol::Secret;

use super::*;

/// A server that answers every request after a delay with status `answer`, and counts the requests.
async fn server(answer: u16, after: Duration) -> (Url, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                read_head(&mut connection).await;
                counted.fetch_add(1, Ordering::SeqCst);
                time::sleep(after).await;
                let answer =
                    format!("HTTP/1.1 {answer} X\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}");
                connection.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    (url, requests)
}

async fn read_head(connection: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.unwrap());
    }
}

fn client(url: &Url, connections: usize) -> Client {
    let limit = Duration::from_secs(10);
    Client::new(url, Limits { connect: limit, request: limit, connections }, tls::Files::default())
}

async fn sixteen(client: &Client, login: &Login) -> Vec<Result<Value, CouchError>> {
    let send = |_| client.send(Some(login), Method::GET, &Resource::Session, None);
    join_all((0..16).map(send)).await
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_by_many_at_a_time() {
    let (url, requests) = server(401, Duration::from_millis(50)).await;
    let login = Login::new("os_admin", &Secret::new("wrong"));
    let answers = sixteen(&client(&url, 32), &login).await;
    assert!(answers.iter().all(|answer| *answer == Err(CouchError::LoginRefused)), "{answers:?}");
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_slow_server_is_not_asked_one_by_one() {
    let each = Duration::from_millis(200);
    let (url, requests) = server(200, each).await;
    let began = Instant::now();
    let answers = sixteen(&client(&url, 32), &Login::new("os_admin", &Secret::new("right"))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(requests.load(Ordering::SeqCst), 16);
    assert!(began.elapsed() < 8 * each, "the canary, and then the others together");
}

#[tokio::test]
async fn no_more_requests_run_at_once_than_are_allowed() {
    let each = Duration::from_millis(100);
    let (url, _) = server(200, each).await;
    let client = client(&url, 4);
    let began = Instant::now();
    let anonymous = |_| client.send(None, Method::GET, &Resource::Session, None);
    assert!(join_all((0..16).map(anonymous)).await.iter().all(Result::is_ok));
    assert!(began.elapsed() >= 4 * each);
}

#[tokio::test]
async fn an_outage_is_reported_and_a_refusal_without_a_login_is_no_wrong_password() {
    let (url, _) = server(401, Duration::ZERO).await;
    let there = client(&url, 4);
    let mut outages = there.outages();
    let answer = there.send(None, Method::GET, &Resource::Session, None).await;
    assert_eq!(answer, Err(CouchError::Unauthorized));
    assert!(!outages.has_changed().unwrap());

    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let nowhere = client(&format!("http://{gone}").parse().unwrap(), 4);
    outages = nowhere.outages();
    let error = nowhere.send(None, Method::GET, &Resource::Session, None).await.unwrap_err();
    assert!(matches!(error, CouchError::Unreachable { .. }), "{error}");
    assert!(!error.may_have_taken_effect());
    assert!(outages.has_changed().unwrap());
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let sent = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        read_head(&mut connection).await;
        let head = b"HTTP/1.1 200 X\r\nconnection: close\r\n\r\n\"";
        connection.write_all(head).await.unwrap();
        let letters = vec![b'x'; 1 << 16];
        let mut sent = 0;
        while connection.write_all(&letters).await.is_ok() {
            sent += letters.len();
        }
        sent
    });
    // Long enough that the size limit applies first on any machine.
    let minutes = Duration::from_secs(300);
    let limits = Limits { connect: minutes, request: minutes, connections: 1 };
    let client = Client::new(&url, limits, tls::Files::default());
    let error = client.send(None, Method::GET, &Resource::Session, None).await.unwrap_err();
    assert!(error.to_string().contains("longer than 64 MiB"), "{error}");
    assert!(matches!(error, CouchError::Unexpected { .. }) && !error.is_transient(), "{error:?}");
    assert!(
        sent.await.unwrap() >= crate::reply::answer::LONGEST - (1 << 16),
        "what is no longer than that is read"
    );
}
