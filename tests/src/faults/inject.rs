//! Plays faults: each begins when its number of commands has been sent, lasts as long as planned, and is
//! undone.
//!
//! Undone means that the cause is gone: the process runs again, the proxy passes everything. The time from
//! then until a command succeeds is the recovery time of the report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use in_memory_couchdb::{Fault, Rule};
use tokio::task::JoinError;
use tokio::time::sleep;

use super::environment::{Environment, Guest};
use super::kinds::{FaultKind, ScheduledFault};
use super::proxy::Direction;
use crate::process::Signal;

/// A fault that was played.
#[derive(Debug, Clone)]
pub struct Played {
    /// The kind of fault.
    pub kind: FaultKind,
    /// The affected guest; a fault of the broker affects all guests.
    pub guest: usize,
    /// The number of commands sent when it began.
    pub after_commands: usize,
    /// When it began.
    pub began: Instant,
    /// When its cause was gone.
    pub ended: Instant,
}

/// Plays the faults of a plan until the campaign is over.
///
/// # Errors
/// If a fault cannot be undone: without its broker a campaign would wait forever.
pub async fn play(environment: Arc<Environment>, scheduled: Vec<ScheduledFault>) -> Result<Vec<Played>> {
    let mut playing = FuturesUnordered::new();
    let mut played = Vec::new();
    let mut scheduled = scheduled.into_iter().peekable();
    let (mut sent, mut over) = (environment.sent.subscribe(), environment.over.subscribe());
    loop {
        let due = scheduled.peek().map(|fault| fault.after_commands);
        let is_due = async {
            match due {
                Some(due) => drop(sent.wait_for(|sent| *sent >= due).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(done) = playing.next(), if !playing.is_empty() => {
                played.push(joined(done)?);
            }
            _ = over.wait_for(|over| *over) => break,
            () = is_due => {
                if let Some(fault) = scheduled.next() {
                    playing.push(tokio::spawn(play_one(Arc::clone(&environment), fault)));
                }
            }
        }
        if playing.is_empty() && scheduled.peek().is_none() {
            break;
        }
    }
    while let Some(done) = playing.next().await {
        played.push(joined(done)?);
    }
    Ok(played)
}

fn joined(done: Result<Result<Played>, JoinError>) -> Result<Played> {
    done.context("a fault panicked")?
}

async fn play_one(environment: Arc<Environment>, fault: ScheduledFault) -> Result<Played> {
    let began = Instant::now();
    let hit: Vec<&Guest> = if fault.kind.hits_everybody() {
        environment.guests.iter().collect()
    } else {
        vec![&environment.guests[fault.guest]]
    };
    for guest in &hit {
        guest.fault_begins();
    }
    let done = match fault.kind {
        FaultKind::BrokerKilled | FaultKind::BrokerStopped | FaultKind::BrokerPaused => {
            on_broker(&environment, &fault).await
        }
        FaultKind::AgentKilled | FaultKind::AgentRestarted | FaultKind::AgentPaused => {
            on_agent(&environment, &environment.guests[fault.guest], &fault).await
        }
        FaultKind::BrokerLinkCut
        | FaultKind::BrokerLinkCutMidFrame
        | FaultKind::BrokerLinkSlow
        | FaultKind::BrokerLinkDead
        | FaultKind::CouchLinkCutMidFrame => {
            on_link(&environment.guests[fault.guest], &fault).await;
            Ok(())
        }
        _ => on_couch(&environment.guests[fault.guest], &fault).await,
    };
    for guest in &hit {
        guest.fault_ends();
    }
    done.with_context(|| format!("{:?} could not be played", fault.kind))?;
    let (kind, guest) = (fault.kind, fault.guest);
    Ok(Played { kind, guest, after_commands: fault.after_commands, began, ended: Instant::now() })
}

async fn on_broker(environment: &Environment, fault: &ScheduledFault) -> Result<()> {
    let mut broker = environment.broker.lock().await;
    match fault.kind {
        FaultKind::BrokerPaused => {
            broker.signal(Signal::STOP)?;
            hold(fault).await;
            return broker.signal(Signal::CONT);
        }
        FaultKind::BrokerStopped => broker.stop().await?,
        _ => broker.kill9()?,
    }
    environment.broker_deaths.send_modify(|deaths| *deaths += 1);
    hold(fault).await;
    broker.start_again().await
}

async fn on_agent(environment: &Environment, guest: &Guest, fault: &ScheduledFault) -> Result<()> {
    let mut agent = guest.agent.lock().await;
    if let Ok(status) = agent.exit_within(Duration::ZERO).await {
        let what = format!("the agent ended by itself: {status}");
        environment.disagree(guest, what, &[]);
        return agent.start_again();
    }
    match fault.kind {
        FaultKind::AgentPaused => {
            agent.signal(Signal::STOP)?;
            hold(fault).await;
            return agent.signal(Signal::CONT);
        }
        FaultKind::AgentRestarted => {
            // Before it is ready the agent may have no signal handler yet; the signal then kills it.
            let ready = agent.notifications().iter().any(|line| line == "READY=1");
            let status = agent.terminate().await?;
            if ready && !status.success() {
                environment.disagree(guest, format!("SIGTERM ended the agent with {status}"), &[]);
            }
        }
        _ => agent.kill9()?,
    }
    // The agent may restart at once or only after a while.
    if fault.dice.is_multiple_of(3) {
        hold(fault).await;
    }
    agent.start_again()
}

async fn on_link(guest: &Guest, fault: &ScheduledFault) {
    let direction = if fault.dice.is_multiple_of(2) { Direction::Up } else { Direction::Down };
    let bytes = u32::try_from(fault.dice / 2 % 1_500).unwrap_or_default();
    match fault.kind {
        FaultKind::BrokerLinkCut => guest.broker_link.cut(),
        FaultKind::BrokerLinkCutMidFrame => {
            guest.broker_link.cut_after(direction, bytes);
            hold(fault).await;
            guest.broker_link.spare(direction);
        }
        FaultKind::CouchLinkCutMidFrame => {
            guest.couch_link.cut_after(direction, bytes);
            hold(fault).await;
            guest.couch_link.spare(direction);
        }
        FaultKind::BrokerLinkSlow => {
            guest.broker_link.delay(Duration::from_millis(20 + fault.dice % 300));
            hold(fault).await;
            guest.broker_link.delay(Duration::ZERO);
        }
        _ => {
            guest.broker_link.silence();
            // Longer than both heartbeats: the agent and the broker must notice the dead connection by
            // themselves.
            sleep(4 * Duration::from_millis(fault.hold_ms)).await;
            guest.broker_link.end_silent();
        }
    }
}

async fn on_couch(guest: &Guest, fault: &ScheduledFault) -> Result<()> {
    let mut couch = guest.couch.lock().await;
    let memory = couch.memory_mut().context("only an in-memory CouchDB fails on demand")?;
    if fault.kind == FaultKind::CouchStopped {
        memory.stop().await;
        hold(fault).await;
        return Ok(memory.start_again().await?);
    }
    let method = ["*", "PUT", "POST", "DELETE", "GET"][usize::try_from(fault.dice % 5)?];
    let times = u32::try_from(1 + fault.dice / 5 % 6)?;
    let rule = |what| Rule::new(method, "*", what);
    let unavailable =
        Fault::Answer { status: 503, body: r#"{"error":"service_unavailable","reason":"chaos"}"#.to_owned() };
    memory.faults().add(match fault.kind {
        FaultKind::CouchFails => rule(unavailable).times(times),
        FaultKind::CouchCuts => rule(Fault::Cut).times(times),
        FaultKind::CouchCutsAfterEffect => rule(Fault::Cut).times(times).after_effect(),
        FaultKind::CouchCutsMidBody => rule(Fault::CutMidBody).times(times),
        FaultKind::CouchHangs => Rule::new("*", "*", Fault::Hang),
        FaultKind::CouchSlow => Rule::new("*", "*", Fault::DelayMs(20 + fault.dice % 400)),
        other => bail!("{other:?} is no fault of CouchDB"),
    });
    hold(fault).await;
    memory.faults().clear();
    Ok(())
}

async fn hold(fault: &ScheduledFault) {
    sleep(Duration::from_millis(fault.hold_ms)).await;
}
