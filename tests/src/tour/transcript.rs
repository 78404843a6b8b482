//! What the tour prints: aligned lines, a mark for every check, and the count at the end.
//!
//! Who calls: the tour's stage and steps. Passwords are masked even though they were made for this run: a transcript
//! gets pasted into tickets.

use std::fmt::Display;

use serde_json::Value;

use crate::bus::CallError;

/// Longest JSON text shown of arguments or an answer, in characters.
const WIDTH: usize = 96;

/// Prints and counts.
#[derive(Debug, Default)]
pub struct Transcript {
    passed: u32,
    failed: u32,
}

impl Transcript {
    /// A heading above the commands of one family.
    pub fn section(&self, title: &str) {
        println!("\n{title}");
    }

    /// A line of information, e.g. where something listens.
    pub fn note(&self, name: &str, value: impl Display) {
        println!("  {name:<12} {value}");
    }

    /// A command that is being sent, `kind` being `call` or `cast`.
    pub fn command(&self, kind: &str, method: &str, args: &Value) {
        println!("  {kind:<5} {method:<26} {}", shortened(args));
    }

    /// What the guest answered.
    pub fn answer(&self, answer: &Value) {
        println!("        => {}", shortened(answer));
    }

    /// What became of a call; a failure is a failed check and `null`.
    pub fn outcome(&mut self, outcome: Result<Value, CallError>) -> Value {
        match outcome {
            Ok(answer) => {
                self.answer(&answer);
                answer
            }
            Err(error) => {
                self.check(&format!("must be answered, but: {error}"), false);
                Value::Null
            }
        }
    }

    /// One thing that was looked at, and whether it is as it should be.
    pub fn check(&mut self, what: &str, ok: bool) {
        let mark = if ok { '✓' } else { '✗' };
        *(if ok { &mut self.passed } else { &mut self.failed }) += 1;
        println!("        {mark} {what}");
    }

    /// The closing line; true when nothing failed.
    pub fn finish(&self) -> bool {
        let Self { passed, failed } = self;
        match failed {
            0 => println!("\n✓ all {passed} checks passed"),
            _ => println!("\n✗ {failed} of {} checks failed", passed + failed),
        }
        *failed == 0
    }
}

fn shortened(value: &Value) -> String {
    let text = masked(value).to_string();
    if text.chars().count() <= WIDTH {
        return text;
    }
    text.chars().take(WIDTH - 1).chain(['…']).collect()
}

fn masked(value: &Value) -> Value {
    match value {
        Value::Object(entries) => entries
            .iter()
            .map(|(name, value)| {
                let secret = name.contains("password") && value.is_string();
                (name.clone(), if secret { "***".into() } else { masked(value) })
            })
            .collect(),
        Value::Array(items) => items.iter().map(masked).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn passwords_are_masked_at_any_depth() {
        let args = json!({"users": [{"_name": "a", "_password": "s3cret"}], "root_password": "s3cret", "password": null});
        let text = masked(&args).to_string();
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains("null"), "{text}");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = shortened(&json!("ü".repeat(200)));
        assert_eq!(text.chars().count(), WIDTH);
        assert!(text.ends_with('…'));
    }

    #[test]
    fn one_failure_fails_the_tour() {
        let mut transcript = Transcript::default();
        transcript.check("one", true);
        assert!(transcript.finish());
        transcript.check("two", false);
        assert!(!transcript.finish());
    }
}
