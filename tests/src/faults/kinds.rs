//! The kinds of faults, and how often each is chosen.

use rand::RngExt;
use rand::rngs::StdRng;
use serde::Serialize;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// RabbitMQ dies (`kill -9`) and starts again with what it had on the disk.
    BrokerKilled,
    /// RabbitMQ is stopped in an orderly way and started again.
    BrokerStopped,
    /// RabbitMQ hangs (`SIGSTOP`) and goes on.
    BrokerPaused,
    /// The agent's connection to RabbitMQ is cut.
    BrokerLinkCut,
    /// The same in the middle of a frame, in one direction or the other.
    BrokerLinkCutMidFrame,
    /// Every packet between agent and RabbitMQ is late.
    BrokerLinkSlow,
    /// The connection stands and nothing passes: half open.
    BrokerLinkDead,
    /// CouchDB dies and starts again.
    CouchStopped,
    /// CouchDB answers 503.
    CouchFails,
    /// CouchDB closes connections instead of answering; the request had no effect.
    CouchCuts,
    /// The same, and the request took effect.
    CouchCutsAfterEffect,
    /// CouchDB cuts its answers in the middle.
    CouchCutsMidBody,
    /// CouchDB does not answer at all.
    CouchHangs,
    /// CouchDB is slow.
    CouchSlow,
    /// The agent's connections to CouchDB are cut in the middle of a request or an answer.
    CouchLinkCutMidFrame,
    /// The agent dies (`kill -9`) and is started again.
    AgentKilled,
    /// The agent is restarted (`SIGTERM`).
    AgentRestarted,
    /// The agent hangs (`SIGSTOP`) and goes on.
    AgentPaused,
}

/// A fault of a plan.
#[derive(Debug, Clone)]
pub struct PlannedFault {
    /// Begins when so many commands have been sent.
    pub after_commands: usize,
    /// What.
    pub kind: FaultKind,
    /// To which guest, if not to the broker.
    pub guest: usize,
    /// How long it stays.
    pub hold_ms: u64,
    /// Whatever else is to be chosen: how many bytes, which requests, how late.
    pub dice: u64,
}

impl FaultKind {
    /// With its weight: a broker takes 5 s to come back, so it dies less often than the agent.
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

    /// One of them, by weight; `lasting`: none that ends the agent.
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

    /// Whether it hits the broker, and with it every guest.
    pub fn hits_everybody(self) -> bool {
        matches!(self, Self::BrokerKilled | Self::BrokerStopped | Self::BrokerPaused)
    }
}
