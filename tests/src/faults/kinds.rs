//! The kinds of faults and their probabilities.

use rand::RngExt;
use rand::rngs::StdRng;
use serde::Serialize;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// RabbitMQ is killed (`kill -9`) and starts again with its data on disk.
    BrokerKilled,
    /// RabbitMQ is stopped cleanly and started again.
    BrokerStopped,
    /// RabbitMQ hangs (`SIGSTOP`) and continues.
    BrokerPaused,
    /// The agent's connection to RabbitMQ is cut.
    BrokerLinkCut,
    /// The agent's connection to RabbitMQ is cut in the middle of a frame, in one direction.
    BrokerLinkCutMidFrame,
    /// Every packet between agent and RabbitMQ is delayed.
    BrokerLinkSlow,
    /// The connection stays open but passes nothing: half open.
    BrokerLinkDead,
    /// CouchDB stops and starts again.
    CouchStopped,
    /// CouchDB answers 503.
    CouchFails,
    /// CouchDB closes connections instead of answering; the request has no effect.
    CouchCuts,
    /// CouchDB closes connections instead of answering; the request takes effect.
    CouchCutsAfterEffect,
    /// CouchDB truncates its answers.
    CouchCutsMidBody,
    /// CouchDB does not answer.
    CouchHangs,
    /// CouchDB is slow.
    CouchSlow,
    /// The agent's connections to CouchDB are cut in the middle of a request or an answer.
    CouchLinkCutMidFrame,
    /// The agent is killed (`kill -9`) and started again.
    AgentKilled,
    /// The agent is restarted (`SIGTERM`).
    AgentRestarted,
    /// The agent hangs (`SIGSTOP`) and continues.
    AgentPaused,
}

/// A planned fault.
#[derive(Debug, Clone)]
pub struct ScheduledFault {
    /// The fault begins when this many commands have been sent.
    pub after_commands: usize,
    /// The kind of fault.
    pub kind: FaultKind,
    /// The affected guest, unless the fault affects the broker.
    pub guest: usize,
    /// How long it lasts, in milliseconds.
    pub hold_ms: u64,
    /// Random bits for further choices: how many bytes, which requests, how much delay.
    pub dice: u64,
}

impl FaultKind {
    /// The kinds with their weights: a broker takes 5 s to restart, so it dies less often than the agent.
    const ALL: &'static [(Self, u32)] = &[
        (Self::BrokerKilled, 6),
        (Self::BrokerStopped, 2),
        (Self::BrokerPaused, 4),
        (Self::BrokerLinkCut, 7),
        (Self::BrokerLinkCutMidFrame, 8),
        (Self::BrokerLinkSlow, 5),
        (Self::BrokerLinkDead, 3),
        (Self::CouchStopped, 9),
        (Self::CouchFails, 6),
        (Self::CouchCuts, 6),
        (Self::CouchCutsAfterEffect, 9),
        (Self::CouchCutsMidBody, 5),
        (Self::CouchHangs, 3),
        (Self::CouchSlow, 5),
        (Self::CouchLinkCutMidFrame, 6),
        (Self::AgentKilled, 22),
        (Self::AgentRestarted, 6),
        (Self::AgentPaused, 3),
    ];

    /// Chooses a kind by weight; with `lasting`, only kinds that do not stop the agent.
    pub fn random(rng: &mut StdRng, lasting: bool) -> Self {
        let among: Vec<_> =
            Self::ALL.iter().filter(|(kind, _)| !(lasting && kind.ends_the_agent())).collect();
        let mut dice = rng.random_range(0..among.iter().map(|(_, weight)| weight).sum());
        for (kind, weight) in among {
            if dice < *weight {
                return *kind;
            }
            dice -= weight;
        }
        Self::CouchStopped
    }

    fn ends_the_agent(self) -> bool {
        matches!(self, Self::AgentKilled | Self::AgentRestarted)
    }

    /// Whether it affects the broker and so every guest.
    pub fn hits_everybody(self) -> bool {
        matches!(self, Self::BrokerKilled | Self::BrokerStopped | Self::BrokerPaused)
    }
}
