//! The configurations that the agent refuses, and their error messages.

use super::{Layers, REQUIRED};
use crate::section::Validation;
use crate::{Settings, keys};

#[test]
fn what_is_missing_is_named_with_the_place_it_usually_comes_from() {
    let message = Layers::default().refusal();
    let lines: Vec<&str> = message.lines().map(str::trim).collect();
    assert!(
        lines[1].starts_with("guest.id is not set; Trove writes it as guest_id to /etc/trove/conf.d/"),
        "{message}"
    );
    assert!(lines[2].starts_with("broker.transport_url is not set; Trove copies it from"), "{message}");
    let message = Layers::conf(&[("a.conf", "[DEFAULT]\nguest_id = g\n")]).refusal();
    assert!(message.starts_with("broker.transport_url is not set; Trove copies it from"), "{message}");
}

/// A mistake in `agent.toml`, and a part of its error message.
const MISTAKES: &[(&str, &str)] = &[
    (
        "[guest]\nstate_dir = \"state\"",
        "guest.state_dir cannot be \"state\"; write a path that begins with / or ~/",
    ),
    ("[broker]\nprefetch = 0", "broker.prefetch cannot be 0; write a whole number from 1 to 65535"),
    ("[broker]\nheartbeat = -1", "broker.heartbeat cannot be -1; write a whole number from 0 to 65535"),
    (
        "[broker]\nlogin_method = \"EXTERNAL\"",
        "broker.login_method cannot be \"EXTERNAL\"; write AMQPLAIN or PLAIN",
    ),
    (
        "[broker]\nha_queues = true\nquorum_queue = true",
        "broker.ha_queues and broker.quorum_queue are both on",
    ),
    (
        "[broker]\nha_queues = true\nquorum_queue = true\nreconnect_min = 31",
        "broker.reconnect_min (31 s) is above broker.reconnect_max (30 s)",
    ),
    ("[broker]\nreconnect_min = 31", "broker.reconnect_min (31 s) is above broker.reconnect_max (30 s)"),
    (
        "[broker]\ntls_key_file = \"/k\"",
        "broker.tls_key_file is only half of a certificate and its key; set broker.tls_cert_file",
    ),
    ("[broker]\ncontrol_exchange = \"a\\tb\"", "broker.control_exchange is no AMQP name"),
    ("[couchdb]\nurl = \"127.0.0.1:5984\"", "couchdb.url is"),
    ("[couchdb]\nurl = \"ftp://h\"", "couchdb.url is neither http nor https"),
    (
        "[couchdb]\nurl = \"http://h/db\"",
        "couchdb.url has a path, query or fragment; write only scheme, host and port",
    ),
    (
        "[couchdb]\nurl = \"http://u@h\"",
        "couchdb.url holds credentials, which belong in couchdb.credentials_file",
    ),
    (
        "[swift]\nurl = \"ftp://h/v1/AUTH_\"",
        "swift.url is no URL of http or https; write https://HOST/v1/AUTH_",
    ),
    ("[swift]\nurl = \"http://u:p@h/v1/AUTH_\"", "swift.url has a login; the agent sends the token"),
    ("[swift]\nurl = \"http://h/v1?a=\"", "swift.url has a query or a fragment"),
    ("[swift]\nurl = \"http://h\"", "swift.url has no path"),
    (
        "[swift]\nendpoint_type = \"public\"",
        "swift.endpoint_type cannot be \"public\"; write publicURL or internalURL or adminURL",
    ),
    (
        "[guest_log]\ncontainer = \"a/b\"",
        "guest_log.container cannot be \"a/b\"; write a name of at most 256 bytes",
    ),
    ("[guest_log]\npiece_bytes = 1", "guest_log.piece_bytes cannot be 1; write a whole number from 4096"),
    ("[couchdb]\nbootstrap_admin = \"a\"", "couchdb.bootstrap_admin has no password"),
    ("[couchdb]\nbootstrap_admin_password = \"p\"", "couchdb.bootstrap_admin is not set; its password is"),
    (
        "[couchdb]\nrequest_timeout = 0",
        "couchdb.request_timeout cannot be 0; write a number of seconds from 0.1 to 3600",
    ),
    ("[rpc]\nmax_concurrent = 0", "rpc.max_concurrent cannot be 0"),
    ("[heartbeat]\njitter = 0.9", "heartbeat.jitter cannot be 0.9; write a fraction from 0 to 0.5"),
    ("[log]\nfilter = \"inof\"", "log.filter has the part \"inof\"; write one of off, error"),
    ("[log]\nfilter = \"info,=debug\"", "log.filter has the part \"=debug\""),
    ("[log]\nformat = \"xml\"", "log.format cannot be \"xml\"; write text or json"),
    ("[trace]\notlp_endpoint = \"collector:4318\"", "trace.otlp_endpoint is no URL of http or https"),
    (
        "[trace]\notlp_endpoint = \"http://192.0.2.1:4318\"",
        "trace.otlp_endpoint would send spans over the network in clear",
    ),
    ("[trace]\notlp_endpoint = \"https://u:p@h\"", "trace.otlp_endpoint has a login"),
];

