"""Names against the table that the agent's own types are run through too."""

import json
import re
from pathlib import Path

import pytest

from trove_couchdb import names
from trove_couchdb.policy import Names, Policy, quoted

CASES = json.loads(Path(__file__).with_name("names.json").read_text())
RUST = Path(__file__).parents[2] / "protocol" / "src" / "names.rs"
CHECKS = {"users": names.broken_by_user, "databases": names.broken_by_database}


@pytest.mark.parametrize("kind", CHECKS)
def test_good_names_break_no_rule(kind):
    for name in CASES[kind]["good"]:
        assert CHECKS[kind](name) is None, name


@pytest.mark.parametrize("kind", CHECKS)
def test_bad_names_break_the_rule_of_the_table(kind):
    for case in CASES[kind]["bad"]:
        broken = CHECKS[kind](case["name"])
        assert broken is not None, case
        assert broken.id == case["rule"], case


def test_every_rule_has_a_case():
    named = {case["rule"] for kind in CHECKS for case in CASES[kind]["bad"]}
    ours = {rule.id for rule in vars(names).values() if isinstance(rule, names.Rule)}
    assert named == ours - {names.NOT_TEXT.id} | {"too_long"}


@pytest.mark.skipif(not RUST.exists(), reason="the agent's source is not beside this package")
def test_the_words_and_limits_are_the_agents():
    rust = RUST.read_text()
    texts = {
        re.sub(r"(?<!^)(?=[A-Z])", "_", variant).lower(): text
        for text, variant in re.findall(r'\n    #\[error\("(.*)"\)\]\n    (\w+)', rust)
    }
    for rule in vars(names).values():
        if isinstance(rule, names.Rule) and rule is not names.NOT_TEXT:
            assert texts.pop(rule.id) == rule.text
    assert set(texts) == {"too_long"}
    assert f"MAX_USER_NAME: usize = {names.MAX_USER_NAME};" in rust
    assert f"MAX_DATABASE_NAME: usize = {names.MAX_DATABASE_NAME};" in rust


def test_half_a_surrogate_pair_is_no_name():
    assert names.broken_by_user("a\ud800") is names.NOT_TEXT
    assert names.broken_by_database("a\ud800") is names.NOT_TEXT


def test_reserved_names_are_refused_and_their_likes_are_not():
    policy = Policy(ignore_users=["backup"], ignore_dbs=["internal", "_users"])
    for name in ("os_admin", "root", "backup"):
        assert policy.refusal(Names(users=(name,))) == (
            f'user "{name}" is reserved; choose another name'
        )
    assert policy.refusal(Names(databases=("fine", "internal"))) == (
        'database "internal" is reserved; choose another name'
    )
    for name in ("_users", "_replicator", "_global_changes"):
        assert "belong to CouchDB's system databases" in policy.refusal(Names(databases=(name,)))
    assert policy.refusal(Names(users=("Root", "os_admin2"), databases=("internal2",))) is None
    assert Policy().refusal(Names(users=("root",)))


def test_refused_names_are_shown_short_and_escaped():
    assert quoted('a\r\n\x1b[31m"\\') == r'"a\r\n\u{1b}[31m\"\\"'
    assert quoted("é" * 41) == '"' + "é" * 40 + '…"'
    assert quoted("é" * 40) == '"' + "é" * 40 + '"'
