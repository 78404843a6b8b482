//! The real oslo.messaging peer: controls `tests/python/peer.py`, which uses Trove's own RPC client.
//!
//! Callers: integration tests that show that Python, not only the Rust client, understands the agent; and the
//! harness' smoke test. A peer is one Python process with one configuration (exchange, key, queue flags). It
//! takes calls from several tasks at once. It stops when it is dropped or when this process exits.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::process::Process;

/// Importing Trove takes 1 s on an idle core.
const START_LIMIT: Duration = crate::until::HUNG;
/// Longer than oslo.messaging's own time-outs, which the tests must see.
const ANSWER_LIMIT: Duration = crate::until::HUNG;

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// The peer's configuration; the fields are options of Trove and oslo.messaging.
#[derive(Debug, Clone)]
pub struct PeerOptions {
    /// `transport_url`.
    pub transport_url: String,
    /// `control_exchange`.
    pub exchange: String,
    /// The guest to talk to, by topic `guestagent.<id>`.
    pub guest_id: String,
    /// `instance_rpc_encr_key`; `None` means unencrypted.
    pub key: Option<String>,
    /// `NAME=VALUE` lines of `[oslo_messaging_rabbit]`.
    pub oslo: Vec<String>,
}

/// An exception in Python; the remote fields are set if the guest answered with a failure.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PythonError {
    /// The class that the caller sees, e.g. `RemoteError` or `MessagingTimeout`.
    pub class: String,
    /// Module of that class.
    pub module: String,
    /// `str(error)`.
    pub message: String,
    /// Class that the guest named.
    pub remote_class: Option<String>,
    /// Message that the guest sent.
    pub remote_message: Option<String>,
    /// Traceback lines that the guest sent.
    pub remote_traceback: Option<Value>,
    /// Python's own traceback, for debugging a failed test.
    pub trace: String,
}

/// A running peer.
#[derive(Debug)]
pub struct PythonPeer {
    process: Process,
    stdin: Mutex<ChildStdin>,
    waiting: Waiting,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Value>>,
    next_id: AtomicU64,
    directory: TempDir,
}

