//! Which boot of the machine this is.

/// Linux's `boot_id`: another one after each boot (random(4)). `None` where `/proc` does not have it.
pub fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = text.trim();
    (!id.is_empty()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_the_same_while_the_machine_runs() {
        assert_eq!(boot_id(), boot_id());
        assert!(boot_id().is_none_or(|id| !id.contains(char::is_whitespace)));
    }
}
