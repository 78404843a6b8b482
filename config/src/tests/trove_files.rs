//! The files that Trove injects, with their real content.

use std::time::Duration;

use super::{Layers, REQUIRED};
use crate::{LoginMethod, Settings, Sources};
use crate::{TlsFiles, TlsIdentity};

/// PROTOCOL.md section 7, as trove-taskmanager 26.0.0 writes it.
const GUEST_INFO: &str = "[DEFAULT]
guest_id=6ee49ee8-5aa5-4f71-a54a-c0f2fdbeed79
datastore_manager=postgresql
datastore_version=3.3
tenant_id=0123456789abcdef0123456789abcdef
datastore_registry_ext=postgresql:none
replication_strategy=none
ssl_mode=None
network_isolation=True
instance_rpc_encr_key=oj47q4kuzlRq7dAFMPggh1Lj5XClBLVU
";

/// The key as Trove 12.0.0 on Python 3 writes it.
#[test]
fn a_key_that_was_shown_as_pythons_bytes_is_understood() {
    let key = "oj47q4kuzlRq7dAFMPggh1Lj5XClBLVU";
    let read = |info: &str| {
        let settings =
            Layers::conf(&[("guest_info.conf", info), ("trove-guestagent.conf", GUESTAGENT)]).settings();
        settings.unwrap().guest.encryption_key.unwrap()
    };
    for shown in [format!("b'{key}'"), format!("b\"{key}\"")] {
        let info = GUEST_INFO.replace(key, &shown);
        assert_eq!(read(&info).expose(), key, "{shown}");
    }
    assert_eq!(read(&GUEST_INFO.replace(key, "b'half")).expose(), "b'half");
}

const GUESTAGENT: &str = "# copied from the control plane
[DEFAULT]
log_dir = /var/log/trove
rabbit_password = s3cret
transport_url = rabbit://trove:$rabbit_password@10.0.0.5:5672,
    trove:$rabbit_password@10.0.0.6:5672/
control_exchange = trove
[oslo_messaging_rabbit]
amqp_durable_queues = True
rabbit_quorum_delivery_limit = 3
rabbit_qos_prefetch_count = 0
[couchdb]
ignore_users = os_admin, root,
    operator
tcp_ports = 5984
[service_credentials]
auth_url = http://10.0.0.5/identity
";

#[test]
fn the_files_of_a_real_instance_are_understood() {
    let files = [("guest_info.conf", GUEST_INFO), ("trove-guestagent.conf", GUESTAGENT)];
    let settings = Layers::conf(&files).settings().unwrap();
    assert_eq!(settings.guest.id, "6ee49ee8-5aa5-4f71-a54a-c0f2fdbeed79");
    assert_eq!(settings.guest.datastore_manager.as_deref(), Some("postgresql"));
    assert_eq!(settings.guest.encryption_key.unwrap().expose(), "oj47q4kuzlRq7dAFMPggh1Lj5XClBLVU");
    let broker = settings.broker.unwrap();
    assert_eq!(broker.control_exchange, "trove");
    assert_eq!(broker.transport_url.hosts[0].password.as_ref().unwrap().expose(), "s3cret");
    assert_eq!(broker.transport_url.hosts.len(), 2);
    assert!(broker.durable_queues && !broker.quorum_queue);
    assert_eq!(broker.quorum_delivery_limit, 3);
    assert_eq!(broker.prefetch, 64, "oslo's 0 is no opinion");
    assert_eq!(settings.couchdb.ignore_users, ["os_admin", "root", "operator"]);
    assert_eq!(settings.couchdb.ignore_dbs, ["_users", "_replicator", "_global_changes"]);
    assert!(settings.warnings.is_empty(), "Trove's files are 0644 by design: {:?}", settings.warnings);
}

#[test]
fn unset_options_have_the_defaults_of_oslo_messaging() {
    let broker = Layers::toml("").broker();
    assert_eq!(
        (broker.control_exchange.as_str(), broker.conductor_queue.as_str()),
        ("openstack", "trove-conductor")
    );
    assert!(!broker.durable_queues && !broker.auto_delete && !broker.quorum_queue && !broker.ha_queues);
    assert!(!broker.transient_quorum_queue && !broker.stream_fanout && broker.tls.is_none());
    assert_eq!(broker.transient_queues_ttl, Duration::from_secs(1800));
    assert_eq!(broker.heartbeat, Duration::from_secs(60));
    assert_eq!(broker.missing_consumer_retry_timeout, Duration::from_secs(60));
    assert_eq!(broker.login_method, LoginMethod::Amqplain);
}

