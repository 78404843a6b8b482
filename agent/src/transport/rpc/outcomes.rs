//! The outcome of each command whose message the broker may still redeliver: the file `outcomes`.
//!
//! One JSON object per line; a later line about a command replaces an earlier one. A line is on the disk
//! before the command is answered, and before a later command on the same user or database may run. So a
//! redelivered command is answered again and never run again, by this agent or by the next one.
//!
//! ```text
//! {"record": {"at": 1795939200, "marks": ["<id>", ...], "changes": {"users": [], ...}, ..., "outcome": null}}
//! {"record": {"at": 1795939200, "marks": ["<id>", ...], ..., "outcome": "done"}}
//! {"record": {"at": 1795939201, "marks": ["<id>", ...], ..., "outcome": {"failed": {"class": ..., ...}}}}
//! {"acknowledged": "<id>"}
//! ```
//!
//! The first kind of line records that a command begins. It need not reach the disk: it is for the next agent
//! on the running machine, which rejects local commands on what was left half done.
//!
//! The file contains the text of failures and, until their messages are acknowledged, the seeds of generated
//! passwords: mode 0600.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize, Serializer};
use trove_couchdb_protocol::{Failure, FailureClass, OperationId, Outcome, Seal, Secret};

use super::replay::ReplayTags;
use crate::{
    commands::{Changes, Seed},
    operations::End,
    system,
};

/// In the state directory.
const FILE_NAME: &str = "outcomes";

const MODE: u32 = 0o600;

/// How long a record is kept if its message is never acknowledged, for example after a broker has lost its
/// queues.
const OLDEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What repeating the answer to a command needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::transport) enum RecordedOutcome {
    /// It succeeded and has no result.
    Done,
    /// It succeeded, with a result that is derived from the command and its seed.
    Answered,
    /// It failed.
    Failed(Failure),
    /// It became the operation with this id, which continues on its own.
    HandedOver(OperationId),
}

impl RecordedOutcome {
    pub(super) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Success(serde_json::Value::Null) => Self::Done,
            Outcome::Success(_) => Self::Answered,
            Outcome::Failure(failure) => Self::Failed(failure.clone()),
        }
    }
}

impl From<End> for RecordedOutcome {
    fn from(end: End) -> Self {
        match end {
            End::Succeeded => Self::Done,
            End::Failed(failure) | End::Cancelled(failure) => Self::Failed(failure),
        }
    }
}

/// For a sender that repeats the command over the other transport: results are not kept for that, as they can
/// be large and contain passwords.
impl From<RecordedOutcome> for Outcome {
    fn from(recorded: RecordedOutcome) -> Self {
        match recorded {
            RecordedOutcome::Done => Self::Success(serde_json::Value::Null),
            RecordedOutcome::Failed(failure) => Self::Failure(failure),
            RecordedOutcome::Answered => carried_out(),
            RecordedOutcome::HandedOver(id) => Self::Success(id.as_str().into()),
        }
    }
}

/// The answer if a command was run and its result is not known here.
pub(super) fn carried_out() -> Outcome {
    let text = "a command with this id was carried out before, and its answer went to who sent it first; \
                send it with a new id to have it done again";
    Outcome::Failure(Failure::new(FailureClass::Duplicate, text))
}

/// The record of one command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CommandRecord {
    /// When it was created, in seconds since 1970.
    at: u64,
    /// The marks of its message in hexadecimal; the first is the mark of its id.
    marks: Vec<String>,
    /// What it changes; set before it runs.
    #[serde(default)]
    changes: Option<Changes>,
    #[serde(serialize_with = "exposed")]
    seed: Option<Secret>,
    /// `None` until it has ended.
    outcome: Option<RecordedOutcome>,
}

impl CommandRecord {
    /// The record of a command that has not begun.
    pub(super) fn new(marks: &ReplayTags) -> Self {
        let marks = marks.seals().map(|seal| hex::encode(seal.0)).collect();
        Self { at: now(), marks, changes: None, seed: None, outcome: None }
    }

    pub(super) fn begin(&mut self, changes: Changes) {
        self.changes = Some(changes);
    }

    pub(super) fn plant(&mut self, seed: &Seed) {
        self.seed = Some(seed.text().clone());
    }

    /// What the command changes. `None` if it had not begun.
    pub(super) fn changes(&self) -> Option<&Changes> {
        self.changes.as_ref()
    }

    pub(super) fn outcome(&self) -> Option<&RecordedOutcome> {
        self.outcome.as_ref()
    }

    pub(super) fn seed(&self) -> Option<Seed> {
        self.seed.clone().map(Seed::from_text)
    }

    pub(super) fn end(&mut self, outcome: RecordedOutcome) {
        self.outcome = Some(outcome);
    }

    /// The marks; `None` if no agent wrote the line.
    pub(super) fn marks(&self) -> Option<ReplayTags> {
        let seals = self.marks.iter().map(|text| seal(text)).collect::<Option<Vec<_>>>()?;
        (!seals.is_empty()).then(|| ReplayTags::from_seals(seals))
    }

