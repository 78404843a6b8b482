//! The messages that are sent, and the limits of the agent.

mod message;

use trove_couchdb_delivery::Source;

pub(crate) use message::{Bits, Message, THINGS, mark_of};

/// Messages and the limits of the agent.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The name for `ONLY=`.
    pub name: &'static str,
    /// The purpose.
    pub about: &'static str,
    pub(crate) messages: Vec<Message>,
    pub(crate) places: usize,
    /// The number of outcomes that the agent remembers.
    pub(crate) endings: usize,
    /// The number of marks that the agent remembers.
    pub(crate) marks: usize,
    /// An operator may cancel the operations.
    pub(crate) cancels: bool,
    /// An agent that starts again has no broker.
    pub(crate) loses_broker: bool,
    /// The control plane may send messages at any time; otherwise it sends all of them before any other step.
    pub(crate) sends_late: bool,
}

impl Scenario {
    fn new(name: &'static str, about: &'static str, messages: Vec<Message>) -> Self {
        Self {
            name,
            about,
            messages,
            places: 2,
            endings: 10,
            marks: 100,
            cancels: false,
            loses_broker: false,
            sends_late: false,
        }
    }
}

impl Scenario {
    /// The agent remembers fewer messages than there are.
    pub(crate) fn forgets(&self) -> bool {
        self.marks < self.messages.len()
    }
}

