//! The planner on models: applying a plan reaches the described state, also
//! after an interruption at any step.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::{
    apply::WantedUser,
    client::{AccessReport, DatabaseAccess},
};

fn database(name: &str) -> DatabaseName {
    name.parse().unwrap()
}

fn user(name: &str) -> UserName {
    name.parse().unwrap()
}

fn access(names: &[&str]) -> Access {
    names.iter().map(|name| database(name)).collect()
}

/// Applies a step to the model; an impossible step is a bug in the plan.
fn carry_out(present: &mut Present, step: &ApplyStep) {
    match step {
        ApplyStep::CreateDatabase(name) => {
            assert!(present.databases.insert(name.clone()), "exists: {name:?}");
        }
        ApplyStep::CreateUser(name, access) => {
            assert!(access.is_subset(&present.databases), "a database of {name:?} is missing");
            assert!(present.users.insert(name.clone(), access.clone()).is_none(), "exists: {name:?}");
        }
        ApplyStep::SetPassword(name) => assert!(present.users.contains_key(name)),
        ApplyStep::Grant(name, more) => {
            assert!(more.is_subset(&present.databases));
            present.users.get_mut(name).unwrap().extend(more.iter().cloned());
        }
        ApplyStep::Revoke(name, database) => assert!(present.users.get_mut(name).unwrap().remove(database)),
        ApplyStep::DeleteUser(name, _) => assert!(present.users.remove(name).is_some()),
        ApplyStep::DeleteDatabase(name) => {
            assert!(present.databases.remove(name));
            for access in present.users.values_mut() {
                access.remove(name);
            }
        }
    }
}

fn applied(mut present: Present, steps: &[ApplyStep]) -> Present {
    for step in steps {
        carry_out(&mut present, step);
    }
    present
}

/// The state that a file describes: with `prune` exactly the file, otherwise the current state and the file.
fn described(present: &Present, wanted: &Wanted, prune: bool) -> Present {
    let mut state = if prune { Present::default() } else { present.clone() };
    state.databases.extend(wanted.databases.iter().cloned());
    for (name, user) in &wanted.users {
        state.users.entry(name.clone()).or_default().extend(user.databases.iter().cloned());
    }
    state.odd.clone_from(&present.odd);
    state
}

#[test]
fn a_plan_in_full() {
    let present = Present {
        databases: access(&["old", "shop"]),
        users: BTreeMap::from([
            (user("al"), access(&["old", "shop"])),
            (user("bo"), access(&[])),
            (user("gone"), access(&["shop"])),
        ]),
        odd: BTreeSet::from(["a.couch".to_owned()]),
        ..Present::default()
    };
    let wants = |databases: &[&str], rotate_password| WantedUser {
        databases: access(databases),
        rotate_password,
        ..WantedUser::default()
    };
    let wanted = Wanted {
        databases: access(&["log", "shop"]),
        users: BTreeMap::from([
            (user("al"), wants(&["log"], false)),
            (user("bo"), wants(&["shop"], true)),
            (user("new"), wants(&["log", "shop"], false)),
        ]),
    };
    let steps = plan(&present, &wanted, true).steps;
    assert_eq!(
        steps,
        [
            ApplyStep::CreateDatabase(database("log")),
            ApplyStep::Grant(user("al"), access(&["log"])),
            ApplyStep::SetPassword(user("bo")),
            ApplyStep::Grant(user("bo"), access(&["shop"])),
            ApplyStep::CreateUser(user("new"), access(&["log", "shop"])),
            ApplyStep::Revoke(user("al"), database("shop")),
            ApplyStep::DeleteUser(user("gone"), None),
            ApplyStep::DeleteDatabase(database("old")),
        ]
    );
    let additive = plan(&present, &wanted, false);
    assert_eq!(additive.steps, steps[..5]);
    assert_eq!(
        additive.left_alone,
        [
            r#"access of user "al" to "shop""#,
            r#"user "gone""#,
            r#"database "old""#,
            r#""a.couch" (its name can't be managed)"#,
        ]
    );
}

