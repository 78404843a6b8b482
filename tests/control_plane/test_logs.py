"""Logs and modules: what users do with them, against a real object store and through the shells' own readers."""

from __future__ import annotations

from pathlib import Path

import pytest
from guest import Guest
from results import Results


def log_file(guest: Guest) -> Path:
    """CouchDB's log, as the agent is configured."""
    return guest.agent.directory / "couchdb.log"


def shown(guest: Guest, command: str, *arguments: str) -> dict[str, str]:
    """What the `trove` shell shows of the log."""
    return guest.shells["trove"].do(command, guest.id, "couchdb", *arguments)


@pytest.mark.row("log list", "status, and the bytes that are published and pending")
def test_list(guest: Guest) -> None:
    log_file(guest).write_text("first\n")
    shown(guest, "log-discard")
    for shell in guest.shells.values():
        [log] = shell.do("log-list", guest.id)
        assert (log["name"], log["type"], log["status"], str(log["pending"])) == ("couchdb", "USER", "Ready", "6")


@pytest.mark.row("log set", "--publish: in the object store, and read by log tail and log save")
def test_publish(guest: Guest, tmp_path: Path) -> None:
    shown(guest, "log-discard")
    log_file(guest).write_text("one\ntwo\nthree\n")
    guest.shells["openstack"].do("log-set", guest.id, "couchdb", "--publish")
    log = shown(guest, "log-show")
    assert (log["status"], log["published"], log["container"]) == ("Published", "14", "database_logs"), log
    for shell, lines in guest.shells.items():
        tail = guest.shells[shell].run("log-tail", guest.id, "couchdb", "--lines", "2").check()
        assert tail.output.endswith("two\nthree\n") and "one" not in tail.output, (lines, tail.output)
        file = tmp_path / shell
        guest.shells[shell].run("log-save", guest.id, "couchdb", "--file", str(file)).check()
        assert file.read_text() == "one\ntwo\nthree\n"
    log_file(guest).write_text("rotated\n")
    assert shown(guest, "log-show")["status"] == "Rotated"
    assert shown(guest, "log-publish")["published"] == "8"


@pytest.mark.row("log set", "--disable, --enable, --discard: the status changes, and the objects are gone")
def test_disable_and_discard(guest: Guest) -> None:
    log_file(guest).write_text("one\n")
    shown(guest, "log-publish")
    assert shown(guest, "log-disable")["status"] == "Disabled"
    assert shown(guest, "log-enable")["status"] == "Published"
    assert shown(guest, "log-discard")["published"] == "0"
    tail = guest.shells["trove"].run("log-tail", guest.id, "couchdb")
    assert "No published 'couchdb' log was found" in tail.output, tail.output


@pytest.mark.row("log set", "a file that can't be read: the reason")
def test_unreadable(encrypted: Guest, results: Results) -> None:
    log_file(encrypted).unlink(missing_ok=True)
    assert shown(encrypted, "log-show")["status"] == "Unavailable"
    seen = encrypted.shells["openstack"].refused("log-set", encrypted.id, "couchdb", "--publish")
    assert "does not exist" in seen, seen
    results.saw("log set", "the log file is missing", "encrypted", seen)
    seen = encrypted.shells["openstack"].refused("log-set", encrypted.id, "guest", "--publish")
    assert "You must be admin to publish log 'guest'." in seen, seen
    results.saw("log set", "the agent's own log, by a user who is no administrator", "encrypted", seen)


@pytest.mark.row("module apply", "`ping` answers with its message; list, query and remove show it")
def test_module(guest: Guest, tmp_path: Path) -> None:
    file = tmp_path / "ping"
    file.write_text("message=Hello\n")
    trove = guest.shells["trove"]
    name = f"ping-{guest.way.name.replace(' ', '-')}"
    trove.run("module-create", name, "ping", str(file)).check()
    applied = trove.run("module-apply", guest.id, name).check().output
    assert "OK" in applied and "Hello" in applied, applied
    assert name in trove.run("module-query", guest.id).check().output
    trove.run("module-retrieve", guest.id, "--directory", str(tmp_path)).check()
    assert (tmp_path / f"{name}_all_all.dat").read_text() == "message=Hello\n"
    trove.run("module-remove", guest.id, name).check()
    assert name not in trove.run("module-query", guest.id).check().output
