"""root-enable, root-show, root-disable."""

from __future__ import annotations

import pytest
from couch import User
from guest import Guest
from shell import Shell
from steps import fresh, make_database


def is_enabled(shell: Shell, guest: Guest) -> bool:
    """What root-show shows."""
    return str(shell.do("root-show", guest.id)["is_root_enabled"]) == "True"


@pytest.mark.row("root-enable", "generated password: root logs in with it and administers the server")
@pytest.mark.row("root-enable", "--root_password: that one works, the earlier one no longer")
@pytest.mark.row("root-show", "False, True while enabled, False again")
@pytest.mark.row("root-disable", "root can't log in any more; os_admin and users can")
def test_root_from_enable_to_disable(guest: Guest, shell: Shell) -> None:
    couch, database = guest.couch.client, make_database(guest, shell)
    assert not is_enabled(shell, guest)

    shown = shell.do("root-enable", guest.id)
    assert shown["name"] == "root"
    generated = User("root", shown["password"])
    assert len(generated.password) >= 16, "a generated password is long"
    assert couch.is_admin(generated)
    assert couch.administers(generated)
    assert couch.reads(database, generated)
    assert is_enabled(shell, guest)

    given = User("root", fresh("Chosen-root-password"))
    shown = shell.do("root-enable", guest.id, "--root_password", given.password)
    assert (shown["name"], shown["password"]) == ("root", given.password)
    assert couch.administers(given)
    assert not couch.is_admin(generated)

    shell.do("root-disable", guest.id)
    assert not couch.is_admin(given)
    assert not is_enabled(shell, guest)
    assert couch.administers(guest.couch.admin)
    assert shell.do("database-list", guest.id), "os_admin is still there"


@pytest.mark.row("root-enable", "enabled again after a disable: a new password")
def test_root_is_enabled_again(guest: Guest, shell: Shell) -> None:
    passwords = []
    for _ in range(2):
        passwords.append(shell.do("root-enable", guest.id)["password"])
        assert guest.couch.client.administers(User("root", passwords[-1]))
        shell.do("root-disable", guest.id)
    assert passwords[0] != passwords[1]
