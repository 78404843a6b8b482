//! The tour's output: aligned lines, a mark for every check, and the totals.
//!
//! Callers: the tour and its steps. Passwords are masked although they were generated for this run, because
//! people paste transcripts into tickets.

use std::fmt::Display;

use serde_json::Value;

use crate::rpc::CallError;

/// Maximum length of the JSON text of arguments or a reply, in characters.
const WIDTH: usize = 96;

/// Prints lines and counts checks.
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

    /// A line of information, e.g. an address.
    pub fn note(&self, name: &str, value: impl Display) {
        println!("  {name:<12} {value}");
    }

    /// A command that is being sent; `kind` is `call` or `cast`.
    pub fn command(&self, kind: &str, method: &str, args: &Value) {
        println!("  {kind:<5} {method:<26} {}", shortened(args));
    }

    /// The guest's reply.
    pub fn answer(&self, answer: &Value) {
        println!("        => {}", shortened(answer));
    }

    /// Prints the outcome of a call; a failure is a failed check and returns `null`.
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

    /// Prints and counts one check.
    pub fn check(&mut self, what: &str, ok: bool) {
        let mark = if ok { '✓' } else { '✗' };
        *(if ok { &mut self.passed } else { &mut self.failed }) += 1;
        println!("        {mark} {what}");
    }

    /// Prints the totals; true if nothing failed.
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
