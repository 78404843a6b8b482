//! Parses a schedule that `make explore` printed.
//!
//! Each line is one event, with or without its number. An unknown line is an error that quotes it, so that a
//! change of the explorer's wording is noticed, and an event without a counterpart outside of the agent is an
//! error that says why. Caller: [`super::replay`].

use anyhow::{Context, Result, bail, ensure};

/// How a command is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// Over the broker, without a caller that waits.
    Cast,
    /// Over the broker, with a caller that waits.
    Call,
    /// Over the agent's socket.
    Socket,
}

/// A command that a replay can send.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Command {
    /// One of [`METHODS`].
    pub method: String,
    /// The user, the database, or both.
    pub on: Vec<String>,
    /// How it is sent.
    pub way: Way,
}

/// A command together with its delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command.
    pub command: Command,
    /// The number of the delivery.
    pub delivery: u64,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The process starts.
    Starts,
    /// The process connects to the broker.
    Connects,
    /// A message is published.
    Sent(Command),
    /// The same message is published again.
    SentAgain(Command),
    /// A message is sent over the socket.
    SentLocally(Run),
    /// The caller's time is over.
    GaveUp(Command),
    /// The broker has delivered the command.
    Delivered(Run),
    /// The command's requests are sent to CouchDB.
    Begins(Run),
    /// CouchDB has carried out the command's requests.
    HasRun(Run),
    /// CouchDB fails in the middle, and is asked again.
    FailsForNow(Run),
    /// CouchDB refuses the command.
    Fails(Run),
    /// The outcome is on disk.
    Recorded(Run),
    /// The disk has refused the outcome.
    Refused(Run),
    /// The acknowledgement was sent.
    Acknowledged(Run),
    /// The process is killed.
    Killed,
    /// The process is killed, and the end of the file of outcomes is torn.
    Torn,
    /// The process gets SIGTERM.
    Told,
    /// The connection to the broker is cut.
    Cut,
    /// The broker closes the channel on which the agent publishes.
    ChannelClosed,
    /// The queue is deleted, and the connection is cut.
    QueueLost,
    /// An internal event, which happens by itself.
    Inside,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The printed text, without the number.
    pub text: String,
    /// The parsed event.
    pub event: Event,
}

/// The explorer's names of commands, Trove's methods, and the number of their users and databases.
const METHODS: [(&str, &str, usize); 8] = [
    ("create_database", "create_database", 1),
    ("database-create", "create_database", 1),
    ("delete_database", "delete_database", 1),
    ("create_user", "create_user", 1),
    ("delete_user", "delete_user", 1),
    ("change_password", "change_password", 1),
    ("get_user", "get_user", 1),
    ("grant_access", "grant_access", 2),
];

/// Parts of lines that have no counterpart outside of the agent, and why.
const ONLY_INSIDE: [(&str, &str); 9] = [
    ("IS PUT BACK UNREAD", "the agent can't be suspended at exactly this moment"),
    ("A PANIC: ", "no request makes the agent panic"),
    ("CUT SHORT AT THE AGENT'S END: ", "the harness does not know when the agent gives a command up"),
    ("THE BROKER TAKES NOTHING", "a broker under an alarm blocks all publishers, also the harness"),
    ("THE ANSWER HAS NO RECEIVER: ", "all answers go to the harness's own queue, which stays"),
    ("the disk takes ", "operations are replayed by the tests of `operations`"),
    (" cancels ", "operations are replayed by the tests of `operations`"),
    ("the cancellation of ", "operations are replayed by the tests of `operations`"),
    ("THE DISK FAILS: ", "only a disk that refuses outcomes can be replayed"),
];

