//! HTTP: reads a whole request, applies faults, calls the routes, logs the request, and sends the answer or
//! cuts the connection.
//!
//! axum gets one catch-all handler and no routes; `request` explains why. [`crate::InMemoryCouch`] starts and
//! stops it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::Response;
use futures_util::stream;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::faults::{Fault, Rule, path_of};
use crate::keep;
use crate::log::LogEntry;
use crate::node::Node;
use crate::reply::Reply;
use crate::request::Request;
use crate::routes;
use crate::wire::{Connection, CuttableListener};

/// The maximum size of a request, in bytes (upstream's default of `[chttpd] max_http_request_size`).
const MAX_REQUEST: u64 = 4_294_967_296;

/// The maximum length of the request line or a header, in bytes: the receive buffer of upstream's mochiweb.
const MAX_LINE: usize = 8192;

/// Serves the node on the listener until the token is cancelled; then cuts every connection.
pub(crate) fn serve(
    node: Arc<Node>,
    listener: TcpListener,
    stopped: CancellationToken,
) -> tokio::task::JoinHandle<()> {
    let app = Router::new().fallback(handle).with_state(node);
    let service = app.into_make_service_with_connect_info::<Connection>();
    let listener = CuttableListener { listener, stopped: stopped.clone() };
    tokio::spawn(async move {
        tokio::select! {
            () = stopped.cancelled() => {}
            // axum's serve never returns, as its error type shows.
            _ = std::future::IntoFuture::into_future(axum::serve(listener, service)) => {}
        }
    })
}

async fn handle(
    State(node): State<Arc<Node>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: axum::extract::Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let method = head.method.as_str().to_owned();
    let target = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return cut(&connection).await;
    };
    let server = format!("CouchDB/{} (Erlang OTP/25)", node.version.number());
    if node.options.fault_routes && path_of(&target).starts_with("/_fault") {
        return fault_route(&node, &method, &target, &body).into_response(&server, None);
    }
    if target.len() > MAX_LINE || head.headers.values().any(|value| value.len() > MAX_LINE) {
        return Reply::empty(400).into_response(&server, None);
    }
    let mut entry = LogEntry { method, target, status: None, user: None, carried_password: false };
    let rule = node.faults.take(&entry.method, &entry.target);
    let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let peer = connection.peer.ip().to_string();
    let request = Request::new(&entry.method, &entry.target, head.headers, body, peer);
    entry.carried_password = request.as_ref().is_ok_and(Request::carries_password);
    if let Some(rule) = &rule
        && !rule.takes_effect
    {
        node.faults.wait(&rule.fault).await;
    }
    let skipped = rule.as_ref().is_some_and(|rule| !rule.takes_effect && replaces_answer(&rule.fault));
    let reply = match request {
        Ok(request) if skipped && rule.as_ref().is_some_and(|rule| rule.fault == Fault::CutLate) => {
            node.faults.put_off(&entry.method, &entry.target, request);
            Reply::empty(500)
        }
        _ if skipped => Reply::empty(500),
        Err(refusal) => refusal,
        Ok(_) if size > node.state().config.number("chttpd", "max_http_request_size", MAX_REQUEST) => {
            Reply::error(413, "too_large", "the request entity is too large")
        }
        Ok(request) => {
            for late in node.faults.take_late(&entry.method, &entry.target) {
                drop(routes::answer(&node, &late).await);
            }
            let (reply, user) = routes::answer(&node, &request).await;
            entry.user = user;
            match changes(&entry.method).then(|| keep::keep(&node)) {
                Some(Err(error)) => Reply::error(500, "internal_server_error", &error.to_string()),
                Some(Ok(())) | None => reply,
            }
        }
    };
    if let Some(rule) = &rule
        && rule.takes_effect
    {
        node.faults.wait(&rule.fault).await;
    }
    send(&node, &connection, &server, reply, entry, rule).await
}

/// Whether a request of this method may change something.
fn changes(method: &str) -> bool {
    !matches!(method, "GET" | "HEAD")
}

/// Whether the real answer is discarded, so that the request need not be carried out.
fn replaces_answer(fault: &Fault) -> bool {
    matches!(fault, Fault::Answer { .. } | Fault::Cut | Fault::CutLate)
}

async fn send(
    node: &Node,
    connection: &Connection,
    server: &str,
    reply: Reply,
    mut entry: LogEntry,
    rule: Option<Rule>,
) -> Response<Body> {
    match rule.map(|rule| rule.fault) {
        Some(Fault::Cut | Fault::CutLate) => {
            node.log.push(entry);
            cut(connection).await
        }
        Some(Fault::Answer { status, body }) => {
            entry.status = Some(status);
            node.log.push(entry);
            Reply::raw(status, body).into_response(server, None)
        }
        Some(Fault::CutMidBody) => {
            entry.status = Some(reply.status());
            node.log.push(entry);
            let body = broken_body(Bytes::from(reply.half_body()), connection.cut.clone());
            reply.into_response(server, Some(body))
        }
        Some(Fault::DelayMs(_) | Fault::Hang) | None => {
            entry.status = Some(reply.status());
            node.log.push(entry);
            reply.into_response(server, None)
        }
    }
}

/// Cuts the connection and waits until it is dropped.
async fn cut(connection: &Connection) -> Response<Body> {
    connection.cut.cancel();
    std::future::pending().await
}

/// Yields a part of the body, gives hyper the time to send it, and cuts the connection.
fn broken_body(part: Bytes, cut: CancellationToken) -> Body {
    Body::from_stream(stream::unfold(Some(part), move |part| {
        let cut = cut.clone();
        async move {
            if let Some(part) = part {
                return Some((Ok::<_, Infallible>(part), None));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            cut.cancel();
            std::future::pending().await
        }
    }))
}

/// `/_fault`: `POST` a rule, `DELETE` all; `/_fault/trouble`: `PUT` the problems; `/_fault/log`: `GET` or
/// `DELETE` the log.
fn fault_route(node: &Node, method: &str, target: &str, body: &[u8]) -> Reply {
    match (method, target) {
        ("POST", "/_fault") => match serde_json::from_slice(body) {
            Ok(rule) => {
                node.faults.add(rule);
                Reply::done(201)
            }
            Err(error) => Reply::bad_request(&format!("no such rule: {error}")),
        },
        ("DELETE", "/_fault") => {
            node.faults.clear();
            Reply::done(200)
        }
        ("PUT", "/_fault/trouble") => match serde_json::from_slice(body) {
            Ok(trouble) => {
                node.state().set_trouble(trouble);
                Reply::done(200)
            }
            Err(error) => Reply::bad_request(&format!("no such trouble: {error}")),
        },
        ("GET", "/_fault/log") => Reply::ok(&json!(node.log.entries())),
        ("DELETE", "/_fault/log") => {
            node.log.clear();
            Reply::done(200)
        }
        _ => Reply::not_found(
            "there are POST and DELETE /_fault, PUT /_fault/trouble, GET and DELETE /_fault/log",
        ),
    }
}
