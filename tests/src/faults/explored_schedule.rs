//! Parses a schedule that `make explore` printed.
//!
//! Each line is one event, with or without its number. An unknown line is an error that quotes it, so that a
//! change of the explorer's wording is noticed. Caller: [`super::replay`].

use anyhow::{Context, Result, bail, ensure};

/// A command that a replay can send.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Command {
    /// `create_database` or `delete_database`.
    pub method: String,
    /// The database.
    pub database: String,
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
    /// A cast is published.
    Sent(Command),
    /// The same message is published again.
    SentAgain(Command),
    /// The broker has delivered the command.
    Delivered(Run),
    /// The command's requests are sent to CouchDB.
    Begins(Run),
    /// CouchDB has carried out the command's requests.
    HasRun(Run),
    /// The outcome is on disk.
    Recorded(Run),
    /// The disk has refused the outcome.
    Refused(Run),
    /// The acknowledgement was sent.
    Acknowledged(Run),
    /// The process is killed.
    Killed,
    /// The process gets SIGTERM.
    Terminated,
    /// The connection to the broker is cut.
    Cut,
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
        "SIGTERM" => Event::Terminated,
        "THE CONNECTION IS LOST" => Event::Cut,
        "the agent exits"
        | "the broker reads an acknowledgement"
        | "the queue is empty: the agent has caught up" => Event::Inside,
        _ => return of_command(line),
    };
    Ok(fixed)
}

fn of_command(line: &str) -> Result<Event> {
    let between = |before: &str, after: &str| line.strip_prefix(before)?.strip_suffix(after);
    if let Some(name) = between("the control plane sends ", "") {
        return Ok(Event::Sent(command(name)?));
    }
    if let Some(name) = between("", " IS PUBLISHED AGAIN") {
        return Ok(Event::SentAgain(command(name)?));
    }
    if let Some(rest) = between("the broker delivers ", "") {
        let (name, delivery) = rest.split_once(" as delivery ").context("no delivery")?;
        return Ok(Event::Delivered(Run { command: command(name)?, delivery: delivery.parse()? }));
    }
    if let Some(of) = between("THE DISK FAILS: the disk has the Outcome of ", "") {
        return Ok(Event::Refused(run(of)?));
    }
    if let Some(of) = between("the disk has the Outcome of ", "") {
        return Ok(Event::Recorded(run(of)?));
    }
    let has_run = between("", " has run").or_else(|| between("", " has run (again)"));
    if let Some(of) = has_run {
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
    let answered = line.split_once(" is answered: ").map(|(of, _)| of);
    let inside = between("the disk has the OutcomeAgain of ", "")
        .or_else(|| between("the answer of ", " is confirmed"))
        .or(answered);
    run(inside.context("not an event that can be replayed")?)?;
    Ok(Event::Inside)
}

/// `NAME (delivery NUMBER)`.
fn run(text: &str) -> Result<Run> {
    let (name, delivery) = text.split_once(" (delivery ").context("no delivery")?;
    let delivery = delivery.strip_suffix(')').context("no delivery")?.parse()?;
    Ok(Run { command: command(name)?, delivery })
}

fn command(name: &str) -> Result<Command> {
    match name.split_once(' ') {
        Some((method @ ("create_database" | "delete_database"), database))
            if !database.is_empty() && database.chars().all(|c| c.is_ascii_lowercase()) =>
        {
            Ok(Command { method: method.to_owned(), database: database.to_owned() })
        }
        _ => bail!("no command that can be replayed: {name:?}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_line_that_is_not_the_explorers_is_named() {
        for wrong in ["the agent begins", "delete_database a has run", "create_user al IS PUBLISHED AGAIN"] {
            let error = format!("{:#}", parse(&format!("   1  KILL -9\n   2  {wrong}")).unwrap_err());
            assert!(error.contains("line 2") && error.contains(wrong), "{error}");
        }
        assert!(parse("# nothing\n").is_err());
    }

    #[test]
    fn lines_are_read_with_and_without_numbers() {
        let lines =
            parse("# a comment\n  12  KILL -9\ndelete_database a (delivery 3) has run (again)\n").unwrap();
        let command = Command { method: "delete_database".to_owned(), database: "a".to_owned() };
        assert_eq!(lines[0].event, Event::Killed);
        assert_eq!(lines[1].event, Event::HasRun(Run { command, delivery: 3 }));
    }
}