/// Mutation: own-database-unsaid (docs/guarantees.md).
#[test]
fn a_database_that_goes_with_its_user_is_named_once_and_never_against_the_file() {
    let own = |name: &str| OwnDatabase { database: name.to_owned(), documents: 3, bytes: 2048 };
    let present = Present {
        databases: access(&["userdb-616c", "userdb-626f"]),
        users: BTreeMap::from([(user("al"), access(&[])), (user("bo"), access(&[]))]),
        own: BTreeMap::from([(user("al"), own("userdb-616c")), (user("bo"), own("userdb-626f"))]),
        ..Present::default()
    };
    let wanted = Wanted { databases: access(&["userdb-626f"]), ..Wanted::default() };
    let planned = plan(&present, &wanted, true);
    assert_eq!(
        planned.steps,
        [
            ApplyStep::DeleteUser(user("al"), Some(own("userdb-616c"))),
            ApplyStep::DeleteUser(user("bo"), Some(own("userdb-626f"))),
        ]
    );
    assert_eq!(
        planned.contradictions,
        [
            r#"the file keeps database "userdb-626f" (3 documents, 2.0 KiB), and CouchDB deletes it with user "bo""#
        ]
    );
}

#[test]
fn access_that_no_file_describes_is_reported_and_unknown_access_is_left_alone() {
    let public = DatabaseAccess { database: "open".to_owned(), public: true, ..DatabaseAccess::default() };
    let gone = DatabaseAccess { database: "gone".to_owned(), public: true, ..DatabaseAccess::default() };
    let present = Present {
        databases: access(&["broken", "gone", "odd", "open"]),
        users: BTreeMap::from([(user("al"), access(&[]))]),
        access: AccessReport {
            databases: vec![public, gone],
            unknown: vec!["broken".into(), "odd".into()],
            ..AccessReport::default()
        },
        ..Present::default()
    };
    let al = WantedUser { databases: access(&["broken", "open"]), ..WantedUser::default() };
    let wanted = Wanted { databases: access(&["broken", "open"]), users: BTreeMap::from([(user("al"), al)]) };
    let planned = plan(&present, &wanted, true);
    assert_eq!(
        planned.steps,
        [ApplyStep::Grant(user("al"), access(&["open"])), ApplyStep::DeleteDatabase(database("gone"))]
    );
    assert_eq!(planned.undescribed.len(), 3, "{:?}", planned.undescribed);
    assert!(!planned.is_as_described());
}

fn some_databases() -> impl Strategy<Value = Access> {
    proptest::collection::btree_set("[a-e]", 0..5)
        .prop_map(|names| names.iter().map(|name| database(name)).collect())
}

/// Users `u` to `z` with access to existing databases.
fn some_users() -> impl Strategy<Value = BTreeMap<String, Access>> {
    proptest::collection::btree_map("[u-z]", some_databases(), 0..5)
}

prop_compose! {
    fn some_present()(databases in some_databases(), users in some_users()) -> Present {
        let users = users.into_iter();
        let users = users.map(|(name, access)| (user(&name), access.intersection(&databases).cloned().collect()));
        Present { users: users.collect(), databases, ..Present::default() }
    }
}

prop_compose! {
    fn some_wanted()(databases in some_databases(), users in some_users()) -> Wanted {
        let wants = |access: Access| WantedUser {
            databases: access.intersection(&databases).cloned().collect(),
            ..WantedUser::default()
        };
        let users = users.into_iter().map(|(name, access)| (user(&name), wants(access))).collect();
        Wanted { databases, users }
    }
}

proptest! {
    #[test]
    fn applied_it_reaches_what_is_wanted(
        present in some_present(), wanted in some_wanted(), prune in any::<bool>(),
    ) {
        let steps = plan(&present, &wanted, prune).steps;
        let reached = applied(present.clone(), &steps);
        prop_assert_eq!(&reached, &described(&present, &wanted, prune));
        prop_assert_eq!(plan(&reached, &wanted, prune).steps, []);
    }

    #[test]
    fn cut_short_anywhere_the_next_run_reaches_the_same(
        present in some_present(), wanted in some_wanted(), prune in any::<bool>(), cut in any::<prop::sample::Index>(),
    ) {
        let steps = plan(&present, &wanted, prune).steps;
        let halfway = applied(present.clone(), &steps[..cut.index(steps.len() + 1)]);
        let again = plan(&halfway, &wanted, prune).steps;
        prop_assert!(again.len() <= steps.len());
        prop_assert_eq!(applied(halfway, &again), described(&present, &wanted, prune));
    }

    #[test]
    fn without_prune_nothing_is_taken_away(present in some_present(), wanted in some_wanted()) {
        let takes = |step: &ApplyStep| matches!(step, ApplyStep::Revoke(..) | ApplyStep::DeleteUser(..) | ApplyStep::DeleteDatabase(_));
        let steps = plan(&present, &wanted, false).steps;
        prop_assert!(!steps.iter().any(takes));
    }
}
