//! Secrets are placed in every source, and must not appear in any output.

use std::fs;

use super::Layers;

const PLANTED: &str = "pl4nted";

#[test]
fn secrets_show_neither_in_debug_nor_in_the_output_of_check_config() {
    let toml = "[couchdb]\nbootstrap_admin = \"a\"\nbootstrap_admin_password = \"pl4nted\"\n";
    let conf = "[DEFAULT]\nguest_id=g\ninstance_rpc_encr_key=pl4nted\n\
                transport_url=rabbit://u:pl4nted@h1:1,u:pl4nted@h2:2/v\n";
    let layers = Layers { toml, conf: &[("a.conf", conf)], ..Layers::default() };
    let settings = layers.settings().unwrap();
    assert_eq!(settings.guest.encryption_key.as_ref().unwrap().expose(), PLANTED, "the test plants nothing");
    let shown = layers.check().unwrap();
    for text in [format!("{settings:?}"), format!("{settings:#?}"), shown.clone()] {
        assert!(!text.contains(PLANTED), "{text}");
        assert!(text.contains("REDACTED"), "{text}");
    }
    assert!(shown.contains("encryption_key = \"REDACTED\"\n"), "{shown}");
    assert!(shown.contains("h1") && shown.contains("h2"), "the hosts of the broker are no secret: {shown}");
}

#[test]
fn secrets_show_in_no_refusal() {
    let base = "guest_id = g\n";
    let confs = [
        "transport_url = rabbit://u:pl4nted@h:notaport/\n",
        "transport_url = http://u:pl4nted@h/\n",
        "transport_url = u:pl4nted@h\n",
        "transport_url = rabbit://u:pa$pl4nted@h/\n",
        "transport_url = rabbit://u:${pl4nted.x}@h/\n",
        "transport_url = rabbit://u:pl4nted%zz@h:99999/\n",
        "  transport_url = rabbit://u:pl4nted@h/\n",
        "rabbit://u/pl4nted\n",
        "transport_url = rabbit://u:pl4nted@h/?rabbit_quorum_queue=pl4ntex\n",
    ];
    for conf in confs {
        let conf = format!("[DEFAULT]\n{base}\n{conf}");
        let error = Layers::conf(&[("a.conf", &conf)]).settings().expect_err(&conf);
        assert!(!format!("{error} {error:?}").contains(PLANTED), "{error:?}");
    }
    let tomls = [
        "[couchdb]\nurl = \"http://u:pl4nted@h\"",
        "[couchdb]\nurl = \"http://u:pl4nted@h:port\"",
        "[broker]\ntransport_url = rabbit://u:pl4nted@h/",
        "[broker]\ntransport_url = [\"pl4nted\"]",
    ];
    for toml in tomls {
        let error = Layers::toml(toml).settings().expect_err(toml);
        assert!(!format!("{error} {error:?}").contains(PLANTED), "{error:?}");
    }
}

#[test]
fn the_password_of_the_bootstrap_admin_may_come_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    let name = ("TROVE_COUCHDB_COUCHDB__BOOTSTRAP_ADMIN", "admin");
    let path = ("TROVE_COUCHDB_COUCHDB__BOOTSTRAP_ADMIN_PASSWORD_FILE", file.to_str().unwrap());
    let variables = [name, path];
    let layers = Layers::variables(&variables);

    assert!(layers.refusal().starts_with("cannot read "));
    fs::write(&file, "\n").unwrap();
    assert!(layers.refusal().contains("bootstrap_admin_password_file names an empty file"));
    fs::write(&file, " pl4nted \n").unwrap();
    let (name, password) = layers.settings().unwrap().couchdb.bootstrap_admin.unwrap();
    assert_eq!((name.as_str(), password.expose()), ("admin", " pl4nted "), "only the line feed is dropped");
    fs::write(&file, "\u{feff}pl4nted\r\n").unwrap();
    let (_, password) = layers.settings().unwrap().couchdb.bootstrap_admin.unwrap();
    assert_eq!(password.expose(), PLANTED);
    fs::write(&file, "\u{feff}pl4nted".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>())
        .unwrap();
    let refusal = layers.refusal();
    assert!(refusal.contains("is no text: it is UTF-16") && !refusal.contains(PLANTED), "{refusal}");
    fs::write(&file, "pl4nted").unwrap();
    assert!(!layers.check().unwrap().contains(PLANTED));

    let both = "[couchdb]\nbootstrap_admin_password = \"x\"\n";
    assert!(Layers { toml: both, ..layers }.refusal().contains("are both set; keep one of them"));
}

#[test]
fn a_line_break_or_a_mark_is_no_part_of_a_secret() {
    for (variable, value) in
        [("GUEST__ENCRYPTION_KEY", "pl4nted\n"), ("GUEST__ENCRYPTION_KEY", "\u{feff}pl4nted\r\n")]
    {
        let name = format!("TROVE_COUCHDB_{variable}");
        let settings = Layers::variables(&[(&name, value)]).settings().unwrap();
        assert_eq!(settings.guest.encryption_key.unwrap().expose(), PLANTED, "{value:?}");
    }
    let url = ("TROVE_COUCHDB_BROKER__TRANSPORT_URL", "\u{feff}rabbit://u:pl4nted@h/v\n");
    let url = Layers::variables(&[url]).broker().transport_url;
    assert_eq!((url.vhost.as_str(), url.hosts[0].password.as_ref().unwrap().expose()), ("v", PLANTED));
}