impl PythonPeer {
    /// Starts the peer and waits until it is ready; first creates a missing virtual environment (20 s and the
    /// network).
    pub async fn start(options: &PeerOptions) -> Result<Self> {
        let python = tokio::task::spawn_blocking(virtual_environment).await??;
        let directory = tempfile::tempdir().context("no temporary directory")?;
        let mut command = Command::new(python);
        command.args(["-W", "ignore"]).arg(tests_directory().join("python/peer.py"));
        command.args(["--transport-url", &options.transport_url, "--exchange", &options.exchange]);
        command.args(["--guest-id", &options.guest_id]);
        command.args(options.key.iter().flat_map(|key| ["--key", key]));
        command.args(options.oslo.iter().flat_map(|line| ["--oslo", line]));
        command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::create(directory.path().join("stderr"))?);
        let mut process = Process::spawn(&mut command, Some(directory.path()))?;
        let stdin = process.take_stdin().context("the peer has no stdin")?;
        let stdout = process.take_stdout().context("the peer has no stdout")?;
        let waiting = Waiting::default();
        let (sender, mut events) = mpsc::unbounded_channel();
        let route = Arc::clone(&waiting);
        // A thread, because a task would stop with the runtime of the test that started the peer.
        std::thread::spawn(move || read_lines(stdout, &route, &sender));
        let ready = timeout(START_LIMIT, events.recv()).await;
        let peer = Self {
            process,
            stdin: Mutex::new(stdin),
            waiting,
            events: tokio::sync::Mutex::new(events),
            next_id: AtomicU64::new(1),
            directory,
        };
        match ready {
            Ok(Some(message)) if message["ready"] == true => Ok(peer),
            _ => bail!("the Python peer did not start:\n{}", peer.stderr()),
        }
    }

    /// `client.call(method, **args)` with version 1.0 and a time-out of 15 s.
    pub async fn call(&self, method: &str, args: Value) -> Result<Result<Value, PythonError>> {
        self.request(json!({"op": "call", "method": method, "args": args})).await
    }

    /// `client.cast(method, **args)` with version 1.0.
    pub async fn cast(&self, method: &str, args: Value) -> Result<Result<Value, PythonError>> {
        self.request(json!({"op": "cast", "method": method, "args": args})).await
    }

    /// Starts a server with `trove-conductor`'s endpoints; its messages arrive at [`PythonPeer::event`].
    pub async fn start_conductor(&self, topic: &str) -> Result<()> {
        self.must(json!({"op": "conductor", "topic": topic})).await
    }

    /// Starts a guest that answers `echo` with its arguments and `fail` with a failure.
    pub async fn start_echo_guest(&self) -> Result<()> {
        self.must(json!({"op": "echo_guest"})).await
    }

    /// Declares the guest's queues as the taskmanager does before `prepare`: starts a server and stops it at
    /// once.
    pub async fn predeclare(&self) -> Result<()> {
        self.must(json!({"op": "predeclare"})).await
    }

    /// Any request of `peer.py`, e.g. a call with its own `version`, `timeout`, `context` or
    /// `call_monitor_timeout`. The outer error is the harness', the inner one is Python's exception.
    pub async fn request(&self, mut request: Value) -> Result<Result<Value, PythonError>> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        request["id"] = id.into();
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        writeln!(lock(&self.stdin), "{request}").context("the Python peer is gone")?;
        let answer = timeout(ANSWER_LIMIT, receiver).await;
        match answer {
            Err(_) => bail!("no answer of the Python peer within {ANSWER_LIMIT:?}:\n{}", self.stderr()),
            Ok(Err(_)) => bail!("the Python peer died:\n{}", self.stderr()),
            Ok(Ok(mut message)) => match message.get_mut("error") {
                Some(error) => Ok(Err(serde_json::from_value(error.take())?)),
                None => Ok(Ok(message["result"].take())),
            },
        }
    }

    /// The next message that a server of this peer received: `{"event": name, "args": {...}}`; an error after
    /// `limit`.
    pub async fn event(&self, limit: Duration) -> Result<Value> {
        let mut events = self.events.lock().await;
        let event = timeout(limit, events.recv()).await;
        event
            .with_context(|| format!("nothing reached the Python peer within {limit:?}"))?
            .context("the Python peer died")
    }

    /// The peer's standard error.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default()
    }

    /// The process id, for `/proc`.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    async fn must(&self, request: Value) -> Result<()> {
        match self.request(request).await? {
            Ok(_) => Ok(()),
            Err(error) => bail!("the Python peer failed:\n{}", error.trace),
        }
    }
}

/// Dropping `waiting`'s senders at the end notifies every caller that no answer will come.
fn read_lines(stdout: ChildStdout, waiting: &Waiting, events: &mpsc::UnboundedSender<Value>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Value>(&line) else {
            eprintln!("the Python peer printed something that is not JSON: {line}");
            continue;
        };
        let waiter = message["id"].as_u64().and_then(|id| lock(waiting).remove(&id));
        // If the receiver is gone, its test gave up.
        let _unheard = match waiter {
            Some(waiter) => waiter.send(message).is_err(),
            None => events.send(message).is_err(),
        };
    }
    lock(waiting).clear();
}

/// The path of a Python with Trove and oslo.messaging; creates its virtual environment if it is missing.
pub fn virtual_environment() -> Result<String> {
    let script = tests_directory().join("scripts/venv.sh");
    let output = Command::new(&script).stdin(Stdio::null()).output().context("cannot run venv.sh")?;
    if !output.status.success() {
        bail!(
            "{} failed; `make deps` installs python3-venv, PyPI must be reachable:\n{}",
            script.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn tests_directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A poisoned lock only means that a test panicked; the map and the pipe are intact.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
