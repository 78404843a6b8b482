//! `$reference` substitution in oslo.config values (`cfg.ConfigOpts._substitute` and `cfg.Template`).
//!
//! `$name`, `${name}`, `$group.name` and `${group.name}` are replaced by a different option's value, `$$` and
//! `\$` by a dollar sign. Any other `$` is kept. `oslo_files` looks the names up. No I/O.

/// The maximum depth of nested references. oslo has no limit and exhausts its stack on a circle.
const MAX_DEPTH: usize = 16;

/// The maximum size of the text that all references of one value add, in bytes. Without it, sixteen options
/// that each refer twice to the next would make 65,536 copies of the last, and with a hundred references each
/// the substitution would never finish.
const MAX_TEXT: usize = 256 * 1024;

/// Why a value could not be substituted. Does not contain the name, which
/// may be part of a password with a `$`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// No file sets the option, and the agent has no option of that name.
    #[error("refers with `$` to an option that does not exist")]
    Unknown,
    /// The option refers back to itself.
    #[error("refers with `$` to an option that refers back to it")]
    Circle,
    /// The references add more than [`MAX_TEXT`].
    #[error("refers with `$` to options that add up to more than {MAX_TEXT} bytes")]
    TooLong,
}

/// The value of a reference before its own substitution, and the group it was found in.
pub(crate) type Referent = (String, String);

/// Finds the option that `name` refers to in `group`.
type Lookup<'a> = &'a dyn Fn(&str, &str) -> Option<Referent>;

/// Replaces the references in a `value` of `group`.
pub(crate) fn substitute(value: &str, group: &str, lookup: Lookup<'_>) -> Result<String, TemplateError> {
    expand(value, group, lookup, 0, &mut { MAX_TEXT })
}

fn expand(
    value: &str,
    group: &str,
    lookup: Lookup<'_>,
    depth: usize,
    left: &mut usize,
) -> Result<String, TemplateError> {
    if depth > MAX_DEPTH {
        return Err(TemplateError::Circle);
    }
    let value = value.replace(r"\$", "$$");
    let mut out = String::with_capacity(value.len());
    let mut rest = value.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some((name, after)) = reference(after) {
            let (text, group) = lookup(group, name).ok_or(TemplateError::Unknown)?;
            // An empty value also counts, to limit the time as well as the memory.
            *left = left.checked_sub(text.len() + 1).ok_or(TemplateError::TooLong)?;
            out.push_str(&expand(&text, &group, lookup, depth + 1, left)?);
            rest = after;
        } else {
            out.push('$');
            rest = after.strip_prefix('$').unwrap_or(after);
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The name after a `$`, with or without braces, and the rest of the text.
fn reference(text: &str) -> Option<(&str, &str)> {
    let Some(braced) = text.strip_prefix('{') else { return identifier(text) };
    let (name, after) = identifier(braced)?;
    Some((name, after.strip_prefix('}')?))
}

/// `[_a-z][._a-z0-9]*` in either case: `cfg.Template.idpattern` with `string.Template`'s flags.
fn identifier(text: &str) -> Option<(&str, &str)> {
    text.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic()).then_some(())?;
    let end = text.find(|c: char| !(c == '.' || c == '_' || c.is_ascii_alphanumeric())).unwrap_or(text.len());
    text.split_at_checked(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `b = B`, `l = $l` and, in group `g`, `x = $y` with `y = GY`.
    fn lookup(group: &str, name: &str) -> Option<Referent> {
        let text = match (group, name) {
            (_, "b") => "B",
            (_, "empty") => "",
            (_, "l") => "$l",
            (_, "g.x") | ("g", "x") => "$y",
            ("g", "y") => "GY",
            _ => return None,
        };
        let group = if name.starts_with("g.") { "g" } else { group };
        Some((text.to_owned(), group.to_owned()))
    }

    #[test]
    fn references_are_replaced_as_oslo_config_does() {
        // Every expectation was checked against oslo.config 10.7.0.
        let cases = [
            ("$b", "B"),
            ("${b}x$$y", "Bx$y"),
            ("pw$b@h", "pwB@h"),
            ("[$empty]", "[]"),
            (r"\$b", "$b"),
            ("pa$9x$", "pa$9x$"),
            ("${b", "${b"),
            ("${ b }", "${ b }"),
            ("$g.x", "GY"),
            ("no reference", "no reference"),
        ];
        for (value, expected) in cases {
            assert_eq!(substitute(value, "DEFAULT", &lookup).as_deref(), Ok(expected), "{value}");
        }
        assert_eq!(substitute("$y and $b", "g", &lookup).as_deref(), Ok("GY and B"));
    }

    /// Without the limit on the text this test never finishes.
    #[test]
    fn references_that_multiply_are_an_error() {
        let lookup = |_: &str, name: &str| {
            let level: u32 = name.strip_prefix('a')?.parse().ok()?;
            let text = if level == 0 { String::new() } else { format!("$a{} ", level - 1).repeat(100) };
            Some((text, "DEFAULT".to_owned()))
        };
        assert_eq!(substitute("$a15", "DEFAULT", &lookup), Err(TemplateError::TooLong));
        assert_eq!(substitute("$a0$a0", "DEFAULT", &lookup).as_deref(), Ok(""));
    }

    #[test]
    fn what_oslo_config_fails_on_is_an_error_that_does_not_show_the_name() {
        for (value, error) in [
            ("pa$word", TemplateError::Unknown),
            ("$b.", TemplateError::Unknown),
            ("${nogroup.y}", TemplateError::Unknown),
            ("$l", TemplateError::Circle),
        ] {
            assert_eq!(substitute(value, "DEFAULT", &lookup), Err(error), "{value}");
            assert!(!error.to_string().contains("word"));
        }
    }
}
