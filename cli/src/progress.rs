//! What people see while something takes long: a bar on a terminal, and sentences above it.
//!
//! All of it goes to standard error, and the bar only to a terminal: a file or a pipe gets results alone.

use std::io::{self, IsTerminal, Write};

use crate::output::printable;

/// Back to the start of the line, and nothing behind it.
const CLEAR: &str = "\r\x1b[K";

/// The width of the bar itself.
const CELLS: usize = 20;

/// How wide a terminal is that does not say so.
const USUAL_WIDTH: usize = 80;

/// A sentence, above the bar if there is one.
pub fn say(text: &str) {
    let clear = if io::stderr().is_terminal() { CLEAR } else { "" };
    eprintln!("{clear}{}", printable(text));
}

/// How far a run of several steps is; taken off the screen when dropped.
#[derive(Debug)]
pub struct Bar {
    steps: usize,
    shown: bool,
}

impl Bar {
    /// For so many steps; shown if somebody looks and it is wanted.
    pub fn new(steps: usize, wanted: bool) -> Self {
        Self { steps, shown: wanted && io::stderr().is_terminal() }
    }

    /// So many steps are done, and the next one is this.
    pub fn at(&self, done: usize, next: &str) {
        if self.shown {
            let width = terminal_size::terminal_size_of(io::stderr());
            let width = width.map_or(USUAL_WIDTH, |(width, _)| usize::from(width.0));
            Self::write(&line(done, self.steps, next, width));
        }
    }

    /// Takes it off the screen, for what is written next.
    pub fn clear(&self) {
        if self.shown {
            Self::write("");
        }
    }

    fn write(text: &str) {
        let mut out = io::stderr().lock();
        // A terminal that is gone is no failure of the command.
        drop(write!(out, "{CLEAR}{text}").and_then(|()| out.flush()));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The bar, not longer than a terminal is wide: a line that wraps could not be taken off again.
fn line(done: usize, steps: usize, next: &str, width: usize) -> String {
    let full = (done * CELLS).checked_div(steps).unwrap_or(CELLS).min(CELLS);
    let text =
        format!("[{}{}] {done}/{steps} {}", "#".repeat(full), ".".repeat(CELLS - full), printable(next));
    text.chars().take(width.saturating_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_how_far_it_is_and_fits() {
        assert_eq!(line(0, 4, "user \"al\"", 80), "[....................] 0/4 user \"al\"");
        assert_eq!(line(2, 4, "x", 80), "[##########..........] 2/4 x");
        assert_eq!(line(4, 4, "", 80), "[####################] 4/4 ");
        assert_eq!(line(1, 4, &"long".repeat(50), 40).chars().count(), 39);
        assert_eq!(line(0, 0, "", 10).chars().count(), 9);
    }
}