/// All scenarios.
#[allow(clippy::too_many_lines, reason = "a list")]
pub fn all() -> Vec<Scenario> {
    const USER: u8 = 1;
    const DATABASE: u8 = 2;
    const OTHER: u8 = 4;
    let delete = Message::cast("delete_database a", 1, DATABASE);
    let create = Message::cast("create_database a", 2, DATABASE);
    let grant = Message::cast("grant_access al a", 1, USER | DATABASE);
    vec![
        Scenario::new("chain", "delete and create the same database", vec![delete.clone(), create.clone()]),
        Scenario::new(
            "grant",
            "grant, delete one of the two, and another user",
            vec![
                grant.clone(),
                Message::cast("delete_database a", 2, DATABASE),
                Message::cast("create_user bo", 3, OTHER),
            ],
        ),
        Scenario::new(
            "read",
            "a read between two changes",
            vec![
                Message::cast("create_user al", 1, USER),
                Message::read("get_user al", 2, USER).encrypted(),
                Message::cast("delete_user al", 3, USER),
            ],
        ),
        Scenario {
            sends_late: true,
            ..Scenario::new(
                "socket",
                "a process of the machine changes what the broker's command changes",
                vec![grant.clone(), Message::socket("database-create a (socket)", 2, DATABASE)],
            )
        },
        Scenario {
            sends_late: true,
            ..Scenario::new(
                "socket-read",
                "a process of the machine reads what the broker's command changes",
                vec![grant.clone(), Message::new("get_user al (socket)", 2, Source::Socket, USER, 0)],
            )
        },
        Scenario::new(
            "unreadable",
            "a message that is no request, and a command",
            vec![
                Message { is_unreadable: true, ..Message::cast("rubbish", 1, 0) },
                Message::cast("create_user al", 2, USER),
            ],
        ),
        Scenario::new(
            "both-ways",
            "the same id over the broker and the socket, and a later change",
            vec![
                grant.clone(),
                Message::socket("grant_access al a (socket)", 1, USER | DATABASE),
                Message::cast("delete_database a", 2, DATABASE),
            ],
        ),
        Scenario::new(
            "call-both-ways",
            "the same call over the broker and the socket",
            vec![
                Message::call("create_user al (call)", 1, USER),
                Message::socket("create_user al (socket)", 1, USER),
            ],
        ),
        Scenario {
            sends_late: true,
            ..Scenario::new(
                "deadline",
                "a call whose caller gives up while it waits for its turn",
                vec![
                    Message::cast("create_user al", 1, USER),
                    Message::call("change_password al (call)", 2, USER),
                ],
            )
        },
        Scenario::new(
            "abandoned",
            "a call that is left with the broker, between two others",
            vec![
                Message::cast("create_user al", 1, USER),
                Message::call("grant_access al a (call)", 2, USER | DATABASE),
                Message::cast("create_database a", 3, DATABASE),
            ],
        ),
        Scenario {
            places: 1,
            sends_late: true,
            ..Scenario::new(
                "place",
                "a call whose caller gives up while it waits for a place",
                vec![
                    Message::cast("create_user al", 1, USER),
                    Message::call("create_database a (call)", 2, DATABASE),
                ],
            )
        },
        Scenario::new(
            "forged",
            "the parts of a message under another id",
            vec![
                grant.clone().encrypted(),
                Message { parts_of: Some(1), ..Message::cast("delete_database a (forged)", 2, DATABASE) },
            ],
        ),
        Scenario::new(
            "forged-read",
            "the parts of a read under another id",
            vec![
                Message::read("get_user al", 1, USER).encrypted(),
                Message { parts_of: Some(1), ..Message::cast("delete_user al (forged)", 2, USER) },
            ],
        ),
        Scenario::new(
            "secret",
            "a password that is made up, and an unknown method",
            vec![
                Message { has_secret: true, ..Message::call("enable_root (call)", 1, USER) },
                Message { is_unacceptable: true, ..Message::cast("unknown", 2, 0) },
                Message::cast("disable_root", 3, USER),
            ],
        ),
        Scenario::new(
            "rotation",
            "a scheduled rotation among commands that change the same",
            vec![
                Message::cast("rotate_os_admin", 1, USER),
                Message::new("scheduled rotation", 2, Source::Own, 0, USER),
                Message::socket("rotate (socket)", 3, USER),
            ],
        ),
        Scenario {
            sends_late: true,
            ..Scenario::new(
                "operation",
                "a long command, and one that meets it",
                vec![
                    Message::cast("prepare", 1, USER | DATABASE).becomes(2),
                    Message::cast("create_user al", 2, USER),
                    Message::operation("preparation", 3, USER | DATABASE),
                ],
            )
        },
        Scenario::new(
            "operation-unreadable",
            "a long command that a later agent can't read",
            vec![
                Message::cast("prepare", 1, USER).becomes(1),
                Message { is_unacceptable: true, ..Message::operation("preparation", 2, USER) },
            ],
        ),
        Scenario::new(
            "operation-both-ways",
            "the same long command over the broker and the socket",
            vec![
                Message::cast("prepare", 1, USER).becomes(2),
                Message::socket("prepare (socket)", 1, USER).becomes(2),
                Message::operation("preparation", 3, USER),
            ],
        ),
        Scenario::new(
            "operation-waits",
            "a long command behind a short one, and a call behind it",
            vec![
                Message::cast("create_user al", 1, USER),
                Message::cast("prepare", 2, USER | DATABASE).becomes(3),
                Message::call("delete_user al (call)", 3, USER),
                Message::operation("preparation", 4, USER | DATABASE),
            ],
        ),
        Scenario {
            cancels: true,
            ..Scenario::new(
                "cancel",
                "a long command that an operator cancels",
                vec![
                    Message::cast("prepare", 1, USER).becomes(1),
                    Message::operation("preparation", 2, USER),
                ],
            )
        },
        Scenario {
            cancels: true,
            ..Scenario::new(
                "operations",
                "two long commands that conflict, one of them a call",
                vec![
                    Message::call("create_backup (call)", 1, DATABASE).becomes(2),
                    Message::cast("prepare", 2, USER | DATABASE).becomes(3),
                    Message::operation("backup", 3, DATABASE),
                    Message::operation("preparation", 4, USER | DATABASE),
                ],
            )
        },
        Scenario::new("alone", "one command", vec![Message::cast("create_user al", 1, USER)]),
        Scenario {
            places: 1,
            ..Scenario::new(
                "places",
                "three commands that wait for the same place",
                vec![
                    Message::call("create_user al (call)", 1, USER),
                    Message::cast("create_database a", 2, DATABASE),
                    Message::read("get_user bo", 3, OTHER),
                ],
            )
        },
        Scenario::new(
            "forged-id",
            "other parts under the id of a message",
            vec![
                grant.clone().encrypted(),
                Message { parts_of: Some(9), ..Message::cast("grant_access (forged)", 1, USER | DATABASE) },
            ],
        ),
        Scenario {
            loses_broker: true,
            ..Scenario::new(
                "no-broker",
                "a machine that is taken from its broker",
                vec![grant.clone(), Message::socket("database-create a (socket)", 2, DATABASE)],
            )
        },
        Scenario {
            endings: 1,
            marks: 1,
            ..Scenario::new(
                "forgotten",
                "more messages than the agent recognises",
                vec![
                    Message::cast("create_user al", 1, USER),
                    Message::cast("create_database a", 2, DATABASE),
                ],
            )
        },
        Scenario {
            endings: 1,
            ..Scenario::new(
                "evicted",
                "more endings than the agent remembers",
                vec![delete, create, Message::cast("create_user al", 3, USER)],
            )
        },
    ]
}
