//! External text in an answer and an audit line.

/// The maximum length of an external text.
const MAX_REASON: usize = 500;

/// Reduces an external text to one line of limited length.
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let line: String = line.chars().filter(|letter| !letter.is_control()).take(MAX_REASON).collect();
    if line.is_empty() { "it gave no reason".to_owned() } else { line }
}
