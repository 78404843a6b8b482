//! Commands on users and databases: the agent over RabbitMQ against the Python code in process, each on its
//! own CouchDB 1.x with the same content; and a list against the minimum cost of its requests.
//!
//! The Python code has no RPC and no guest start, unlike the agent: the figures favour the Python code.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use trove_couchdb_protocol::new_id;
use trove_couchdb_tests::{
    agent::AgentProcess,
    couch::{CouchClient, Credentials, Method},
    rabbitmq::RabbitNode,
    rpc::{Request, RpcClient},
};

use crate::{
    environment::{self, ADMIN, Couch},
    results::{Goal, Ratio, Section, Table, number, spread},
    sizes::Sizes,
    stats::{Spread, ratios},
    upstream::Upstream,
    usage,
};

/// One command, with the arguments for both sides.
struct Operation {
    name: String,
    method: &'static str,
    /// For the agent.
    args: Value,
    /// For `CouchDBAdmin`.
    upstream: Value,
    /// The number of returned items, to check that both sides did the same.
    items: usize,
    /// Existing users and databases before the command.
    content: (usize, usize),
    /// The target speed-up.
    goal: Option<f64>,
}

/// The cost of one run of one command.
#[derive(Debug, Clone, Copy)]
struct Took {
    wall: f64,
    cpu: f64,
    requests: f64,
}

/// The costs of the agent and of the Python code, per round.
type Rounds = BTreeMap<usize, (Vec<Took>, Vec<Took>)>;

/// Measures the section.
pub async fn measure(sizes: &Sizes) -> Result<Section> {
    let broker = RabbitNode::start().await?;
    let operations = operations(sizes);
    let mut rounds = Rounds::new();
    // The Python code's list alone takes most of a minute.
    for round in 0..sizes.rounds.min(3) {
        for (number, operation) in operations.iter().enumerate() {
            let ours = by_agent(&broker, &filled(operation).await?, operation).await?;
            let theirs = by_upstream(&filled(operation).await?, operation).await?;
            let entry = rounds.entry(number).or_default();
            entry.0.push(ours);
            entry.1.push(theirs);
        }
        eprintln!("   round {} of {}", round + 1, sizes.rounds.min(3));
    }
    let mut section = Section::default();
    tell(&operations, &rounds, &mut section);
    super::scan::measure(&broker, sizes, &mut section).await?;
    Ok(section)
}

fn operations(sizes: &Sizes) -> Vec<Operation> {
    let square = sizes.square;
    let database = |number: usize| format!("db{number:05}");
    let new_users: Vec<Value> = (0..sizes.users)
        .map(|number| {
            let databases = json!([{"_name": database(number % square)}]);
            json!({"_name": format!("new{number:05}"), "_password": "pw", "_host": "%", "_databases": databases})
        })
        .collect();
    let granted: Vec<String> = (0..sizes.users).map(database).collect();
    let (member, other) = ("member", "user00000");
    let content = (square, square);
    let operation = |name: String, method, args, upstream, items, goal| Operation {
        name,
        method,
        args,
        upstream,
        items,
        content,
        goal,
    };
    let grant = operation(
        format!("grant {} databases to a user", sizes.users),
        "grant_access",
        json!({"username": other, "hostname": "%", "databases": granted}),
        json!([other, granted]),
        0,
        Some(20.0),
    );
    vec![
        operation(
            format!("list {square} users × {square} databases"),
            "list_users",
            json!({"limit": null, "marker": null, "include_marker": false}),
            json!([]),
            // Including the user with access to all databases.
            square + 1,
            Some(1000.0),
        ),
        operation(
            format!("create {} users, each with a database", sizes.users),
            "create_user",
            json!({ "users": new_users }),
            json!([new_users]),
            0,
            Some(20.0),
        ),
        Operation { content: (square, sizes.users), ..grant },
        operation(
            format!("get a user who is in {square} databases"),
            "get_user",
            json!({"username": member, "hostname": "%"}),
            json!([member, "%"]),
            square,
            None,
        ),
        operation(
            format!("delete a user who is in {square} databases"),
            "delete_user",
            json!({"user": {"_name": member, "_host": "%"}}),
            json!([{"_name": member, "_host": "%"}]),
            0,
            Some(20.0),
        ),
    ]
}

/// Creates `users` users, of whom the nth has access to the nth database, and `member` with access to all of
/// them.
pub(super) async fn fill(client: &CouchClient, users: usize, databases: usize) -> Result<()> {
    let admin = Credentials::new(ADMIN.0, ADMIN.1);
    // Exists already on 1.x, which creates it at its first start.
    client.request(Method::PUT, "/_users", Some(&admin), None).await?;
    let docs: Vec<Value> = (0..users)
        .map(|number| format!("user{number:05}"))
        .chain(["member".to_owned()])
        .map(|name| json!({"_id": format!("org.couchdb.user:{name}"), "name": name, "type": "user", "roles": []}))
        .collect();
    for some in docs.chunks(1000) {
        let (status, _) = client
            .request(Method::POST, "/_users/_bulk_docs", Some(&admin), Some(&json!({ "docs": some })))
            .await?;
        ensure!(status.is_success(), "users can't be made: {status}");
    }
    for number in 0..databases {
        let name = format!("db{number:05}");
        let mut names = vec!["member".to_owned()];
        names.extend((number < users).then(|| format!("user{number:05}")));
        make_database(client, &admin, &name, &names).await?;
    }
    Ok(())
}

