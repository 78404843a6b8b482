//! oslo's grammar, case by case. Where the agent is stricter, the error
//! gives the reason without the password.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> TransportUrl {
    text.parse().unwrap()
}

fn host(host: &str, port: u16, credentials: Option<(&str, &str)>) -> Host {
    Host {
        host: host.to_owned(),
        port,
        user: credentials.map(|(user, _)| user.to_owned()),
        password: credentials.map(|(_, password)| Secret::new(password)),
    }
}

#[test]
fn one_host_with_everything() {
    let url = parse("rabbit://stack:pw@10.0.0.5:5673/trove?heartbeat=30&a+b=c%20d&empty=&bare");
    assert_eq!(url.scheme, "rabbit");
    assert_eq!(url.hosts, [host("10.0.0.5", 5673, Some(("stack", "pw")))]);
    assert_eq!(url.vhost, "trove");
    assert_eq!(url.query, [("heartbeat".into(), "30".into()), ("a b".into(), "c d".into())]);
}

#[test]
fn exposed_it_is_the_same_url_again() {
    for text in [
        "rabbit://stack:p%40w@h:5673,[::1]/tro%2Fve?ssl=1&a=b%20c",
        "rabbits://only@h//",
        "rabbit://h,b:x@h2:1/%C3%A9",
    ] {
        let url = parse(text);
        assert_eq!(parse(url.exposed().expose()), url);
        assert!(!url.to_string().contains("p%40w") && !format!("{:?}", url.exposed()).contains("p%40w"));
    }
}

#[test]
fn each_host_has_its_own_credentials() {
    let url = parse("rabbit://a:1@h1:1111,h2,,b:2@[2001:db8::1]:2222,[::1],[fe80::1%eth0]/");
    let expected = [
        host("h1", 1111, Some(("a", "1"))),
        host("h2", 5672, None),
        host("2001:db8::1", 2222, Some(("b", "2"))),
        host("::1", 5672, None),
        host("fe80::1%eth0", 5672, None),
    ];
    assert_eq!(url.hosts, expected);
}

#[test]
fn credentials_and_virtual_host_are_percent_decoded() {
    let url = parse("rabbit://us%40er:p%2C%2F%3A%40%23%C3%A9@h/my%2Fvhost");
    assert_eq!(url.hosts, [host("h", 5672, Some(("us@er", "p,/:@#é")))]);
    assert_eq!(url.vhost, "my/vhost");
    // A user may contain a bare `@` and a password may contain colons; invalid percent-encoding is kept.
    assert_eq!(parse("rabbit://u@realm:p:q%zz@h").hosts, [host("h", 5672, Some(("u@realm", "p:q%zz")))]);
    let without = &parse("rabbit://only@h").hosts[0];
    assert_eq!((without.user.as_deref(), &without.password), (Some("only"), &None));
}

#[test]
fn a_slash_or_nothing_is_the_default_virtual_host() {
    for (text, vhost) in [
        ("rabbit://h", "/"),
        ("rabbit://h/", "/"),
        ("rabbit://h//", "/"),
        ("rabbit://h/%2F", "/"),
        ("rabbit://h?a=b", "/"),
        ("rabbit://h//foo", "/foo"),
        ("rabbit://h/foo", "foo"),
    ] {
        assert_eq!(parse(text).vhost, vhost, "{text}");
    }
}

#[test]
fn tls_is_asked_for_by_scheme_or_query() {
    for text in ["rabbits://h", "amqps://h", "rabbit://h?ssl=True", "rabbit://h?ssl=1"] {
        assert!(parse(text).is_tls(), "{text}");
    }
    for text in ["rabbit://h", "amqp://h", "kombu+amqp://h", "rabbit://h?ssl=False"] {
        assert!(!parse(text).is_tls(), "{text}");
        assert_eq!(parse(text).scheme, "rabbit");
    }
    assert_eq!(parse("amqps://h").scheme, "rabbits");
}

#[test]
fn nonsense_is_refused_without_repeating_it() {
    let refusals = [
        ("", TransportUrlError::NoScheme),
        ("u:hunter2@h/", TransportUrlError::NoScheme),
        ("u:hunter2@h/?x=://", TransportUrlError::NoScheme),
        ("zmq://u:hunter2@h", TransportUrlError::Scheme("zmq".into())),
        ("rabbit://", TransportUrlError::NoHosts),
        ("rabbit:///vhost", TransportUrlError::NoHosts),
        ("rabbit://u:hunter2@", TransportUrlError::Host(1)),
        ("rabbit://u:hunter2@:5672", TransportUrlError::Host(1)),
        ("rabbit://h,u:hunter2@[::1/", TransportUrlError::Host(2)),
        ("rabbit://u:hunter2@[::1]x:5/", TransportUrlError::Host(1)),
        ("rabbit://u:hunter2@h h/", TransportUrlError::Host(1)),
        // Without an `@` or brackets, a password would be logged and looked up as a host.
        ("rabbit://u:hunter2:h:5672/", TransportUrlError::Host(1)),
        ("rabbit://h,u:hunter2:h/", TransportUrlError::Host(2)),
        ("rabbit://u:p@2001:db8::2/", TransportUrlError::Host(1)),
        ("rabbit://[u:hunter2]/", TransportUrlError::Host(1)),
        ("rabbit://[::1%hunter2!]/", TransportUrlError::Host(1)),
        ("rabbit://hunter2!/", TransportUrlError::Host(1)),
        ("rabbit://hunter2%40h/", TransportUrlError::Host(1)),
        ("rabbit://u:p@hunter2;h/", TransportUrlError::Host(1)),
        ("rabbit://u:hunter2/x@h/", TransportUrlError::Port(1)),
        ("rabbit://u:hunter2@h:0/", TransportUrlError::Port(1)),
        ("rabbit://u:hunter2@h:65536/", TransportUrlError::Port(1)),
        ("rabbit://u:hunter2@h:+5/", TransportUrlError::Port(1)),
        ("rabbit://u:hunter2#x@h/", TransportUrlError::Fragment),
        ("rabbit://u:hunter2%ff@h/", TransportUrlError::NotUtf8("password")),
    ];
    for (text, expected) in refusals {
        let error = text.parse::<TransportUrl>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert_eq!(error, expected, "{text}");
    }
}

#[test]
fn shown_urls_hold_no_password() {
    let url = parse("rabbit://us%40er:hunter2@h1,nobody@[::1]:5/my%2Fvhost?ssl_key_password=hunter2&a=b");
    let expected = "rabbit://us%40er:REDACTED@h1:5672,nobody@[::1]:5/my%2Fvhost?ssl%5Fkey%5Fpassword=…&a=…";
    assert_eq!(url.to_string(), expected);
    assert_eq!(format!("{url:?}"), format!("TransportUrl({expected})"));
    assert!(!format!("{:?}", url.hosts).contains("hunter2"));
    assert_eq!(parse("rabbit://h//").to_string(), "rabbit://h:5672/");
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>(), rest in "[a-z0-9:@,/?#\\[\\]%&=+é]{0,40}") {
        drop(text.parse::<TransportUrl>());
        drop(format!("rabbit://{rest}").parse::<TransportUrl>());
    }

    #[test]
    fn any_credentials_survive(user in "\\PC{1,20}", password in "\\PC{1,20}", vhost in "\\PC{1,20}") {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let text = format!("rabbit://{}:{}@h/{}", encode(&user), encode(&password), encode(&vhost));
        let url = parse(&text);
        prop_assert_eq!(&url.hosts, &[host("h", 5672, Some((&user, &password)))]);
        prop_assert_eq!(url.vhost, vhost);
    }
}
