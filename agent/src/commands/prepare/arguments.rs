//! The arguments of `prepare`, the first command that Trove sends to a new guest.
//!
//! Everything beyond databases, users, a root password and the configuration becomes a list
//! of [`Demand`]s. The agent decides later whether it can meet them.

use std::path::PathBuf;

use serde_json::Value;
use trove_couchdb_protocol::{
    DatabaseName, DecodeError, Field, Quoted, Secret, fields::at_most_max_names, host::DevicePath,
};

use super::demands::Demand;
use crate::{
    commands::{
        Arguments,
        configuration::Ordered,
        users::{self, NewUser},
    },
    couch::configuration::error::OptionError,
};

/// The content of a new guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prepare {
    /// The databases to create.
    pub(super) databases: Vec<DatabaseName>,
    /// The users to create, with their access.
    pub(super) users: Vec<NewUser>,
    /// The password of `root`, if root is enabled at creation (`root_on_create`).
    pub(super) root_password: Option<Secret>,
    /// The device of the data volume, if it can be one.
    pub(super) device: Option<DevicePath>,
    /// Where Trove supposes the data volume.
    pub(super) mount_point: Option<PathBuf>,
    /// The configuration of CouchDB, or why it is refused.
    pub(super) configuration: Result<Ordered, OptionError>,
    /// The additional demands, in the order of Trove's arguments.
    pub(super) demands: Vec<Demand>,
    /// Whether it has the form of Trove 12 and 13, without the version of the datastore. Trove 12 does not
    /// know the status `healthy`.
    pub(super) old_form: bool,
}

pub(super) fn read(args: &Arguments<'_>) -> Result<Prepare, DecodeError> {
    let databases = args.optional_as("databases", |list| list.list_of(Field::database_name))?;
    let users = args.optional_as("users", |list| list.list_of(NewUser::read))?;
    let named = databases.as_ref().map_or(0, Vec::len) + users.as_deref().map_or(0, users::names_in);
    at_most_max_names(named)?;
    let root_password = args.optional_as("root_password", Field::secret)?;
    let packages = args.optional_as("packages", packages)?.unwrap_or_default();
    let device = args.optional_as("device_path", |device| {
        let path = device.text()?;
        Ok((!path.is_empty()).then(|| (device.quoted(path), DevicePath::try_from(path.to_owned()).ok())))
    })?;
    let (volume, device) = device.flatten().unzip();
    let mount_point = args.optional_as("mount_point", Field::string)?;

    let mut demands = Vec::new();
    if !packages.is_empty() {
        demands.push(Demand::Packages(packages));
    }
    demands.extend(volume.map(Demand::Volume));
    let others = [
        ("backup_info", Demand::Backup),
        ("cluster_config", Demand::Cluster),
        ("snapshot", Demand::Replica),
        ("modules", Demand::Modules),
    ];
    let wanted = |name: &str| args.optional(name).is_some_and(|field| !says_nothing(field.value()));
    demands.extend(others.into_iter().filter(|(name, _)| wanted(name)).map(|(_, demand)| demand));
    Ok(Prepare {
        databases: databases.unwrap_or_default(),
        users: users.unwrap_or_default(),
        root_password,
        device: device.flatten(),
        mount_point: mount_point.map(PathBuf::from),
        configuration: Ordered::read(args)?,
        demands,
        old_form: args.optional("memory_mb").is_some() && args.optional("ds_version").is_none(),
    })
}

/// A list, or a text with names separated by commas or spaces. Trove sends what the operator wrote, usually
/// "".
fn packages(field: &Field<'_>) -> Result<Vec<Quoted>, DecodeError> {
    let names = match field.text() {
        Ok(text) => vec![text.to_owned()],
        Err(_) => field.list_of(Field::string)?,
    };
    let separate = |c: char| c == ',' || c.is_whitespace();
    let words = names.iter().flat_map(|text| text.split(separate));
    Ok(words.filter(|word| !word.is_empty()).map(|word| field.quoted(word)).collect())
}

/// Whether a value is empty: Python's falsy values, and a configuration file that contains only comments.
pub(in crate::commands) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::String(text) => {
            text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with(['#', ';']))
        }
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Number(_) => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::commands::tests::arguments;

    fn decode(args: &Value) -> Result<Prepare, DecodeError> {
        read(&arguments(args))
    }

    fn nothing() -> Prepare {
        Prepare {
            databases: Vec::new(),
            users: Vec::new(),
            root_password: None,
            device: None,
            mount_point: None,
            configuration: Ok(Ordered::default()),
            demands: Vec::new(),
            old_form: false,
        }
    }

    fn demands(args: &Value) -> Vec<Demand> {
        decode(args).unwrap().demands
    }

    #[test]
    fn every_argument_may_be_missing_and_says_nothing_when_it_is_empty() {
        assert_eq!(decode(&Value::Object(Map::new())), Ok(nothing()));
        let empty = json!({
            "packages": "", "databases": [], "memory_mb": 512, "users": [], "device_path": null,
            "mount_point": "/var/lib/couchdb", "backup_info": null, "config_contents": "# nothing\n; here\n\n",
            "root_password": null, "overrides": {}, "cluster_config": null, "snapshot": null, "modules": [],
            "ds_version": "3.5.0",
        });
        let mount_point = Some("/var/lib/couchdb".into());
        assert_eq!(decode(&empty), Ok(Prepare { mount_point, ..nothing() }));
    }

    #[test]
    fn what_goes_beyond_is_named() {
        assert_eq!(
            demands(&json!({"packages": "couchdb=3.5, curl", "device_path": "/dev/vdb"})),
            [Demand::Packages(vec!["couchdb=3.5".into(), "curl".into()]), Demand::Volume("/dev/vdb".into()),]
        );
        assert_eq!(demands(&json!({"packages": ["couchdb"]})), [Demand::Packages(vec!["couchdb".into()])]);
        assert_eq!(
            demands(&json!({
                "backup_info": {"id": "b"}, "cluster_config": {"id": "c"}, "snapshot": {"master": {}}, "modules": [{"module": {}}],
            })),
            [Demand::Backup, Demand::Cluster, Demand::Replica, Demand::Modules]
        );
    }

    #[test]
    fn a_configuration_is_held_to_the_table() {
        let ordered = |args: Value| decode(&args).unwrap().configuration;
        let both = json!({"config_contents": "[log]\nlevel = info", "overrides": {"cluster.q": 4}});
        assert!(!ordered(both).unwrap().is_empty());
        assert!(ordered(json!({"config_contents": "[admins]\nroot = x"})).is_err());
        assert!(ordered(json!({"overrides": {"no.such": 4}})).is_err());
    }

    #[test]
    fn only_trove_12_and_13_leave_the_version_of_the_datastore_out() {
        let old = |args: Value| decode(&args).unwrap().old_form;
        assert!(old(json!({"packages": "", "memory_mb": 512})));
        assert!(!old(json!({"packages": "", "memory_mb": 512, "ds_version": "3.5.0"})));
    }
}
