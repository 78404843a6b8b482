//! The id of the machine's current boot.

/// The unit of the agent sets this variable to systemd's `%b`, because its sandbox hides `/proc/sys`
/// (`ProcSubset=pid`).
const VARIABLE: &str = "BOOT_ID";

/// Linux's `boot_id`, which changes with each boot (random(4)). `None` if neither the environment nor `/proc`
/// has it.
pub fn boot_id() -> Option<String> {
    let given = std::env::var(VARIABLE).ok();
    let text = given.or_else(|| std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok())?;
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
