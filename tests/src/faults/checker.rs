//! The final check: model, CouchDB and answers must agree once all faults are over and all commands are
//! finished.
//!
//! CouchDB is read directly, without the agent. Passwords are checked by logging in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::answers::AnswerCounters;
use super::caller::Ended;
use super::client::Namespace;
use super::environment::{Environment, Guest};
use super::model::{Model, Op};
use super::schedule::{MessageKind, SHARED};
use crate::couch::{Credentials, escape};

const DRAIN_LIMIT: Duration = Duration::from_secs(90);
/// How many of the newest obsolete passwords are tried for each user.
const OLD_PASSWORDS: usize = 12;
const USER_PREFIX: &str = "org.couchdb.user:";

/// The contents of CouchDB.
#[derive(Debug, Default)]
struct Reality {
    users: BTreeSet<String>,
    security: BTreeMap<String, Value>,
    root: bool,
}

/// Checks a guest; disagreements are recorded in the environment.
pub async fn checker(environment: &Environment, guest: &Guest, namespaces: &[Namespace]) -> Result<()> {
    let (users, databases) = drained(environment, guest).await?;
    let reality = Reality::read(guest).await?;
    for problem in reality.unsafe_things(guest).await? {
        environment.disagree(guest, problem, &[]);
    }
    if let Some(problem) = reality.differs_from(&users, &databases) {
        environment.disagree(guest, problem, &[]);
    }
    for namespace in namespaces {
        if let Err(problem) = in_namespace(guest, &reality, namespace).await? {
            environment.disagree(guest, format!("namespace {}: {problem}", namespace.prefix), &[]);
        }
        for caller in &namespace.callers {
            answered_once(environment, guest, "calls", &caller.replies().counters());
        }
    }
    answered_once(environment, guest, "casts", &guest.ears.answers().counters());
    Ok(())
}

fn answered_once(environment: &Environment, guest: &Guest, what: &str, counters: &AnswerCounters) {
    environment.count(|counts| {
        counts.repeated_answers += counters.repeated;
        counts.changed_answers += counters.changed;
        counts.given_twice += counters.given_twice.len();
    });
    if !counters.given_twice.is_empty() {
        let twice = &counters.given_twice;
        environment.disagree(guest, format!("{} {what} were answered twice: {twice:?}", twice.len()), twice);
    }
}

/// Waits until no command is in flight; returns the users and databases that the agent lists then.
async fn drained(environment: &Environment, guest: &Guest) -> Result<(Value, Value)> {
    let deadline = Instant::now() + DRAIN_LIMIT;
    let caller = environment.caller(guest);
    let mut listed = Vec::new();
    let prefix = String::new;
    for op in [Op::ListUsers { prefix: prefix() }, Op::ListDatabases { prefix: prefix() }] {
        let value = loop {
            let sent = caller.send(&op, MessageKind::Call).await?;
            if let Ok(Ok(Ended::Done(value))) = timeout(caller.reply_timeout(), sent.end).await {
                break value;
            }
            ensure!(
                Instant::now() < deadline,
                "the agent does not answer {op:?} although every fault is gone"
            );
        };
        listed.push(value);
    }
    let queue = format!("guestagent.{}", guest.id);
    let connection = Connection::connect(&environment.amqp_uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    loop {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let state = channel.queue_declare(queue.as_str().into(), passive, FieldTable::default()).await?;
        if state.message_count() == 0 {
            break;
        }
        ensure!(Instant::now() < deadline, "{} commands stay in {queue}", state.message_count());
        sleep(Duration::from_millis(100)).await;
    }
    let databases = listed.pop().context("two lists")?;
    Ok((listed.pop().context("two lists")?, databases))
}

impl Reality {
    async fn read(guest: &Guest) -> Result<Self> {
        let get = async |path: &str| {
            let (status, body) = guest.client.get(path, Some(&guest.admin)).await?;
            ensure!(status.is_success(), "GET {path}: {status} {body}");
            Ok(body)
        };
        let rows = get("/_users/_all_docs").await?;
        let ids = rows["rows"].as_array().into_iter().flatten().filter_map(|row| row["id"].as_str());
        let users = ids.filter_map(|id| id.strip_prefix(USER_PREFIX)).map(str::to_owned).collect();
        let mut security = BTreeMap::new();
        let names = get("/_all_dbs").await?;
        for name in names.as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !name.starts_with('_') {
                security.insert(name.to_owned(), get(&format!("/{}/_security", escape(name))).await?);
            }
        }
        let root = get("/_node/_local/_config/admins").await?.get("root").is_some();
        Ok(Self { users, security, root })
    }

    /// Memberships of users that do not exist, and databases that everybody may read.
    async fn unsafe_things(&self, guest: &Guest) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for (database, security) in &self.security {
            for name in ["members", "admins"].iter().flat_map(|part| names(security, part)) {
                if !self.users.contains(&name) {
                    problems.push(format!("orphan: {database} names {name:?}, who does not exist"));
                }
            }
            if guest.client.reads(&escape(database), None).await? {
                problems.push(format!("public: anybody may read {database}: {security}"));
            }
        }
        Ok(problems)
    }

    /// How this differs from what the agent lists.
    fn differs_from(&self, users: &Value, databases: &Value) -> Option<String> {
        let listed = |value: &Value| -> BTreeSet<String> {
            let items = value[0].as_array().into_iter().flatten();
            items.filter_map(|item| item["_name"].as_str()).map(str::to_owned).collect()
        };
        let there: BTreeSet<String> = self.security.keys().cloned().collect();
        let (users, databases) = (listed(users), listed(databases));
        (users != self.users || databases != there).then(|| {
            format!("the agent lists {users:?} and {databases:?}; CouchDB has {:?} and {there:?}", self.users)
        })
    }

    /// The part that belongs to a namespace, without passwords.
    fn part(&self, prefix: &str) -> Model {
        let users: BTreeSet<&String> = self.users.iter().filter(|name| name.starts_with(prefix)).collect();
        let mut model = Model::default();
        for (database, security) in &self.security {
            if database.starts_with(prefix) || database == SHARED {
                model.databases.insert(database.clone());
                let ours = names(security, "members").into_iter().filter(|name| name.starts_with(prefix));
                model.members.extend(ours.map(|name| (database.clone(), name)));
            }
        }
        model.users = users.into_iter().map(|name| (name.clone(), String::new())).collect();
        model.root = (prefix == "root" && self.root).then(String::new);
        model
    }
}

