//! Users per second: PBKDF2 in the agent, on all cores, against CouchDB's hashing.
//!
//! CouchDB 3.4 and later hash with OpenSSL's SHA-256 from Erlang. CouchDB is unavailable here, but Erlang is,
//! because RabbitMQ requires it: its `crypto:pbkdf2_hmac` is measured. Only the hash is measured on both
//! sides.

use std::{process::Command, time::Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use trove_couchdb_client::{Hasher, Iterations, Rounds, ServerVersion};
use trove_couchdb_protocol::Secret;

use crate::{
    results::{Goal, Ratio, Section, Table, spread},
    sizes::Sizes,
    stats::{Spread, ratios},
};

/// CouchDB's own default since 3.4.
const ROUNDS: u32 = 600_000;
const SERVER: ServerVersion = ServerVersion { major: 3, minor: 5 };

/// Hashes this often, sequentially or each in a separate Erlang process, and prints the duration in
/// microseconds.
const ERLANG: &str = "
    Hash = fun() -> crypto:pbkdf2_hmac(sha256, <<\"a password\">>, <<\"00112233445566778899aabbccddeeff\">>, ROUNDS, 32) end,
    Hash(),
    Begun = erlang:monotonic_time(microsecond),
    case together of
        HOW -> Self = self(),
            Ids = [spawn(fun() -> Hash(), Self ! {done, self()} end) || _ <- lists:seq(1, COUNT)],
            [receive {done, Id} -> ok end || Id <- Ids];
        _ -> [Hash() || _ <- lists:seq(1, COUNT)]
    end,
    io:format(\"~p~n\", [erlang:monotonic_time(microsecond) - Begun]),
    halt().";

/// Measures the section.
pub async fn measure(sizes: &Sizes) -> Result<Section> {
    let [mut one, mut all, mut erlang_one, mut erlang_all] = [const { Vec::new() }; 4];
    for _ in 0..sizes.rounds {
        one.push(agent_alone(sizes.hashes / 2).await?);
        erlang_one.push(erlang(sizes.hashes / 2, "alone")?);
        all.push(agent_together(sizes.hashes).await?);
        erlang_all.push(erlang(sizes.hashes, "together")?);
    }
    let mut section = Section::default();
    let row = |name: &str, one: &[f64], all: &[f64]| {
        vec![name.to_owned(), spread(Spread::of(one)), spread(Spread::of(all))]
    };
    section.tables.push(Table {
        caption: format!("PBKDF2-HMAC-SHA256, {ROUNDS} rounds: users per second"),
        head: ["who", "one after the other", "all cores"].map(str::to_owned).to_vec(),
        rows: vec![row("agent", &one, &all), row("Erlang's crypto (OpenSSL)", &erlang_one, &erlang_all)],
    });
    for (name, values) in [
        ("agent, one core", &one),
        ("agent, all cores", &all),
        ("erlang, one core", &erlang_one),
        ("erlang, all cores", &erlang_all),
    ] {
        section.figures.insert(format!("{name}, users per s"), Spread::of(values));
    }
    let ratio = ratios(&all, &erlang_one).median;
    section.goals.push(Goal::at_least(
        "Users per second on all cores over CouchDB's own, which hashes one after the other",
        1.0,
        ratio,
        "×",
    ));
    let ratio = |value| Ratio { value, more_is_better: true };
    section
        .ratios
        .insert("agent's hashes over Erlang's, one core".to_owned(), ratio(ratios(&one, &erlang_one).median));
    section.ratios.insert(
        "agent's hashes over Erlang's, all cores".to_owned(),
        ratio(ratios(&all, &erlang_all).median),
    );
    Ok(section)
}

fn hasher() -> Hasher {
    Hasher::new(Iterations { sha256: ROUNDS, sha1: 10 })
}

async fn agent_alone(count: usize) -> Result<f64> {
    let (hasher, password) = (hasher(), Secret::new("a password"));
    let began = Instant::now();
    for _ in 0..count {
        hasher.hash(&password, SERVER, Rounds::default()).await.context("the runtime stops")?;
    }
    Ok(per_second(count, began.elapsed().as_secs_f64()))
}

/// Concurrently, as `create_user` does with many users.
async fn agent_together(count: usize) -> Result<f64> {
    let (hasher, password) = (hasher(), Secret::new("a password"));
    let began = Instant::now();
    let made = join_all((0..count).map(|_| hasher.hash(&password, SERVER, Rounds::default()))).await;
    ensure!(made.iter().all(Option::is_some), "the runtime stops");
    Ok(per_second(count, began.elapsed().as_secs_f64()))
}

fn erlang(count: usize, how: &str) -> Result<f64> {
    let program = ERLANG
        .replace("ROUNDS", &ROUNDS.to_string())
        .replace("COUNT", &count.to_string())
        .replace("HOW", how);
    let output =
        Command::new("erl").args(["-noshell", "-eval", &program]).output().context("cannot run erl")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let microseconds: f64 = text.trim().parse().with_context(|| format!("erl said {text:?}"))?;
    Ok(per_second(count, microseconds / 1e6))
}

#[expect(clippy::cast_precision_loss, reason = "a few dozen")]
fn per_second(count: usize, seconds: f64) -> f64 {
    count as f64 / seconds
}