/// Parses a schedule; empty lines and lines that begin with `#` are ignored.
///
/// # Errors
/// If a line is not one of the explorer's, or is a fault or a command that cannot be replayed.
pub fn parse(text: &str) -> Result<Vec<Line>> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let parsed = lines.map(|(number, line)| {
        let line = line.trim();
        let text = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let event = event(text).with_context(|| format!("line {number}: {line:?}"))?;
        Ok(Line { text: text.to_owned(), event })
    });
    let parsed: Vec<Line> = parsed.collect::<Result<_>>()?;
    ensure!(!parsed.is_empty(), "the schedule is empty");
    Ok(parsed)
}

fn event(line: &str) -> Result<Event> {
    let fixed = match line {
        "the agent starts" => Event::Starts,
        "the agent connects to the broker" => Event::Connects,
        "KILL -9" => Event::Killed,
        "SIGTERM" => Event::Told,
        "THE CONNECTION IS LOST" => Event::Cut,
        "THE BROKER CLOSES THE CHANNEL OF ANSWERS" => Event::ChannelClosed,
        "THE QUEUE IS LOST, WITH THE CONNECTION" => Event::QueueLost,
        "the agent exits"
        | "THE GRACE PERIOD IS OVER"
        | "the broker reads an acknowledgement"
        | "the queue is empty: the agent has caught up" => Event::Inside,
        _ => return of_command(line),
    };
    Ok(fixed)
}

fn of_command(line: &str) -> Result<Event> {
    let between = |before: &str, after: &str| line.strip_prefix(before)?.strip_suffix(after);
    // `NAME (delivery NUMBER) has run`, also again.
    let run_of = |before: &str| {
        let of = line.strip_prefix(before)?;
        of.strip_suffix(" has run").or_else(|| of.strip_suffix(" has run (again)"))
    };
    if let Some(name) = between("the control plane sends ", "") {
        return Ok(Event::Sent(command(name)?));
    }
    if let Some(name) = between("the caller of ", " gives up") {
        return Ok(Event::GaveUp(command(name)?));
    }
    if let Some(name) = between("", " IS PUBLISHED AGAIN") {
        return Ok(Event::SentAgain(command(name)?));
    }
    if let Some(name) = between("KILL -9, AND THE RECORD OF ", " IS TORN") {
        command(name)?;
        return Ok(Event::Torn);
    }
    if let Some(rest) = between("the broker delivers ", "") {
        return Ok(Event::Delivered(as_delivery(rest, " as delivery ")?));
    }
    if line.contains(" is sent as delivery ") {
        return Ok(Event::SentLocally(as_delivery(line, " is sent as delivery ")?));
    }
    if let Some(of) = between("THE DISK FAILS: the disk has the Outcome of ", "") {
        return Ok(Event::Refused(run(of)?));
    }
    if let Some((_, why)) = ONLY_INSIDE.iter().find(|(part, _)| line.contains(part)) {
        bail!("an event that can't be replayed: {why}");
    }
    if let Some(of) = between("the disk has the Outcome of ", "") {
        return Ok(Event::Recorded(run(of)?));
    }
    if let Some(of) = run_of("COUCHDB FAILS IN THE MIDDLE, to be asked again: ") {
        return Ok(Event::FailsForNow(run(of)?));
    }
    if let Some(of) = run_of("COUCHDB FAILS FOR GOOD: ") {
        return Ok(Event::Fails(run(of)?));
    }
    if let Some(of) = run_of("") {
        return Ok(Event::HasRun(run(of)?));
    }
    if let Some(of) = between("the disk notes that ", " begins") {
        return Ok(Event::Begins(run(of)?));
    }
    if let Some(of) = between("", " is acknowledged") {
        return Ok(Event::Acknowledged(run(of)?));
    }
    if let Some(id) = between("the record of id ", " is dropped") {
        id.parse::<u8>()?;
        return Ok(Event::Inside);
    }
    let said = [" is answered: ", " is refused: "];
    let said = said.iter().find_map(|word| line.split_once(word)).map(|(of, _)| of);
    let inside = between("the disk has the OutcomeAgain of ", "")
        .or_else(|| between("the disk has the Mark of ", ""))
        .or_else(|| between("the answer of ", " is confirmed"))
        .or_else(|| between("", " has rested"))
        .or(said);
    run(inside.context("not an event that can be replayed")?)?;
    Ok(Event::Inside)
}