fn names(security: &Value, part: &str) -> Vec<String> {
    let names = security[part]["names"].as_array().into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether CouchDB's contents and the working passwords are possible in the model.
async fn in_namespace(guest: &Guest, reality: &Reality, namespace: &Namespace) -> Result<Result<(), String>> {
    let part = reality.part(&namespace.prefix);
    let alike: Vec<&Model> =
        namespace.possible.worlds().iter().filter(|model| shape(model) == part).collect();
    if alike.is_empty() {
        let expected: Vec<_> = namespace.possible.worlds().iter().take(3).map(shape).collect();
        return Ok(Err(format!("CouchDB has {part:?}; expected one of {expected:?}")));
    }
    // One matching model is enough: a password that is obsolete in one model may be the newest in a different
    // one.
    let mut problem = format!("the acknowledged passwords of {:?} don't all log in", part.users.keys());
    for model in alike {
        if all_log_in(guest, model).await? {
            match logs_in_with_an_old_one(guest, model, &namespace.passwords).await? {
                None => return Ok(Ok(())),
                Some(user) => problem = format!("{user:?} still logs in with an older password"),
            }
        }
    }
    Ok(Err(problem))
}

async fn logs_in_with_an_old_one(
    guest: &Guest,
    model: &Model,
    passwords: &[String],
) -> Result<Option<String>> {
    for (user, password) in accounts(model) {
        let older = passwords.iter().rev().filter(|older| **older != password);
        for older in older.take(OLD_PASSWORDS) {
            if guest.client.get("/_session", Some(&Credentials::new(&user, older))).await?.0.is_success() {
                return Ok(Some(user));
            }
        }
    }
    Ok(None)
}

async fn all_log_in(guest: &Guest, model: &Model) -> Result<bool> {
    for (user, password) in accounts(model) {
        let known = password != super::model::UNKNOWN;
        if known && !guest.client.logs_in(&Credentials::new(&user, &password)).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn accounts(model: &Model) -> Vec<(String, String)> {
    let root = model.root.iter().map(|password| ("root".to_owned(), password.clone()));
    model.users.iter().map(|(user, password)| (user.clone(), password.clone())).chain(root).collect()
}

/// The model without its passwords.
fn shape(model: &Model) -> Model {
    let users = model.users.keys().map(|name| (name.clone(), String::new())).collect();
    Model { users, root: model.root.as_ref().map(|_| String::new()), ..model.clone() }
}
