//! The configuration: whether the agent starts with it.

use trove_couchdb_config::Settings;
use trove_couchdb_system::environment_of_account;

use super::{Check, Finding};
use crate::{args::Global, transport};

static LOAD: Check = Check::new("config.load", "The agent's configuration loads");
static WARNINGS: Check = Check::new("config.warnings", "The configuration has no warnings");

pub(super) const CHECKS: &[&Check] = &[&LOAD, &WARNINGS];

pub(super) fn look(global: &Global, findings: &mut Vec<Finding>) -> Option<Settings> {
    match Settings::load(transport::sources(&global.sources), environment_of_account()) {
        Ok(settings) => {
            findings.push(LOAD.ok(format!("for instance {}", settings.guest.id)));
            findings.push(match settings.warnings.as_slice() {
                [] => WARNINGS.ok("nothing to mention"),
                some => {
                    WARNINGS.warning(some.join("; "), "`trove-couchdb-agent --check-config` shows each value")
                }
            });
            Some(settings)
        }
        Err(error) => {
            let advice = "correct it; the agent does not start otherwise (exit status 64). Run the doctor as root, \
                          with the --config, --config-file and --config-dir of the agent's unit";
            findings.push(LOAD.failed(error.to_string(), advice));
            findings.push(WARNINGS.skipped("without a configuration"));
            None
        }
    }
}