/// `NAME (delivery NUMBER)`.
fn run(text: &str) -> Result<Run> {
    as_delivery(text.strip_suffix(')').context("no delivery")?, " (delivery ")
}

fn as_delivery(text: &str, between: &str) -> Result<Run> {
    let (name, delivery) = text.split_once(between).context("no delivery")?;
    Ok(Run { command: command(name)?, delivery: delivery.parse()? })
}

/// `METHOD OBJECT...`, with `(call)` or `(socket)` behind it unless it is a cast.
fn command(name: &str) -> Result<Command> {
    let unknown = || format!("no command that can be replayed: {name:?}");
    let (plain, way) = match (name.strip_suffix(" (call)"), name.strip_suffix(" (socket)")) {
        (Some(plain), _) => (plain, Way::Call),
        (_, Some(plain)) => (plain, Way::Socket),
        // The answer to a read is its only effect.
        _ if name.starts_with("get_") => (name, Way::Call),
        _ => (name, Way::Cast),
    };
    let mut words = plain.split(' ');
    let method = words.next().unwrap_or_default();
    let on: Vec<String> = words.map(str::to_owned).collect();
    let known = METHODS.iter().find(|(name, _, count)| *name == method && *count == on.len());
    let (_, method, _) = known.with_context(unknown)?;
    let is_name = |name: &String| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase());
    ensure!(on.iter().all(is_name), unknown());
    Ok(Command { method: (*method).to_owned(), on, way })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn command(method: &str, on: &[&str], way: Way) -> Command {
        Command { method: method.to_owned(), on: on.iter().map(|name| (*name).to_owned()).collect(), way }
    }

    #[test]
    fn a_line_that_is_not_the_explorers_is_named() {
        for wrong in ["the agent begins", "delete_database a has run", "rotate_os_admin IS PUBLISHED AGAIN"] {
            let error = format!("{:#}", parse(&format!("   1  KILL -9\n   2  {wrong}")).unwrap_err());
            assert!(error.contains("line 2") && error.contains(wrong), "{error}");
        }
        assert!(parse("# nothing\n").is_err());
    }

    #[test]
    fn an_event_without_a_counterpart_says_why() {
        let wrong = "THE DISK FAILS: the disk notes that create_user al (delivery 1) begins";
        let error = format!("{:#}", parse(wrong).unwrap_err());
        assert!(error.contains("only a disk that refuses outcomes"), "{error}");
    }

    #[test]
    fn lines_are_read_with_and_without_numbers() {
        let lines =
            parse("# a comment\n  12  KILL -9\ndelete_database a (delivery 3) has run (again)\n").unwrap();
        let command = command("delete_database", &["a"], Way::Cast);
        assert_eq!(lines[0].event, Event::Killed);
        assert_eq!(lines[1].event, Event::HasRun(Run { command, delivery: 3 }));
    }

    #[test]
    fn calls_and_messages_over_the_socket_are_read() {
        let lines = "the control plane sends change_password al (call)\nthe caller of change_password al (call) gives up\n\
                     grant_access al a (socket) is sent as delivery 2\n\
                     COUCHDB FAILS FOR GOOD: database-create a (socket) (delivery 7) has run (again)";
        let lines = parse(lines).unwrap();
        let call = command("change_password", &["al"], Way::Call);
        assert_eq!([&lines[0].event, &lines[1].event], [&Event::Sent(call.clone()), &Event::GaveUp(call)]);
        let grant = command("grant_access", &["al", "a"], Way::Socket);
        assert_eq!(lines[2].event, Event::SentLocally(Run { command: grant, delivery: 2 }));
        let create = command("create_database", &["a"], Way::Socket);
        assert_eq!(lines[3].event, Event::Fails(Run { command: create, delivery: 7 }));
    }
}
