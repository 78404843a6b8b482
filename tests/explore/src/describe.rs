//! Steps in words: the lines of a counterexample.

use trove_couchdb_delivery::Action;

use crate::{
    step::{Step, Way},
    world::World,
};

impl Step {
    /// The step in words.
    pub(crate) fn describe(self, world: &World) -> String {
        let name = |message: u8| world.message(message).name;
        match self {
            Self::Start => "the agent starts".to_owned(),
            Self::Connect => "the agent connects to the broker".to_owned(),
            Self::Carry(task, way) => describe_task(world, task, way),
            Self::Acknowledged => "the broker reads an acknowledgement".to_owned(),
            Self::Deliver => {
                let next = world.next_message().map(name).unwrap_or_default();
                format!("the broker delivers {next} as delivery {}", world.next_delivery())
            }
            Self::PutBack => {
                let next = world.next_message().map(name).unwrap_or_default();
                format!("{next} IS PUT BACK UNREAD")
            }
            Self::CaughtUp => "the queue is empty: the agent has caught up".to_owned(),
            Self::Publish => {
                format!("the control plane sends {}", world.next_to_publish().map(name).unwrap_or_default())
            }
            Self::Send(message) => format!("{} is sent as delivery {}", name(message), world.next_delivery()),
            Self::Exit => "the agent exits".to_owned(),
            Self::GiveUp(message) => format!("the caller of {} gives up", name(message)),
            Self::Cancel(operation) => format!("an operator cancels {}", name(operation)),
            Self::Cancelled(operation) => format!("the disk has the cancellation of {}", name(operation)),
            Self::Kill => "KILL -9".to_owned(),
            Self::Tear(message) => format!("KILL -9, AND THE RECORD OF {} IS TORN", name(message)),
            Self::GraceOver => "THE GRACE PERIOD IS OVER".to_owned(),
            Self::Lose => "THE CONNECTION IS LOST".to_owned(),
            Self::CloseChannel => "THE BROKER CLOSES THE CHANNEL OF ANSWERS".to_owned(),
            Self::Terminate => "SIGTERM".to_owned(),
            Self::PublishAgain(message) => format!("{} IS PUBLISHED AGAIN", name(message)),
            Self::LoseQueue => "THE QUEUE IS LOST, WITH THE CONNECTION".to_owned(),
        }
    }
}

fn describe_task(world: &World, task: u8, way: Way) -> String {
    let Some((action, published)) = world.task(task) else { return String::new() };
    let of = |delivery| format!("{} (delivery {})", world.name_of(delivery), delivery.0);
    let what = match action {
        Action::NoteBeginning(delivery) => format!("the disk notes that {} begins", of(*delivery)),
        Action::HandOver(delivery) => format!("the disk takes {} over", of(*delivery)),
        Action::Run { delivery, again } => {
            format!("{} has run{}", of(*delivery), if *again { " (again)" } else { "" })
        }
        Action::Rest(delivery) => format!("{} has rested", of(*delivery)),
        Action::Refuse { delivery, why } => format!("{} is refused: {why:?}", of(*delivery)),
        Action::Write { delivery, kept, .. } => format!("the disk has the {kept:?} of {}", of(*delivery)),
        Action::Reply { delivery, .. } if published => {
            format!("the answer of {} is confirmed", of(*delivery))
        }
        Action::Reply { delivery, answer } => format!("{} is answered: {answer:?}", of(*delivery)),
        Action::Acknowledge(delivery) => format!("{} is acknowledged", of(*delivery)),
        Action::Reject { delivery, .. } => format!("{} is rejected", of(*delivery)),
        Action::Forget(id) => format!("the record of id {} is dropped", id.0[0]),
        other => format!("{other:?}"),
    };
    match way {
        Way::Well => what,
        Way::DiskFails => format!("THE DISK FAILS: {what}"),
        Way::FailsForNow => format!("COUCHDB FAILS IN THE MIDDLE, to be asked again: {what}"),
        Way::Fails => format!("COUCHDB FAILS FOR GOOD: {what}"),
        Way::CutShort => format!("CUT SHORT AT THE AGENT'S END: {what}"),
        Way::Panics => format!("A PANIC: {what}"),
        Way::Returned => format!("THE ANSWER HAS NO RECEIVER: {what}"),
        Way::Blocked => format!("THE BROKER TAKES NOTHING AND THE AGENT ENDS: {what}"),
    }
}