#[test]
fn values_that_cannot_be_used_are_named_with_a_remedy() {
    for (toml, expected) in MISTAKES {
        let message = Layers::toml(toml).refusal();
        assert!(message.contains(expected), "{expected:?} is not in {message:?}");
        assert!(message.contains("agent.toml line ") || message.contains("is not set"), "{message}");
    }
}

#[test]
fn a_guest_id_that_cannot_name_a_queue_is_refused() {
    let message = |id: &str| Layers::options(&[("guest.id", id)]).refusal();
    assert_eq!(
        message("a b"),
        "command line option --test: guest.id cannot be \"a b\"; write the id of the instance: at most 200 letters, \
         digits, dots, dashes or underscores"
    );
    assert!(message(&"x".repeat(201)).contains("guest.id cannot be"));
}

#[test]
fn a_filter_by_target_is_fine() {
    let filter = "warn,trove_couchdb_agent::couch=DEBUG";
    let settings = Layers::options(&[("log.filter", filter)]).settings().unwrap();
    assert_eq!(settings.log.filter.as_str(), filter);
}

#[test]
fn a_compression_that_is_not_read_is_worth_a_warning() {
    let warnings = |value: &str| {
        let conf = format!("{REQUIRED}[oslo_messaging_rabbit]\nkombu_compression = {value}\n");
        Layers::conf(&[("a.conf", &conf)]).warnings()
    };
    for unread in ["bz2", "lzma", "brotli", "zstd", "GZIP"] {
        let [warning] = &warnings(unread)[..] else { panic!("{unread}") };
        assert!(warning.contains("[oslo_messaging_rabbit] kombu_compression: ") && warning.contains(unread));
        assert!(warning.contains("Set it to gzip"), "{warning}");
    }
    for fine in ["gzip", "zlib", ""] {
        assert!(warnings(fine).is_empty(), "{fine}");
    }
    let in_the_url = [("broker.transport_url", "rabbit://u:p@h/?kombu_compression=bz2")];
    assert_eq!(Layers::options(&in_the_url).warnings().len(), 1);
}

#[test]
fn a_couchdb_elsewhere_without_tls_is_worth_a_warning() {
    let warnings = |url: &str| Layers::options(&[("couchdb.url", url)]).warnings();
    assert_eq!(warnings("http://10.0.0.1:5984").len(), 1);
    for fine in ["https://10.0.0.1", "http://127.0.0.9:1", "http://[::1]:5984", "http://localhost:5984/"] {
        assert!(warnings(fine).is_empty(), "{fine}");
    }
}

