//! Every method of Trove's guest API with the names of its arguments, in one table. Twenty methods are the
//! agent's own, for its operators.
//!
//! The table follows PROTOCOL, section 8 (`trove/guestagent/api.py` of 26.0.0), with the additional arguments
//! of 12.0.0 to 22.0.1 (section 14). A method that is missing here exists in none of these versions. The
//! agent's `commands` define which methods it serves.

/// Generates the enum and its lookup functions from one list.
macro_rules! methods {
    ($($variant:ident = $name:literal ($($argument:literal),*);)*) => {
        /// A method of the guest API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Method {
            $(
                #[doc = concat!("`", $name, "`")]
                $variant,
            )*
        }

        impl Method {
            /// All methods, in alphabetical order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name on the wire.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The arguments of all known versions of Trove.
            pub fn arguments(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => &[$($argument),*],)*
                }
            }

            /// The method with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

methods! {
    ApplyOverrides = "apply_overrides" ("overrides");
    AttachReplica = "attach_replica" ("replica_info", "slave_config", "restart");
    AttachReplicationSlave = "attach_replication_slave" ("snapshot", "slave_config");
    BackupRequiredForReplication = "backup_required_for_replication" ();
    ChangePasswords = "change_passwords" ("users");
    CheckDatabases = "check_databases" ();
    CleanupSourceOnReplicaDetach = "cleanup_source_on_replica_detach" ("replica_info");
    ConfigurationApply = "configuration_apply" ("contents");
    ConfigurationSet = "configuration_set" ("options");
    ConfigurationShow = "configuration_show" ("all");
    ConfigurationUnset = "configuration_unset" ("options");
    CreateBackup = "create_backup" ("backup_info");
    CreateDatabase = "create_database" ("databases");
    CreateUser = "create_user" ("users");
    DeleteDatabase = "delete_database" ("database");
    DeleteUser = "delete_user" ("user");
    DemoteReplicationMaster = "demote_replication_master" ();
    DetachReplica = "detach_replica" ("for_failover");
    DisableRoot = "disable_root" ();
    EnableAsMaster = "enable_as_master" ("replica_source_config");
    EnableRoot = "enable_root" ();
    EnableRootWithPassword = "enable_root_with_password" ("root_password");
    GetAgentStatus = "get_agent_status" ();
    GetDiagnostics = "get_diagnostics" ();
    GetFilesystemStats = "get_filesystem_stats" ("fs_path");
    GetHwinfo = "get_hwinfo" ();
    GetLastTxn = "get_last_txn" ();
    GetLatestTxnId = "get_latest_txn_id" ();
    GetReplicaContext = "get_replica_context" ();
    GetReplicationSnapshot = "get_replication_snapshot" ("snapshot_info", "replica_source_config");
    GetRootPassword = "get_root_password" ();
    GetTxnCount = "get_txn_count" ();
    GetUser = "get_user" ("username", "hostname");
    GetUserDetails = "get_user_details" ("users");
    GrantAccess = "grant_access" ("username", "hostname", "databases");
    GuestLogAction = "guest_log_action" ("log_name", "enable", "disable", "publish", "discard");
    GuestLogList = "guest_log_list" ();
    IsRootEnabled = "is_root_enabled" ();
    ListAccess = "list_access" ("username", "hostname");
    ListDatabaseAccess = "list_database_access" ("limit", "marker", "include_marker");
    ListDatabases = "list_databases" ("limit", "marker", "include_marker");
    ListUsers = "list_users" ("limit", "marker", "include_marker");
    MakeReadOnly = "make_read_only" ("read_only");
    ModuleApply = "module_apply" ("modules");
    ModuleList = "module_list" ("include_contents");
    ModuleRemove = "module_remove" ("module");
    MountVolume = "mount_volume" ("device_path", "mount_point");
    OperationCancel = "operation_cancel" ("operation");
    OperationList = "operation_list" ();
    OperationRehearse = "operation_rehearse" ("seconds");
    OperationShow = "operation_show" ("operation");
    PostCreateBackup = "post_create_backup" ();
    PostUpgrade = "post_upgrade" ("upgrade_info");
    PreCreateBackup = "pre_create_backup" ();
    PreUpgrade = "pre_upgrade" ();
    Prepare = "prepare" (
        "packages", "databases", "memory_mb", "users", "device_path", "mount_point", "backup_info",
        "config_contents", "root_password", "overrides", "cluster_config", "snapshot", "modules", "ds_version"
    );
    Rebuild = "rebuild" ("ds_version", "config_contents", "config_overrides");
    ResetConfiguration = "reset_configuration" ("configuration");
    ResizeFs = "resize_fs" ("device_path", "mount_point", "online");
    Restart = "restart" ();
    RevokeAccess = "revoke_access" ("username", "hostname", "database");
    RotateOsAdmin = "rotate_os_admin" ();
    RpcPing = "rpc_ping" ();
    ServiceRestart = "service_restart" ("service", "within");
    ServiceStart = "service_start" ("service", "within");
    ServiceStatus = "service_status" ("service", "within");
    ServiceStop = "service_stop" ("service", "within");
    ServiceWait = "service_wait" ("service", "state", "within");
    SessionReset = "session_reset" ();
    SetLogFilter = "set_log_filter" ("filter");
    SslAction = "ssl_action" ("mode", "container", "enable", "disable");
    SslRollback = "ssl_rollback" ();
    SslShow = "ssl_show" ();
    StartDbWithConfChanges = "start_db_with_conf_changes" ("config_contents", "ds_version");
    StopDb = "stop_db" ("do_not_start_on_reboot");
    UnmountVolume = "unmount_volume" ("device_path", "mount_point");
    UpdateAttributes = "update_attributes" ("username", "hostname", "user_attrs");
    UpdateGuest = "update_guest" ();
    UpdateOverrides = "update_overrides" ("overrides", "remove");
    Upgrade = "upgrade" ("upgrade_info", "instance_version", "location", "metadata");
    WaitForTxn = "wait_for_txn" ("txn");
}

