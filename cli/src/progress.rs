//! Shows progress during long commands: a bar on a terminal, and messages above it.
//!
//! Everything goes to standard error, and the bar only to a terminal, so a file or a pipe only gets results.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::printable;

/// Returns to the start of the line and clears it.
const CLEAR: &str = "\r\x1b[K";

/// Prints a message, above the bar if there is one.
pub fn say(text: &str) {
    let clear = if io::stderr().is_terminal() { CLEAR } else { "" };
    eprintln!("{clear}{}", printable(text));
}

/// The progress of a run of several steps; removed from the screen when dropped.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar for this many steps; shown if `wanted` and on a terminal.
    pub fn new(steps: usize, wanted: bool) -> Self {
        Self(bar(wanted, Some(steps as u64)))
    }

    /// Sets the number of completed steps and the next step.
    pub fn at(&self, done: usize, next: &str) {
        self.0.set_position(done as u64);
        self.0.set_message(printable(next));
        self.0.tick();
    }

    /// Removes the bar from the screen until the next update.
    pub fn clear(&self) {
        self.0.suspend(|| {});
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The progress of an operation; without a terminal, one line per change.
#[derive(Debug)]
pub struct OperationBar {
    bar: ProgressBar,
    wanted: bool,
    said: String,
}

impl OperationBar {
    /// Shown if `wanted`.
    pub fn new(wanted: bool) -> Self {
        Self { bar: bar(wanted, None), wanted, said: String::new() }
    }

    /// Sets the progress as (done, total), if known, and as text.
    pub fn at(&mut self, progress: Option<(u64, u64)>, stand: &str) {
        if self.wanted && self.bar.is_hidden() && self.said != stand {
            stand.clone_into(&mut self.said);
            say(stand);
        }
        match progress {
            Some((done, total)) => {
                self.bar.set_length(total);
                self.bar.set_position(done);
            }
            None => self.bar.set_position(0),
        }
        self.bar.set_message(printable(stand));
        self.bar.tick();
    }
}

impl Drop for OperationBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Hidden if standard error is not a terminal.
fn bar(wanted: bool, steps: Option<u64>) -> ProgressBar {
    let target = if wanted { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(steps, target);
    // If the template is invalid, indicatif's default is used.
    let style = ProgressStyle::with_template("[{bar:20}] {pos}/{len} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("#.."));
    bar
}