#[test]
fn every_mistake_is_named_at_once_whatever_kind_and_file() {
    let toml =
        "[rpc]\nmax_concurrent = 0\nshutdown_grace = -1\n[broker]\nheartbeet = 5\n[log]\nfilter = \"inof\"\n";
    let conf = "[DEFAULT]\ntransport_url = rabbit://u:p@h:x/\n[oslo_messaging_rabbit]\nrabbit_quorum_queue = maybe\n";
    let message = Layers { toml, conf: &[("a.conf", conf)], ..Layers::default() }.refusal();
    for mistake in [
        "7 mistakes",
        "agent.toml line 5: there is no key \"broker.heartbeet\"; did you mean \"broker.heartbeat\"?",
        "conf.d/a.conf line 4, [oslo_messaging_rabbit] rabbit_quorum_queue: broker.quorum_queue cannot be \"maybe\"; \
         write true or false (1/0, yes/no and on/off do as well)\n",
        "guest.id is not set",
        "a.conf line 2, [DEFAULT] transport_url: broker.transport_url is no transport URL",
        "agent.toml line 2: rpc.max_concurrent cannot be 0",
        "agent.toml line 3: rpc.shutdown_grace cannot be -1",
        "agent.toml line 7: log.filter has the part",
    ] {
        assert!(message.contains(mistake), "{mistake:?} is not in {message}");
    }
}

#[test]
fn an_option_in_the_wrong_section_is_named_with_the_right_one() {
    let conf = "[oslo_messaging_rabbit]\ntransport_url = rabbit://u:p@h/\nrabbit_host = h\n";
    let refusal = Layers::conf(&[("a.conf", conf), ("b.conf", "[DEFAULT]\nguest_id=g\n")]).refusal();
    assert!(
        refusal.starts_with("broker.transport_url is not set; ") && !refusal.contains("u:p"),
        "{refusal}"
    );
    assert!(
        refusal.ends_with(
            "a.conf line 2: transport_url is in the section [oslo_messaging_rabbit], where it is not read; move it to \
             [DEFAULT]"
        ),
        "{refusal}"
    );
    // Mistakes that do not prevent the start become warnings.
    let conf = "[DEFAULT]\nrabbit_quorum_queue = true\n[oslo_messaging_notifications]\ntransport_url = rabbit://h/\n\
                [mysql]\nignore_users = x\n[default]\ncontrol_exchange = trove\n[other]\nssl = true\n";
    let warnings = Layers::conf(&[("a.conf", REQUIRED), ("b.conf", conf)]).warnings();
    let places: Vec<&str> = warnings.iter().map(|text| text.rsplit("b.conf ").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "line 2: rabbit_quorum_queue is in the section [DEFAULT], where it is not read; move it to \
             [oslo_messaging_rabbit]",
            "line 8: control_exchange is in the section [default], where it is not read; move it to [DEFAULT]",
        ]
    );
}

#[test]
fn a_misspelt_local_is_named_as_what_it_is() {
    for nearly in ["local", "LOCAL:", "local://", " local ", "Local"] {
        let toml = format!("[broker]\ntransport_url = \"{nearly}\"\n");
        let message = Layers { toml: &toml, ..Layers::default() }.refusal();
        assert!(
            message.contains("agent.toml line 2: broker.transport_url cannot be"),
            "{nearly:?}: {message}"
        );
        assert!(message.ends_with(
            "write \"local:\", with the colon and nothing behind it, for an agent without a broker"
        ));
    }
    let bare = Layers { toml: "transport_url = \"local:\"\n", ..Layers::default() }.refusal();
    assert!(bare.contains("transport_url belongs in the section [broker]"), "{bare}");
}

#[test]
fn what_an_image_cannot_know_is_no_mistake_and_everything_else_is() {
    let unconfigured = |layers: Layers<'_>| layers.settings().unwrap_err().is_unconfigured();
    assert!(unconfigured(Layers::default()));
    assert!(unconfigured(Layers::conf(&[("a.conf", "[DEFAULT]\nguest_id = g\n")])));
    assert!(!unconfigured(Layers { toml: "[rpc]\nmax_concurrent = 0\n", ..Layers::default() }));
    assert!(!unconfigured(Layers { toml: "transport_url = \"local:\"\n", ..Layers::default() }));
    let misplaced = "[oslo_messaging_rabbit]\ntransport_url = rabbit://h/\n";
    assert!(!unconfigured(Layers::conf(&[("a.conf", misplaced)])));
}

/// An invalid default would hide the mistakes in all later sections.
#[test]
fn what_stands_in_for_a_mistake_is_sound() {
    let mut validation = Validation::new(keys::stand_ins(), keys::stand_ins(), None);
    assert!(Settings::of(&mut validation).is_ok());
}
