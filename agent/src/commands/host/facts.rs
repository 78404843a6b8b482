//! `get_hwinfo`, `get_diagnostics`: the machine, and the agent's process. Administrators of Trove see them
//! (`trove/extensions/mgmt/instances/views.py`). Sizes are in KiB.

use std::{fs, io};

use futures_util::{FutureExt, future};
use serde_json::{Map, Value, json};
use trove_couchdb_protocol::{DecodeError, trove::Method};

use super::super::{Arguments, Command, Decode, Guest, Needs, Run, RunError, Running};
use crate::{couch::CommandError, system};

/// What Trove reads, and the lines of `proc_pid_status(5)` with it.
const MEMBERS: [(&str, &str); 6] = [
    ("threads", "Threads"),
    ("fd_size", "FDSize"),
    ("vm_size", "VmSize"),
    ("vm_peak", "VmPeak"),
    ("vm_rss", "VmRSS"),
    ("vm_hwm", "VmHWM"),
];

const STATUS: &str = "/proc/self/status";

/// `get_hwinfo`: memory and processors of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GetHwinfo;

impl Decode for GetHwinfo {
    fn decode(_: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

impl Command for GetHwinfo {
    fn method(&self) -> Method {
        Method::GetHwinfo
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, _: &'a Guest, _: Run<'a>) -> Running<'a> {
        let facts = system::processors()
            .map(|processors| json!({"mem_total": system::memory() / 1024, "num_cpus": processors}));
        future::ready(facts.map_err(|error| unreadable("/sys/devices/system/cpu/online", &error))).boxed()
    }
}

/// `get_diagnostics`: the agent's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GetDiagnostics;

impl Decode for GetDiagnostics {
    fn decode(_: &Arguments<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

impl Command for GetDiagnostics {
    fn method(&self) -> Method {
        Method::GetDiagnostics
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn run<'a>(&'a self, _: &'a Guest, _: Run<'a>) -> Running<'a> {
        let read = fs::read_to_string(STATUS).and_then(|text| {
            diagnostics(&text).ok_or_else(|| io::Error::other("it has not the lines of Linux"))
        });
        future::ready(read.map_err(|error| unreadable(STATUS, &error))).boxed()
    }
}

/// `None` if a member is missing: Trove's API would fail on it.
fn diagnostics(status: &str) -> Option<Value> {
    let number = |name: &str| {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned);
        status.lines().find_map(value)?.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    let members = MEMBERS.iter().map(|(member, line)| Some(((*member).to_owned(), number(line)?.into())));
    let mut members: Map<String, Value> = members.collect::<Option<_>>()?;
    members.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
    Some(Value::Object(members))
}

fn unreadable(path: &str, error: &io::Error) -> RunError {
    CommandError::Filesystem { path: path.to_owned(), reason: error.to_string() }.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_member_that_trove_reads_is_there() {
        let found = diagnostics(&fs::read_to_string(STATUS).unwrap()).unwrap();
        for (member, _) in MEMBERS {
            assert!(found[member].as_u64().unwrap() >= 1, "{member}");
        }
        assert_eq!(found["version"], env!("CARGO_PKG_VERSION"));
        assert!(found["vm_size"].as_u64() >= found["vm_rss"].as_u64());
        assert_eq!(diagnostics("Threads:\t1\nVmSize:\t 5 kB\n"), None);
    }
}