    fn is_too_old(&self) -> bool {
        now().saturating_sub(self.at) > OLDEST.as_secs()
    }
}

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Record(CommandRecord),
    Acknowledged(String),
}

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Commands whose messages are not acknowledged as far as the file shows, oldest first.
    pub(super) unacknowledged: Vec<(ReplayTags, CommandRecord)>,
    /// Marks of the other commands.
    pub(super) acknowledged: Vec<ReplayTags>,
}

/// The file.
#[derive(Debug)]
pub(super) struct OutcomeFile {
    path: PathBuf,
    /// `None` until first used, and after a failure.
    open: Option<File>,
    /// `None` if the file is missing or may end in an incomplete line: it must be rewritten.
    lines: Option<usize>,
}

impl OutcomeFile {
    /// Reads the file. Blocks.
    ///
    /// # Errors
    /// Reading the file failed. Lines that cannot be parsed are skipped; the second value is their number.
    pub(super) fn load(state_dir: &Path) -> (Self, io::Result<(Stored, usize)>) {
        let path = state_dir.join(FILE_NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                let missing = error.kind() == io::ErrorKind::NotFound;
                let read = if missing { Ok((Stored::default(), 0)) } else { Err(error) };
                return (Self { path, open: None, lines: None }, read);
            }
        };
        let (stored, unreadable) = parse(&text);
        let whole = unreadable == 0 && (text.is_empty() || text.ends_with('\n'));
        let lines = whole.then(|| text.lines().count());
        (Self { path, open: None, lines }, Ok((stored, unreadable)))
    }

    #[cfg(test)]
    pub(super) fn writes_to(&mut self, file: File) {
        self.open = Some(file);
    }

    pub(super) fn lines(&self) -> usize {
        self.lines.unwrap_or_default()
    }

    /// Appends records; with `sync` it returns when they are on the disk. `all` returns all records, in case
    /// the file must be rewritten.
    pub(super) fn add(
        &mut self,
        new: &[CommandRecord],
        sync: bool,
        all: impl FnOnce() -> Vec<CommandRecord>,
    ) -> io::Result<()> {
        if self.lines.is_none() {
            return self.replace(&all());
        }
        let text =
            new.iter().map(|record| line(&Line::Record(record.clone()))).collect::<Result<String, _>>()?;
        self.append(&text, new.len(), sync)
    }

    /// Notes that a message is acknowledged. This need not reach the disk: the command would only be answered
    /// once more.
    pub(super) fn note_acknowledged(&mut self, id: Seal) -> io::Result<()> {
        if self.lines.is_none() {
            return Ok(());
        }
        self.append(&line(&Line::Acknowledged(hex::encode(id.0)))?, 1, false)
    }

    /// Rewrites the file.
    pub(super) fn replace(&mut self, records: &[CommandRecord]) -> io::Result<()> {
        (self.open, self.lines) = (None, None);
        let records = records.iter().map(|record| line(&Line::Record(record.clone())));
        let text = zeroize::Zeroizing::new(records.collect::<Result<String, _>>()?);
        system::replace(&self.path, text.as_bytes(), MODE)?;
        self.lines = Some(text.lines().count());
        Ok(())
    }

    fn append(&mut self, text: &str, lines: usize, sync: bool) -> io::Result<()> {
        let known = self.lines.take().unwrap_or_default();
        let mut file = match self.open.take() {
            Some(file) => file,
            None => File::options().append(true).open(&self.path)?,
        };
        file.write_all(text.as_bytes())?;
        if sync {
            file.sync_data()?;
        }
        (self.open, self.lines) = (Some(file), Some(known + lines));
        Ok(())
    }
}

fn parse(text: &str) -> (Stored, usize) {
    let mut stored = Stored::default();
    let mut unreadable = 0;
    for line in text.lines() {
        match serde_json::from_str(line) {
            Ok(Line::Record(record)) => match record.marks() {
                Some(marks) if record.is_too_old() => {
                    stored.acknowledged.extend(record.outcome().is_some().then_some(marks));
                }
                Some(marks) => {
                    stored.unacknowledged.retain(|(known, _)| known.id() != marks.id());
                    stored.unacknowledged.push((marks, record));
                }
                None => unreadable += 1,
            },
            Ok(Line::Acknowledged(id)) => {
                let id = seal(&id);
                let gone = stored.unacknowledged.iter().position(|(marks, _)| marks.id() == id);
                if let Some((marks, record)) = gone.map(|index| stored.unacknowledged.remove(index)) {
                    // A command without an outcome was requeued before it began, and must run.
                    stored.acknowledged.extend(record.outcome().is_some().then_some(marks));
                }
            }
            Err(_) => unreadable += 1,
        }
    }
    (stored, unreadable)
}

fn line(line: &Line) -> io::Result<String> {
    Ok(serde_json::to_string(line)? + "\n")
}

pub(super) fn seal(text: &str) -> Option<Seal> {
    let mut bytes = [0; 16];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(Seal(bytes))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[allow(clippy::ref_option, reason = "the signature is serde's")]
fn exposed<S: Serializer>(seed: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    seed.as_ref().map(Secret::expose).serialize(serializer)
}