#[test]
fn a_later_file_wins_and_within_a_file_the_current_name_and_the_last_assignment() {
    // Checked against oslo.config 10.7.0. It reads the empty number as None; the agent keeps its default.
    let timeout = |conf: &[(&str, &str)]| {
        let mut files = vec![("0.conf", REQUIRED)];
        files.extend_from_slice(conf);
        Layers::conf(&files).broker().missing_consumer_retry_timeout.as_secs()
    };
    let old = "[oslo_messaging_rabbit]\nkombu_reconnect_timeout = 1\n";
    let new = "[oslo_messaging_rabbit]\nkombu_missing_consumer_retry_timeout = 2\n";
    let both =
        "[oslo_messaging_rabbit]\nkombu_missing_consumer_retry_timeout = 3\nkombu_reconnect_timeout = 4\n";
    let twice = "[oslo_messaging_rabbit]\nkombu_reconnect_timeout = 5\n[OSLO_Messaging_Rabbit]\nkombu_reconnect_timeout = 6\n";
    assert_eq!(timeout(&[("a.conf", old)]), 1);
    assert_eq!(timeout(&[("a.conf", new), ("b.conf", old)]), 1);
    assert_eq!(timeout(&[("b.conf", new), ("a.conf", old)]), 2);
    assert_eq!(timeout(&[("a.conf", both)]), 3);
    assert_eq!(timeout(&[("a.conf", twice)]), 6);
    assert_eq!(timeout(&[("a.conf", "[DEFAULT]\nkombu_missing_consumer_retry_timeout = 9\n")]), 60);
    assert_eq!(timeout(&[("a.conf", "[oslo_messaging_rabbit]\nkombu_reconnect_timeout =\n")]), 60);
    assert_eq!(timeout(&[("a.cfg", old), (".b.conf", old)]), 60, "only *.conf, no hidden files");
}

#[test]
fn references_reach_other_files_groups_and_defaults() {
    let layers = Layers {
        conf: &[
            (
                "a.conf",
                "[DEFAULT]\nguest_id = ${couchdb.node}-$seven\nseven = 6\ntransport_url = rabbit://u:a$$b@h/\n",
            ),
            ("b.conf", "[DEFAULT]\nseven = 7\nconductor_queue = $control_exchange.q\n[couchdb]\nnode = n\n"),
        ],
        ..Layers::default()
    };
    // A dot can be part of a name, so the braces are needed here.
    assert!(layers.refusal().contains("[DEFAULT] conductor_queue: broker.conductor_queue refers with `$`"));
    let mut conf = layers.conf.to_vec();
    let braced = conf[1].1.replace("$control_exchange.q", "${control_exchange}.q");
    conf[1].1 = &braced;
    let settings = Layers { conf: &conf, ..layers }.settings().unwrap();
    assert_eq!(settings.guest.id, "n-7");
    let broker = settings.broker.unwrap();
    assert_eq!(broker.conductor_queue, "openstack.q");
    assert_eq!(broker.transport_url.hosts[0].password.as_ref().unwrap().expose(), "a$b");
}

#[test]
fn tls_options_are_recognised_under_all_their_names() {
    let tls = |conf: &str| Layers::conf(&[("a.conf", conf)]).broker().tls;
    for rabbit in [
        "ssl = true\nssl_ca_file = /ca\nssl_cert_file = /cert\nssl_key_file = /key\n",
        "rabbit_use_ssl = 1\nkombu_ssl_ca_certs = /ca\nkombu_ssl_certfile = /cert\nkombu_ssl_keyfile = /key\n",
    ] {
        let identity = TlsIdentity { cert: "/cert".into(), key: "/key".into() };
        let expected = TlsFiles { ca: Some("/ca".into()), identity: Some(identity) };
        assert_eq!(tls(&format!("{REQUIRED}[oslo_messaging_rabbit]\n{rabbit}")), Some(expected));
    }
    assert!(tls(&REQUIRED.replace("rabbit://", "rabbits://")).is_some());
    assert!(tls(&format!("{REQUIRED}[oslo_messaging_rabbit]\nssl_ca_file = /ca\n")).is_none());
}

#[test]
fn files_and_directories_that_are_named_must_exist() {
    let missing = std::path::PathBuf::from("/nonexistent/x");
    for sources in [
        Sources { oslo_files: vec![missing.clone()], ..Sources::default() },
        Sources { oslo_dirs: vec![missing.clone()], ..Sources::default() },
        Sources { config_file: Some(missing), ..Sources::default() },
    ] {
        let error = Settings::load(sources, []).unwrap_err().to_string();
        assert!(error.starts_with("cannot read /nonexistent/x: "), "{error}");
    }
}
