//! The minimum cost of requests to CouchDB: requests are written to open sockets, and answers are read and
//! discarded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::future::try_join_all;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::environment::ADMIN;

/// GETs every target once, in order, over this many connections; returns the duration.
pub async fn scan(port: u16, targets: Vec<String>, connections: usize) -> Result<Duration> {
    let (targets, next) = (Arc::new(targets), Arc::new(AtomicUsize::new(0)));
    let mut sockets = Vec::new();
    for _ in 0..connections {
        let socket = TcpStream::connect(("127.0.0.1", port)).await?;
        socket.set_nodelay(true)?;
        sockets.push(BufReader::new(socket));
    }
    let began = Instant::now();
    let tasks = sockets.into_iter().map(|mut socket| {
        let (targets, next) = (Arc::clone(&targets), Arc::clone(&next));
        tokio::spawn(async move {
            while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                get(&mut socket, target).await?;
            }
            anyhow::Ok(())
        })
    });
    for done in try_join_all(tasks).await? {
        done?;
    }
    Ok(began.elapsed())
}

async fn get(socket: &mut BufReader<TcpStream>, target: &str) -> Result<()> {
    let login = BASE64_STANDARD.encode(format!("{}:{}", ADMIN.0, ADMIN.1));
    let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {login}\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut line = String::new();
    socket.read_line(&mut line).await?;
    ensure!(line.starts_with("HTTP/1.1 200"), "{target} was answered with {line:?}");
    let mut length = None;
    while line != "\r\n" {
        line.clear();
        ensure!(socket.read_line(&mut line).await? > 0, "the connection was closed");
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse()?);
        }
    }
    let mut body = vec![0; length.context("an answer without a length")?];
    socket.read_exact(&mut body).await?;
    Ok(())
}
