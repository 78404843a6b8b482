//! What people see while something takes long: a bar on a terminal, and sentences above it.
//!
//! All of it goes to standard error, and the bar only to a terminal: a file or a pipe gets results alone.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::printable;

/// Back to the start of the line, and nothing behind it.
const CLEAR: &str = "\r\x1b[K";

/// A sentence, above the bar if there is one.
pub fn say(text: &str) {
    let clear = if io::stderr().is_terminal() { CLEAR } else { "" };
    eprintln!("{clear}{}", printable(text));
}

/// How far a run of several steps is; taken off the screen when dropped.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// For so many steps; shown if somebody looks and it is wanted.
    pub fn new(steps: usize, wanted: bool) -> Self {
        Self(bar(wanted, Some(steps as u64)))
    }

    /// So many steps are done, and the next one is this.
    pub fn at(&self, done: usize, next: &str) {
        self.0.set_position(done as u64);
        self.0.set_message(printable(next));
        self.0.tick();
    }

    /// Takes it off the screen, for what is written next.
    pub fn clear(&self) {
        self.0.suspend(|| {});
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// How far an operation is; where nobody looks at a terminal, a line for each change.
#[derive(Debug)]
pub struct OperationBar {
    bar: ProgressBar,
    wanted: bool,
    said: String,
}

impl OperationBar {
    /// Shown if it is wanted.
    pub fn new(wanted: bool) -> Self {
        Self { bar: bar(wanted, None), wanted, said: String::new() }
    }

    /// So much of so much is done, if that is known; in words it stands like this.
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

/// Hidden where standard error is no terminal.
fn bar(wanted: bool, steps: Option<u64>) -> ProgressBar {
    let target = if wanted { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(steps, target);
    // The template is ours: one that is wrong shows indicatif's own.
    let style = ProgressStyle::with_template("[{bar:20}] {pos}/{len} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("#.."));
    bar
}
