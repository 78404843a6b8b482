//! The agent's own commands on operations: list, show, cancel and rehearse.

use std::time::Duration as Time;

use futures_util::{FutureExt, future};
use serde_json::{Value, json};
use tokio::time;
use trove_couchdb_protocol::{DecodeError, Field, OperationId, trove::Method};

use super::{
    Arguments, Command, CommandEntry, Decode, Duration, Guest, Needs, OperationError, Run, Running, entry,
};
use crate::operations::{NotCancelled, OperationRecord, Progress};

pub(super) const COMMANDS: &[CommandEntry] = &[
    entry::<OperationCancel>(Method::OperationCancel),
    entry::<OperationList>(Method::OperationList),
    entry::<OperationRehearse>(Method::OperationRehearse),
    entry::<OperationShow>(Method::OperationShow),
];

fn id_of(args: &Arguments<'_>) -> Result<OperationId, DecodeError> {
    let field = args.required("operation")?;
    let expected = "the id of an operation, as operation-list has them";
    let no_id = |_| DecodeError::WrongType { field: "operation".to_owned(), expected };
    field.string()?.parse().map_err(no_id)
}

/// `operation_list`: the operations that are in progress or ended recently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OperationList;

impl Decode for OperationList {
    fn decode(_: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

impl Command for OperationList {
    fn method(&self) -> Method {
        Method::OperationList
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        let all: Vec<Value> = guest.operations.all().iter().map(OperationRecord::summary).collect();
        future::ready(Ok(Value::Array(all))).boxed()
    }
}

/// `operation_show`: one operation, with its log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OperationShow(OperationId);

impl Decode for OperationShow {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        id_of(args).map(Self)
    }
}

impl Command for OperationShow {
    fn method(&self) -> Method {
        Method::OperationShow
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        let found = guest.operations.get(&self.0).map(|record| record.details());
        future::ready(found.ok_or_else(|| OperationError::Unknown(self.0.clone()).into())).boxed()
    }
}

/// `operation_cancel`: cancels an operation. The answer does not wait for the operation to end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OperationCancel(OperationId);

impl Decode for OperationCancel {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        id_of(args).map(Self)
    }
}

impl Command for OperationCancel {
    fn method(&self) -> Method {
        Method::OperationCancel
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, guest: &'a Guest, _: Run<'a>) -> Running<'a> {
        async move {
            let id = || self.0.clone();
            let told = guest.operations.cancel(&self.0).await.map_err(|why| match why {
                NotCancelled::Unknown => OperationError::Unknown(id()),
                NotCancelled::Over => OperationError::Over(id()),
            })?;
            let problem =
                |error: std::io::Error| OperationError::NotWritten { id: id(), problem: error.to_string() };
            Ok(told.map_err(problem)?.summary())
        }
        .boxed()
    }

    /// Only operators of the machine may cancel a half-finished backup or restore.
    fn is_local_only(&self) -> bool {
        true
    }
}

/// `operation_rehearse`: an operation without any effect, to test progress, metrics and alarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OperationRehearse {
    seconds: u32,
}

/// Its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RehearsalStep {
    Begin,
    Work,
    Finish,
}

/// One day.
const MOST_SECONDS: u32 = 24 * 60 * 60;

impl Decode for OperationRehearse {
    fn decode(args: &Arguments<'_>) -> Result<Self, DecodeError> {
        let wrong = || DecodeError::WrongType {
            field: "seconds".to_owned(),
            expected: "a number of seconds from 0 to 86400",
        };
        let seconds = args.optional_as("seconds", Field::count)?.unwrap_or(10);
        let seconds =
            u32::try_from(seconds).ok().filter(|seconds| *seconds <= MOST_SECONDS).ok_or_else(wrong)?;
        Ok(Self { seconds })
    }
}

impl Command for OperationRehearse {
    fn method(&self) -> Method {
        Method::OperationRehearse
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn duration(&self) -> Duration {
        Duration::Long
    }

    fn run<'a>(&'a self, _: &'a Guest, run: Run<'a>) -> Running<'a> {
        async move {
            run.enter(RehearsalStep::Begin.name()).await;
            run.enter(RehearsalStep::Work.name()).await;
            for done in 0..self.seconds {
                let (done, total) = (u64::from(done), Some(u64::from(self.seconds)));
                run.progress(Progress { done, total, unit: "seconds".to_owned() }).await;
                time::sleep(Time::from_secs(1)).await;
            }
            run.enter(RehearsalStep::Finish.name()).await;
            Ok(Value::Null)
        }
        .boxed()
    }

    fn about(&self) -> Value {
        json!({"seconds": self.seconds})
    }

    /// Only for operators of the machine.
    fn is_local_only(&self) -> bool {
        true
    }
}

impl RehearsalStep {
    const fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Work => "work",
            Self::Finish => "finish",
        }
    }
}
