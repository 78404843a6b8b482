#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The `_security` of a new database of CouchDB 3.x.
fn fresh() -> Value {
    json!({"members": {"roles": ["_admin"]}, "admins": {"roles": ["_admin"]}})
}

fn rich() -> Value {
    json!({
        "members": {"names": ["al", "bo"], "roles": ["staff"]},
        "admins": {"names": ["boss"], "roles": ["_admin", "ops"]},
        "cloudant": {"nobody": []}, "couchdb_auth_only": true, "_id": "_security", "note": null
    })
}

#[test]
fn a_grant_keeps_everything_else() {
    let mut security = rich();
    assert!(grant(&mut security, &["cy"]).unwrap());
    let mut expected = rich();
    expected["members"]["names"] = json!(["al", "bo", "cy"]);
    assert_eq!(security, expected);
    assert!(!grant(&mut security, &["cy", "al"]).unwrap(), "no duplicate");
    assert_eq!(security, expected);
}

#[test]
fn a_fresh_3x_database_has_no_names_and_gets_them() {
    let mut security = fresh();
    assert_eq!(members(&security).count(), 0);
    assert!(grant(&mut security, &["al"]).unwrap());
    assert_eq!(
        security,
        json!({"members": {"names": ["al"], "roles": ["_admin"]}, "admins": {"roles": ["_admin"]}})
    );
}

#[test]
fn the_last_member_leaves_a_closed_database() {
    let mut security = json!({"members": {"names": ["al"]}, "admins": {}});
    assert!(revoke(&mut security, "al").unwrap());
    assert_eq!(security, json!({"members": {"names": [], "roles": ["_admin"]}, "admins": {}}));
    assert!(!is_public(&security));
}

#[test]
fn revoking_a_stranger_changes_nothing() {
    for mut security in [rich(), fresh(), json!({}), json!(true), json!(null), json!({"members": true})] {
        let before = security.clone();
        assert!(!revoke(&mut security, "nobody").unwrap());
        assert_eq!(security, before);
    }
}

#[test]
fn public_is_what_couchdb_takes_for_public() {
    for open in [
        json!({}),
        json!({"members": {}}),
        json!({"members": {"names": [], "roles": []}}),
        json!({"admins": {"names": ["al"]}}),
    ] {
        assert!(is_public(&open), "{open}");
        let mut closed = open;
        assert!(close(&mut closed).unwrap());
        assert!(!is_public(&closed));
    }
    for closed in [fresh(), rich(), json!({"readers": {"names": ["al"]}})] {
        assert!(!is_public(&closed), "{closed}");
        assert!(!close(&mut closed.clone()).unwrap());
    }
}

#[test]
fn the_readers_of_1_0_are_members() {
    let mut security = json!({"readers": {"names": ["al"], "roles": []}});
    assert!(grant(&mut security, &["bo"]).unwrap());
    assert_eq!(security, json!({"readers": {"names": ["al", "bo"], "roles": []}}));
}

#[test]
fn forgetting_and_renaming_reach_both_lists() {
    let mut security = json!({"members": {"names": ["al", "bo"]}, "admins": {"names": ["al"]}, "x": 1});
    let mut renamed = security.clone();
    assert!(forget(&mut security, &BTreeSet::from(["al"])).unwrap());
    assert_eq!(security, json!({"members": {"names": ["bo"]}, "admins": {"names": []}, "x": 1}));
    assert!(!mentions(&security, &BTreeSet::from(["al"])));

    assert!(rename(&mut renamed, "al", "zoe").unwrap());
    assert_eq!(renamed, json!({"members": {"names": ["zoe", "bo"]}, "admins": {"names": ["zoe"]}, "x": 1}));
    assert!(!rename(&mut renamed, "al", "zoe").unwrap(), "a second time there is nothing to do");
    assert!(rename(&mut renamed, "bo", "zoe").unwrap());
    assert_eq!(members(&renamed).collect::<Vec<_>>(), ["zoe"], "no duplicate");
}

#[test]
fn a_broken_object_is_left_alone() {
    for broken in
        [json!(true), json!(null), json!([]), json!({"members": true}), json!({"members": {"names": 1}})]
    {
        let mut security = broken.clone();
        assert!(grant(&mut security, &["al"]).is_err(), "{broken}");
        assert_eq!(members(&broken).count(), 0);
    }
}

/// Found by the fuzzer: the member was removed from the object although closing it failed.
#[test]
fn an_edit_that_fails_half_way_changes_nothing() {
    let half = json!({"members": {"names": ["al"], "roles": "odd"}, "admins": {"names": ["al"]}});
    let mut security = half.clone();
    assert!(revoke(&mut security, "al").is_err());
    assert!(forget(&mut security, &BTreeSet::from(["al"])).is_err());
    assert_eq!(security, half);
}

fn name() -> impl Strategy<Value = String> {
    "[a-d]"
}

fn any_security() -> impl Strategy<Value = Value> {
    let names = || prop::option::of(prop::collection::btree_set(name(), 0..4));
    (names(), prop::option::of(Just(vec!["staff"])), names(), any::<bool>()).prop_map(
        |(members, roles, admins, extra)| {
            let mut security = json!({});
            if let Some(members) = members {
                security["members"]["names"] = json!(members);
            }
            if let Some(roles) = roles {
                security["members"]["roles"] = json!(roles);
            }
            if let Some(admins) = admins {
                security["admins"] = json!({ "names": admins });
            }
            if extra {
                security["extra"] = json!({"kept": [1, 2]});
            }
            security
        },
    )
}

#[test]
fn a_shape_that_couchdb_does_not_document_is_recognised() {
    for documented in [
        json!({}),
        json!({"members": {}}),
        json!({"admins": {"names": ["a"]}, "members": {"names": [], "roles": ["r"]}, "extra": 5}),
        json!({"readers": {"names": ["a"]}}),
    ] {
        assert!(is_well_formed(&documented), "{documented}");
    }
    for odd in [
        json!([]),
        json!(null),
        json!({"members": []}),
        json!({"members": {"names": "a"}}),
        json!({"members": {"roles": [1]}}),
        json!({"admins": {"names": {}}}),
    ] {
        assert!(!is_well_formed(&odd), "{odd}");
    }
}

proptest! {
    #[test]
    fn an_edit_touches_one_name_only(before in any_security(), user in name(), granting in any::<bool>()) {
        let mut after = before.clone();
        if granting { grant(&mut after, &[&user]).unwrap() } else { revoke(&mut after, &user).unwrap() };

        prop_assert_eq!(members(&after).any(|name| name == user), granting);
        let others = |security: &Value| {
            let mut names: Vec<_> = members(security).filter(|name| *name != user).map(str::to_owned).collect();
            names.sort();
            names
        };
        prop_assert_eq!(others(&before), others(&after));
        prop_assert_eq!(&before["admins"], &after["admins"]);
        prop_assert_eq!(&before["extra"], &after["extra"]);
        prop_assert!(is_public(&before) || !is_public(&after), "an edit never opens a database");
    }

    #[test]
    fn an_edit_done_twice_is_done_once(before in any_security(), user in name(), new in name()) {
        let mut once = before.clone();
        rename(&mut once, &user, &new).unwrap();
        forget(&mut once, &BTreeSet::from([user.as_str()])).unwrap();
        let mut twice = once.clone();
        prop_assert!(!forget(&mut twice, &BTreeSet::from([user.as_str()])).unwrap());
        prop_assert_eq!(once, twice);
    }
}
