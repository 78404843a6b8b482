"""The end of an instance: stop_db is answered, and Trove takes the server away."""

from __future__ import annotations

import pytest
from guest import Guest
from processes import Unready, wait_for
from shell import Shell

STOP_DB_LIMIT = 12.0
"""Below agent_call_low_timeout (15 s): the taskmanager goes on after that time as well, but was not answered."""


@pytest.mark.row("instance delete", "stop_db is answered; the instance and its server are gone")
def test_the_instance_is_deleted(guest: Guest, shell: Shell) -> None:
    shell.do("delete", guest.id)

    def gone() -> bool:
        return not guest.shells["openstack"].run("show", guest.id).succeeded

    try:
        wait_for("the instance is gone", gone, STOP_DB_LIMIT, guest.evidence, poll=0.3)
    except Unready as error:
        raise AssertionError(f"the taskmanager was kept waiting:\n{error}") from error
    assert guest.server() is None
    assert guest.agent is not None and "stop_db" in guest.agent.log()
    assert guest.agent.process is not None and guest.agent.process.running, "the agent goes with its server, not before"