impl Method {
    /// Whether the method is the agent's own; no version of Trove has it.
    pub fn is_own(self) -> bool {
        matches!(
            self,
            Self::CheckDatabases
                | Self::ConfigurationApply
                | Self::ConfigurationSet
                | Self::ConfigurationShow
                | Self::ConfigurationUnset
                | Self::GetAgentStatus
                | Self::GetUserDetails
                | Self::ListDatabaseAccess
                | Self::OperationCancel
                | Self::OperationList
                | Self::OperationRehearse
                | Self::OperationShow
                | Self::RotateOsAdmin
                | Self::ServiceRestart
                | Self::ServiceStart
                | Self::ServiceStatus
                | Self::ServiceStop
                | Self::ServiceWait
                | Self::SessionReset
                | Self::SetLogFilter
        )
    }

    /// Whether the method never changes anything. Unknown cases count as a change.
    pub fn only_reads(self) -> bool {
        matches!(
            self,
            Self::BackupRequiredForReplication
                | Self::CheckDatabases
                | Self::ConfigurationShow
                | Self::GetAgentStatus
                | Self::GetDiagnostics
                | Self::GetFilesystemStats
                | Self::GetHwinfo
                | Self::GetLastTxn
                | Self::GetLatestTxnId
                | Self::GetReplicaContext
                | Self::GetRootPassword
                | Self::GetTxnCount
                | Self::GetUser
                | Self::GetUserDetails
                | Self::GuestLogList
                | Self::IsRootEnabled
                | Self::ListAccess
                | Self::ListDatabaseAccess
                | Self::ListDatabases
                | Self::ListUsers
                | Self::ModuleList
                | Self::OperationList
                | Self::OperationShow
                | Self::RpcPing
                | Self::ServiceStatus
                | Self::ServiceWait
                | Self::SslShow
                | Self::WaitForTxn
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_methods() {
        for method in Method::ALL {
            assert_eq!(Method::from_name(method.name()), Some(*method));
        }
        assert_eq!(Method::from_name("RPC_PING"), None);
        assert_eq!(Method::from_name("__class__"), None);
    }

    #[test]
    fn the_table_is_sorted_and_whole() {
        assert!(Method::ALL.is_sorted_by(|a, b| a.name() < b.name()));
        let of_trove = Method::ALL.iter().filter(|method| !method.is_own()).count();
        assert_eq!(of_trove, 61, "PROTOCOL, section 8");
    }

    #[test]
    fn what_is_named_after_a_read_is_one_and_what_is_named_after_a_change_is_none() {
        for method in Method::ALL {
            let begins = |words: &[&str]| words.iter().any(|word| method.name().starts_with(word));
            let reads = begins(&["get_", "list_", "is_", "check_"]);
            // get_replication_snapshot locks the server's tables.
            assert!(!reads || method.only_reads() || *method == Method::GetReplicationSnapshot, "{method:?}");
            let changes =
                begins(&["create_", "delete_", "change_", "update_", "grant_", "revoke_", "enable_"]);
            assert!(!changes || !method.only_reads(), "{method:?}");
        }
    }
}
