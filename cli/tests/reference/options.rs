//! The options of CouchDB, from the table in the code: a documentation page, and the rules by which Trove
//! checks a configuration group (`trove-manage db_load_datastore_config_parameters`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use trove_couchdb_client::configuration::{
    forbidden,
    option::{Applies, ConfigOption, Kind},
    table,
};

pub const RULES: &str = "control-plane/etc/trove/templates/couchdb/validation-rules.json";

fn by_name() -> BTreeMap<&'static str, &'static ConfigOption> {
    table::options().map(|option| (option.name, option)).collect()
}

/// A table for each section.
pub fn tables() -> String {
    let mut text = String::new();
    let mut section = "";
    for option in by_name().into_values() {
        if option.section() != section {
            section = option.section();
            writeln!(text, "\n## `[{section}]`\n\n| option | value | in effect | CouchDB | what it does |\n|---|---|---|---|---|")
                .unwrap();
        }
        let applies = match option.applies {
            Applies::Live => "at once",
            Applies::Restart => "after a restart",
        };
        let versions = match option.until {
            Some(until) => format!("{} to before {until}", option.since),
            None => format!("{} and later", option.since),
        };
        let value = option.kind.expected().replace('|', "\\|");
        writeln!(text, "| `{}` | {value} | {applies} | {versions} | {} |", option.name, option.about)
            .unwrap();
    }
    text
}

/// What can't be set.
pub fn forbidden() -> String {
    let mut text = String::from("| section or option | why it can't be set |\n|---|---|\n");
    for (name, reason) in forbidden::forbidden() {
        writeln!(text, "| `{name}` | {reason} |").unwrap();
    }
    text
}

/// The rules. Options of old versions only are left out: Trove could not say so.
pub fn rules() -> String {
    let rule = |option: &ConfigOption| {
        let range = match option.kind {
            Kind::Whole { min, max } => format!("      \"min\": {min},\n      \"max\": {max},\n"),
            _ => String::new(),
        };
        format!(
            "    {{\n      \"name\": \"{}\",\n      \"restart_required\": {},\n{range}      \"type\": \"{}\"\n    }}",
            option.name,
            option.applies == Applies::Restart,
            option.kind.trove()
        )
    };
    let rules: Vec<_> = by_name().into_values().filter(|option| option.until.is_none()).map(rule).collect();
    format!("{{\n  \"configuration-parameters\": [\n{}\n  ]\n}}\n", rules.join(",\n"))
}