async fn make_database(
    client: &CouchClient,
    admin: &Credentials,
    name: &str,
    members: &[String],
) -> Result<()> {
    let (status, _) = client.request(Method::PUT, &format!("/{name}"), Some(admin), None).await?;
    ensure!(status.is_success(), "{name} can't be made: {status}");
    let security = json!({"admins": {"names": [], "roles": []}, "members": {"names": members, "roles": []}});
    let (status, _) = client.put(&format!("/{name}/_security"), Some(admin), &security).await?;
    ensure!(status.is_success(), "{name} can't be closed: {status}");
    Ok(())
}

/// A CouchDB 1.x with the content that the operation requires.
async fn filled(operation: &Operation) -> Result<Couch> {
    let couch = Couch::start("1.x")?;
    fill(&couch.client()?, operation.content.0, operation.content.1).await?;
    couch.forget_requests().await?;
    Ok(couch)
}

async fn by_agent(broker: &RabbitNode, couch: &Couch, operation: &Operation) -> Result<Took> {
    let (agent, rpc) = agent(broker, couch).await?;
    couch.forget_requests().await?;
    let cpu = usage::cpu_time(agent.pid())?;
    let began = Instant::now();
    let value = rpc.request(&request(operation.method, operation.args.clone())).await?;
    let wall = began.elapsed().as_secs_f64();
    let cpu = usage::cpu_time(agent.pid())?.saturating_sub(cpu).as_secs_f64();
    let listed = if operation.method == "list_users" { &value[0] } else { &value };
    came_back(operation, "agent", listed)?;
    Ok(Took { wall, cpu, requests: whole(couch.requests().await?) })
}

async fn by_upstream(couch: &Couch, operation: &Operation) -> Result<Took> {
    let mut upstream = Upstream::start(couch)?;
    let took = upstream.run(operation.method, &operation.upstream)?;
    came_back(operation, "upstream", &took.result)?;
    let requests = couch.requests().await?;
    ensure!(usize::try_from(took.forks)? == requests, "{} forks and {requests} requests", took.forks);
    Ok(Took { wall: took.wall, cpu: took.cpu, requests: whole(requests) })
}

/// Checks the result: a user has its databases, a list has its users.
fn came_back(operation: &Operation, who: &str, value: &Value) -> Result<()> {
    let items = value.as_array().or_else(|| value["_databases"].as_array()).map_or(0, Vec::len);
    let Operation { name, items: wanted, .. } = operation;
    ensure!(items == *wanted, "{who}, {name}: {items} items instead of {wanted}");
    Ok(())
}

/// An agent on this CouchDB, and a client for commands.
pub(super) async fn agent(broker: &RabbitNode, couch: &Couch) -> Result<(AgentProcess, RpcClient)> {
    let id = new_id();
    let options = environment::agent_options(&id, &broker.transport_url(), couch);
    let exchange = options.control_exchange.clone();
    let agent = environment::agent(options).await?;
    let rpc = RpcClient::connect(&broker.amqp_uri(), &exchange, &id, None).await?;
    rpc.call("rpc_ping", json!({})).await?;
    Ok((agent, rpc))
}

pub(super) fn request(method: &str, args: Value) -> Request {
    Request::new(method, args).timeout(Duration::from_secs(600))
}

fn tell(operations: &[Operation], rounds: &Rounds, section: &mut Section) {
    let mut table = Table {
        caption: "Each command, by the agent over RabbitMQ and by upstream's `CouchDBAdmin` in process"
            .to_owned(),
        head: [
            "command",
            "agent ms",
            "agent CPU ms",
            "requests",
            "upstream ms",
            "upstream CPU ms",
            "forks",
            "faster",
            "less CPU",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: Vec::new(),
    };
    for (number, operation) in operations.iter().enumerate() {
        let Some((ours, theirs)) = rounds.get(&number) else { continue };
        let all = |took: &[Took], pick: fn(&Took) -> f64| took.iter().map(pick).collect::<Vec<f64>>();
        let (wall, their_wall) = (all(ours, |took| took.wall * 1e3), all(theirs, |took| took.wall * 1e3));
        let (cpu, their_cpu) = (all(ours, |took| took.cpu * 1e3), all(theirs, |took| took.cpu * 1e3));
        let (requests, forks) = (all(ours, |took| took.requests), all(theirs, |took| took.requests));
        let (faster, cheaper) = (ratios(&their_wall, &wall), ratios(&their_cpu, &cpu));
        let figures =
            [&wall, &cpu, &requests, &their_wall, &their_cpu, &forks].map(|values| Spread::of(values));
        let mut row = vec![operation.name.clone()];
        row.extend(figures.map(spread));
        row.extend([faster, cheaper].map(|ratio| format!("{} ×", number_of(ratio))));
        table.rows.push(row);
        for (what, figure) in
            ["agent ms", "agent CPU ms", "requests", "upstream ms", "upstream CPU ms", "forks"]
                .iter()
                .zip(figures)
        {
            section.figures.insert(format!("{}, {what}", operation.name), figure);
        }
        let ratio = Ratio { value: faster.median, more_is_better: true };
        section.ratios.insert(format!("{}: upstream's time over the agent's", operation.name), ratio);
        if let Some(goal) = operation.goal {
            section.goals.push(Goal::at_least(
                &format!("{}: times faster than upstream", operation.name),
                goal,
                faster.median,
                "×",
            ));
        }
    }
    section.tables.push(table);
}

fn number_of(spread: Spread) -> String {
    number(spread.median)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn whole(count: usize) -> f64 {
    count as f64
}
