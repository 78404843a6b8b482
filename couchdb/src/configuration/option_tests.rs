use super::*;

fn option(kind: Kind) -> ConfigOption {
    live("chttpd_auth.timeout", kind, (1, 6), "It.")
}

#[test]
fn values_that_couchdb_would_read_differently_are_refused() {
    let text = option(Kind::Text);
    assert_eq!(text.value(" a;b ").as_deref(), Ok("a;b"));
    for wrong in ["", "  ", "a ;b", "a\t;b", ";a", "a\nb", "a\u{7}b", "\u{20ac}", &"x".repeat(2_001)] {
        assert!(text.value(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn each_kind_has_its_values() {
    let good = [
        (Kind::Bool, "true"),
        (Kind::Whole { min: 1, max: 9 }, "9"),
        (Kind::Word(&["a", "b"]), "b"),
        (Kind::Words(&["a", "b"]), "b, a"),
        (Kind::Header, "X-Auth-Name"),
        (Kind::Fields, "first_name, url"),
        (Kind::Address, "any"),
        (Kind::Address, "::1"),
        (Kind::Place, "/_utils/#login"),
    ];
    for (kind, text) in good {
        assert!(option(kind).value(text).is_ok(), "{kind:?} {text}");
    }
    let wrong = [
        (Kind::Bool, "True"),
        (Kind::Whole { min: 1, max: 9 }, "10"),
        (Kind::Whole { min: 1, max: 9 }, "0"),
        (Kind::Whole { min: 1, max: 9 }, "-1"),
        (Kind::Whole { min: 1, max: 9 }, "99999999999999999999"),
        (Kind::Word(&["a", "b"]), "a, b"),
        (Kind::Words(&["a", "b"]), "a,,b"),
        (Kind::Header, "X Auth"),
        (Kind::Fields, "derived_key"),
        (Kind::Fields, "name, salt"),
        (Kind::Address, "localhost"),
        (Kind::Place, "https://elsewhere.example"),
        (Kind::Place, "//elsewhere.example"),
    ];
    for (kind, text) in wrong {
        assert_eq!(option(kind).value(text), Err(kind.expected()), "{kind:?} {text}");
    }
}

#[test]
fn logins_have_an_older_section() {
    let version = |major, minor| ServerVersion { major, minor };
    let timeout = option(Kind::Bool);
    for (on, section) in [
        (version(3, 5), LOGIN),
        (version(3, 2), LOGIN),
        (version(3, 1), OLD_LOGIN),
        (version(1, 6), OLD_LOGIN),
    ] {
        assert_eq!(timeout.section_on(on), section, "{on}");
    }
    assert!(timeout.is_called("couch_httpd_auth.timeout") && !timeout.is_called("couch_httpd_auth.time"));
    let log = live("log.level", Kind::Text, (1, 6), "It.");
    assert_eq!(log.section_on(version(1, 6)), "log");
    assert!(!log.is_called("couch_httpd_auth.level"));
}
