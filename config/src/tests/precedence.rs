//! The precedence of the layers.

use std::time::Duration;

use super::{Layers, REQUIRED};

const TOML: &str = "[heartbeat]\ninterval = 11\n";
const CONF: (&str, &str) = ("b.conf", "[DEFAULT]\nreport_interval = 12\n");
const ENVIRONMENT: (&str, &str) = ("TROVE_COUCHDB_HEARTBEAT__INTERVAL", "13");
const COMMAND_LINE: (&str, &str) = ("heartbeat.interval", "14");

#[test]
fn each_layer_outranks_those_before_it() {
    // All 16 combinations of the four layers above the defaults.
    for set in 0..16_u8 {
        let on = |layer: u8| set & (1 << layer) != 0;
        let mut conf = vec![("a.conf", REQUIRED)];
        conf.extend(on(1).then_some(CONF));
        let environment: Vec<_> = on(2).then_some(ENVIRONMENT).into_iter().collect();
        let command_line: Vec<_> = on(3).then_some(COMMAND_LINE).into_iter().collect();
        let layers = Layers {
            toml: if on(0) { TOML } else { "" },
            conf: &conf,
            environment: &environment,
            command_line: &command_line,
        };
        // The default is 30; the highest enabled layer wins.
        let expected = (0..4).rev().find(|layer| on(*layer)).map_or(30, |layer| 11 + u64::from(layer));
        let interval = layers.settings().unwrap().heartbeat.interval;
        assert_eq!(interval, Duration::from_secs(expected), "layers {set:04b}");
    }
}

#[test]
fn an_old_name_is_accepted_with_a_warning_that_has_the_new_one() {
    let in_toml = Layers::toml("[rpc]\ncall_patience = 7\n");
    assert_eq!(in_toml.settings().unwrap().rpc.call_retry_timeout, Duration::from_secs(7));
    let [warning] = &in_toml.warnings()[..] else { panic!("{:?}", in_toml.warnings()) };
    let expected =
        "agent.toml line 2: rpc.call_patience is an old name that still works; write rpc.call_retry_timeout";
    assert!(warning.ends_with(expected), "{warning}");
    assert!(in_toml.check().unwrap().contains("call_retry_timeout = 7"));

    let in_environment = Layers::variables(&[("TROVE_COUCHDB_RPC__PREPARE_PATIENCE", "8")]);
    assert_eq!(in_environment.settings().unwrap().rpc.prepare_retry_timeout, Duration::from_secs(8));
    let warnings = in_environment.warnings().concat();
    assert!(
        warnings.contains("TROVE_COUCHDB_RPC__PREPARE_PATIENCE: ")
            && warnings.contains("prepare_retry_timeout")
    );
    assert!(Layers::toml("[rpc]\ncall_retry_timeout = 7\n").warnings().is_empty());
}

#[test]
fn a_key_that_is_set_by_both_names_is_refused_whichever_layers_have_them() {
    let both = Layers::toml("[rpc]\ncast_patience = 1\ncast_retry_timeout = 2\n").refusal();
    assert!(
        both.contains("agent.toml line 3: rpc.cast_retry_timeout and rpc.cast_patience are both set"),
        "{both}"
    );
    assert!(both.contains("agent.toml line 2"), "{both}");
    let variable = ("TROVE_COUCHDB_RPC__CAST_PATIENCE", "1");
    let toml = "[rpc]\ncast_retry_timeout = 2\n";
    let apart = Layers { environment: &[variable], ..Layers::toml(toml) };
    assert!(apart.refusal().contains("remove it"), "{}", apart.refusal());
    // An empty variable is not set.
    let empty = Layers { environment: &[(variable.0, "")], ..Layers::toml(toml) };
    assert_eq!(empty.settings().unwrap().rpc.cast_retry_timeout, Duration::from_secs(2));
    // One name in two layers is as usual.
    let old_twice = Layers { environment: &[variable], ..Layers::toml("[rpc]\ncast_patience = 2\n") };
    assert_eq!(old_twice.settings().unwrap().rpc.cast_retry_timeout, Duration::from_secs(1));
}

#[test]
fn the_query_of_the_transport_url_outranks_the_option_it_names() {
    // oslo_messaging/_drivers/common.py, ConfigOptsProxy.
    let url = "rabbit://u:p@h/?rabbit_quorum_queue=true&heartbeat_timeout_threshold=7&somebody=else";
    let layers = Layers {
        conf: &[("a.conf", "[oslo_messaging_rabbit]\nheartbeat_timeout_threshold = 30\n")],
        environment: &[("TROVE_COUCHDB_BROKER__TRANSPORT_URL", url), ("TROVE_COUCHDB_GUEST__ID", "g")],
        ..Layers::default()
    };
    let broker = layers.broker();
    assert!(broker.quorum_queue);
    assert_eq!(broker.heartbeat, Duration::from_secs(7));
    let shown = layers.check().unwrap();
    assert!(
        shown.contains("# query option heartbeat_timeout_threshold of the transport URL from environment"),
        "{shown}"
    );
}

#[test]
fn each_value_is_shown_with_the_layer_it_came_from() {
    let layers = Layers {
        toml: "[log]\nformat = \"json\"\n",
        conf: &[("a.conf", REQUIRED)],
        environment: &[("TROVE_COUCHDB_RPC__MAX_CONCURRENT", "3")],
        command_line: &[("guest.state_dir", "/s")],
    };
    let shown = layers.check().unwrap();
    for expected in [
        "agent.toml line 2\nformat = \"json\"\n",
        "conf.d/a.conf line 2, [DEFAULT] guest_id\nid = \"g-1\"\n",
        "# environment variable TROVE_COUCHDB_RPC__MAX_CONCURRENT\nmax_concurrent = 3\n",
        "# command line option --test\nstate_dir = \"/s\"\n",
        "# default\ninterval = 30\n",
        "# default\nignore_users = [\"os_admin\", \"root\"]\n",
        "# encryption_key is not set. The key that",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in:\n{shown}");
    }
}

#[test]
fn what_check_config_prints_is_a_configuration_that_loads_to_the_same() {
    let layers =
        Layers::toml("[broker]\nprefetch = 5\nreconnect_min = 0.25\n[couchdb]\nignore_dbs = [\"x\"]\n");
    let printed = layers.check().unwrap();
    let again = Layers { toml: &printed, ..Layers::default() }.settings().unwrap();
    assert_eq!(format!("{:?}", again.rpc), format!("{:?}", layers.settings().unwrap().rpc));
    assert_eq!(
        (again.broker.as_ref().unwrap().prefetch, again.broker.as_ref().unwrap().reconnect_min),
        (5, Duration::from_millis(250))
    );
    assert_eq!((again.couchdb.ignore_dbs, again.guest.id), (vec!["x".to_owned()], "g-1".to_owned()));
}
