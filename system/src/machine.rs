//! The machine's memory and processors.
//!
//! The agent's sandbox hides `/proc/meminfo` and `/proc/cpuinfo` (`ProcSubset=pid`), so both come from elsewhere.

use std::{fs, io};

/// The memory of this machine in bytes.
pub fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    u64::from(info.mem_unit).saturating_mul(info.totalram)
}

/// The number of processors that are switched on.
///
/// # Errors
/// `/sys` is not mounted.
pub fn processors() -> io::Result<usize> {
    Ok(count(&fs::read_to_string("/sys/devices/system/cpu/online")?))
}

/// Counts a list such as `0-3,8`.
fn count(list: &str) -> usize {
    let number = |text: &str| text.parse::<usize>().ok();
    let processors = |range: &str| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        Some(number(to)?.checked_sub(number(from)?)? + 1)
    };
    list.trim().split(',').filter_map(processors).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lists_of_processors_are_counted() {
        for (list, processors) in [("0\n", 1), ("0-3\n", 4), ("0-1,4,8-9\n", 5), ("\n", 0), ("x,3-1", 0)] {
            assert_eq!(count(list), processors, "{list:?}");
        }
    }

    #[test]
    fn this_machine_has_some() {
        assert!(processors().unwrap() >= 1 && memory() > 1 << 20);
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
        let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
        let total: u64 = total.trim().trim_end_matches(" kB").parse().unwrap();
        assert_eq!(memory() / 1024, total);
    }
}
