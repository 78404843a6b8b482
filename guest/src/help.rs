//! What `--help` and the manual page of a program say in addition to its options: examples and exit codes.

/// A command that a reader can type, and what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example {
    /// What it does.
    pub what: &'static str,
    /// The command for a shell; may have several lines.
    pub line: &'static str,
}

/// An exit code and its meaning.
pub type ExitCode = (u8, &'static str);

/// The examples at the end of a help text.
pub fn examples(examples: &[Example]) -> String {
    let one = |example: &Example| format!("\n  # {}\n  {}", example.what, example.line.replace('\n', "\n  "));
    format!("Examples:{}", examples.iter().map(one).collect::<String>())
}

/// The exit codes at the end of a help text.
pub fn exit_codes(codes: &[ExitCode]) -> String {
    let one = |(code, meaning): &ExitCode| format!("\n  {code:<2}  {meaning}");
    format!("Exit codes:{}", codes.iter().map(one).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_indented_below_a_heading() {
        let example = Example { what: "Check the configuration", line: "agent --check-config" };
        assert_eq!(examples(&[example]), "Examples:\n  # Check the configuration\n  agent --check-config");
        assert_eq!(
            exit_codes(&[(0, "done"), (64, "wrong usage")]),
            "Exit codes:\n  0   done\n  64  wrong usage"
        );
    }
}
