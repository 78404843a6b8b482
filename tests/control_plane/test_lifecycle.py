"""Actions on the instance itself, which the agent does not carry out: none ends in a transient state, or without a reason.

What the user gets for each method of the guest API is in docs/control-plane.md, in a table that the last test here holds to
Trove's own list of methods.
"""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from typing import Any

import pytest
from configuration import ENCRYPTED
from conftest import Guests
from couch import ROOT
from guest import WITH_VOLUME, Guest, Way, one_line
from identity import OPERATOR, PROJECT
from results import Results
from shell import Shell
from stack import IMAGE, VERSION_WITH_PACKAGES

#: Trove polls Nova for ten seconds before it believes that a server has its new flavor.
ENDS_WITHIN = 120.0

#: A flavor with an ephemeral disk, which Trove insists on if an instance without a volume is resized.
EPHEMERAL = "3"

DOCUMENT = ROOT / "docs/control-plane.md"


@pytest.fixture(scope="module")
def mounted(guests: Guests) -> Guest:
    """An instance with a volume that its image mounts."""
    guest = guests.make(WITH_VOLUME, "lifecycle")
    guest.create()
    guest.boot(prepare__ignore_volume=True)
    guest.wait_healthy()
    return guest


@pytest.fixture
def operator(guests: Guests) -> Shell:
    """The shell of an administrator of the cloud."""
    return guests.shell("openstack", ENCRYPTED, OPERATOR)


def ends(guest: Guest, status: str, fault: str = "") -> str:
    """Waits until the instance shows this status, with this in its fault; gives the fault."""

    def test(shown: dict[str, Any]) -> bool:
        return shown["status"] == status and fault in one_line(shown.get("fault"))

    return one_line(guest.wait_shown(f"{status}, and a fault with {fault!r}", test, ENDS_WITHIN).get("fault"))


def mgmt(guest: Guest, path: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
    """A request of the operator's that no shell has a command for."""
    request = urllib.request.Request(
        f"{guest.stack.url(ENCRYPTED)}/mgmt/instances/{guest.id}/{path}",
        None if body is None else json.dumps(body).encode(),
        {"X-Auth-Token": f"{OPERATOR}:{PROJECT}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.row("instance restart", "ACTIVE, and the fault says that nothing was done")
def test_restart(encrypted: Guest, results: Results) -> None:
    encrypted.wait_healthy()
    encrypted.shells["openstack"].do("restart", encrypted.id)
    seen = ends(encrypted, "ACTIVE", "restart is not supported by the CouchDB guest agent: nothing was done")
    results.saw("instance restart", "", "encrypted", f"accepted; then ACTIVE with the fault: {seen}")
    encrypted.wait_healthy()


@pytest.mark.row("instance reboot", "the server is rebooted; ACTIVE, and CouchDB is healthy")
def test_reboot(encrypted: Guest, operator: Shell) -> None:
    fault = encrypted.show().get("fault")
    operator.do("reboot", encrypted.id)
    encrypted.wait_shown("REBOOT is over", lambda shown: shown["status"] == "ACTIVE", ENDS_WITHIN)
    encrypted.wait_healthy()
    assert encrypted.server()["rebooted"]
    assert encrypted.show().get("fault") == fault, "a reboot leaves no fault; Trove keeps an older one"


@pytest.mark.row("backup create", "the backup is FAILED, the instance ACTIVE at once; the fault says why; it can be deleted")
def test_backup(encrypted: Guest, results: Results) -> None:
    shell = encrypted.shells["openstack"]
    backup = shell.do("backup-create", "nightly", "--instance", encrypted.id)

    def failed() -> bool:
        return shell.do("backup-show", backup["id"])["status"] == "FAILED"

    encrypted.eventually("the backup is FAILED", failed)
    seen = ends(encrypted, "ACTIVE", "create_backup is not supported by the CouchDB guest agent: no backup was made")
    results.saw("backup create", "", "encrypted", f"accepted; then the backup is FAILED, and the fault: {seen}")
    # Nothing holds the instance up any more.
    shell.do("restart", encrypted.id)
    ends(encrypted, "ACTIVE", "restart is not supported")
    shell.do("backup-delete", backup["id"])


def option(guest: Guest, name: str) -> object:
    """An option in CouchDB; None if it is not set."""
    status, value = guest.couch.admin_request("GET", f"/_node/_local/_config/{name.replace('.', '/')}")
    return value if status == 200 else None


@pytest.mark.row("configuration attach", "the options are in effect; a detach restores what was set before; ACTIVE")
def test_a_configuration_group(encrypted: Guest) -> None:
    shell = encrypted.shells["openstack"]
    options = ["--datastore", "couchdb", "--datastore-version", encrypted.way.version]
    group = shell.do("configuration-create", "quiet", '{"log.level": "error", "chttpd_auth.timeout": 900}', *options)
    before = option(encrypted, "log.level"), option(encrypted, "chttpd_auth.timeout")
    shell.do("configuration-attach", encrypted.id, group["id"])
    encrypted.eventually("the options are set", lambda: option(encrypted, "chttpd_auth.timeout") == "900")
    assert option(encrypted, "log.level") == "error"
    encrypted.wait_shown("it is attached", lambda shown: shown.get("configuration"), ENDS_WITHIN)
    encrypted.wait_healthy()
    shell.do("configuration-detach", encrypted.id)
    encrypted.eventually("the options are as before", lambda: option(encrypted, "chttpd_auth.timeout") == before[1])
    assert option(encrypted, "log.level") == before[0]


@pytest.mark.row("configuration attach", "an option that would lock the agent out: 400 with the reason, and nothing is attached")
def test_a_configuration_group_that_is_refused(encrypted: Guest, results: Results) -> None:
    shell = encrypted.shells["openstack"]
    options = ["--datastore", "couchdb", "--datastore-version", encrypted.way.version]
    group = shell.do("configuration-create", "deaf", '{"chttpd.bind_address": "10.99.99.99", "log.level": "debug"}', *options)
    before = option(encrypted, "log.level")
    seen = shell.refused("configuration-attach", encrypted.id, group["id"])
    assert "the agent would be locked out" in seen, seen
    results.saw("configuration attach", "an option that would lock the agent out", "encrypted", seen)
    assert not encrypted.show().get("configuration")
    assert option(encrypted, "log.level") == before
    encrypted.wait_healthy()


@pytest.mark.row("instance upgrade", "ERROR, and the fault says that CouchDB goes on; reset-status makes it ACTIVE")
def test_upgrade(encrypted: Guest, operator: Shell, results: Results) -> None:
    # From here on Trove shows the new version, for which it knows no options of configuration groups.
    encrypted.shells["openstack"].do("upgrade", encrypted.id, VERSION_WITH_PACKAGES)
    seen = ends(encrypted, "ERROR", "pre_upgrade is not supported by the CouchDB guest agent: CouchDB was not upgraded")
    results.saw("instance upgrade", "", "encrypted", f"accepted; then ERROR with the fault: {seen}")
    # Trove has written `upgrading` over the service status and serves nothing until the next heartbeat.
    encrypted.eventually("CouchDB is used as before", lambda: encrypted.shells["trove"].run("user-list", encrypted.id).succeeded)
    operator.do("reset-status", encrypted.id)
    encrypted.wait_healthy()


@pytest.mark.row("instance rebuild", "ACTIVE, and the fault says that nothing was restored")
def test_rebuild(encrypted: Guest, operator: Shell, results: Results) -> None:
    operator.do("rebuild", encrypted.id, IMAGE)
    seen = ends(encrypted, "ACTIVE", "rebuild is not supported by the CouchDB guest agent: nothing was restored")
    results.saw("instance rebuild", "what the instance holds is still there", "encrypted", f"accepted; then the fault: {seen}")
    encrypted.wait_healthy()


@pytest.mark.row("instance rebuild", "on an empty disk: the fault says so, and the database is not called healthy")
def test_rebuild_on_an_empty_disk(guests: Guests, operator: Shell, results: Results) -> None:
    guest = guests.make(WITH_VOLUME, "rebuilt")
    guest.create()
    guest.boot(prepare__ignore_volume=True)
    guest.wait_healthy()
    assert guest.agent is not None
    guest.agent.stop()
    shutil.rmtree(guest.agent.directory / "state")
    (guest.agent.directory / "state").mkdir()
    guest.agent.start()
    operator.do("rebuild", guest.id, IMAGE)
    seen = one_line(guest.wait_fault("says so", "rebuild is not supported by the CouchDB guest agent"))
    shown = guest.wait_shown("no longer BUILD", lambda shown: shown["status"] != "BUILD", ENDS_WITHIN)
    assert shown["operating_status"] == "FAILED", shown
    results.saw("instance rebuild", "on an empty disk", "volume", f"accepted; then {shown['status']} and FAILED, with the fault: {seen}")


@pytest.mark.row("instance resize flavor", "the server gets its new flavor; ACTIVE, and CouchDB is healthy")
def test_resize_flavor(mounted: Guest) -> None:
    mounted.shells["openstack"].do("resize-flavor", mounted.id, "2")
    mounted.wait_shown("RESIZE", lambda shown: shown["status"] == "RESIZE")
    shown = mounted.wait_shown("RESIZE is over", lambda shown: shown["status"] == "ACTIVE", ENDS_WITHIN)
    assert shown["flavor"] == "2", shown
    assert mounted.server()["status"] == "ACTIVE", "the resize is confirmed"
    mounted.wait_healthy()


@pytest.mark.row("instance resize flavor", "CouchDB does not come back: undone, ACTIVE, and the fault says why")
def test_resize_flavor_is_undone(mounted: Guest, results: Results) -> None:
    before = mounted.show()["flavor"]
    mounted.couch.gate.shut()
    mounted.shells["openstack"].do("resize-flavor", mounted.id, "1" if before == "2" else "2")
    seen = ends(mounted, "ACTIVE", "CouchDB")
    assert mounted.show()["flavor"] == before and mounted.server()["flavor"] == before
    results.saw("instance resize flavor", "CouchDB does not come back", "volume", f"undone; then the fault: {seen}")
    mounted.couch.gate.open()
    mounted.wait_healthy()


@pytest.mark.row("instance resize flavor", "without a volume and an ephemeral disk: refused by trove-api")
def test_resize_flavor_without_a_volume(encrypted: Guest, results: Results) -> None:
    seen = encrypted.shells["openstack"].refused("resize-flavor", encrypted.id, "2")
    assert "ocal storage not specified" in seen, seen
    results.saw("instance resize flavor", "as the README has it: no volume", "encrypted", seen)
    encrypted.wait_healthy()


@pytest.mark.row("instance resize flavor", "without a volume, to an ephemeral disk: the new flavor; ACTIVE and healthy")
def test_resize_flavor_to_an_ephemeral_disk(encrypted: Guest) -> None:
    encrypted.shells["openstack"].do("resize-flavor", encrypted.id, EPHEMERAL)
    shown = encrypted.wait_shown("RESIZE is over", lambda shown: shown["status"] == "ACTIVE", ENDS_WITHIN)
    assert shown["flavor"] == EPHEMERAL and encrypted.server()["flavor"] == EPHEMERAL, shown
    encrypted.wait_healthy()


@pytest.mark.row("instance resize flavor", "config.template sets something: undone, ACTIVE, and the fault says why")
def test_resize_flavor_with_a_configuration(guests: Guests, results: Results) -> None:
    guest = guests.make(Way("template", ENCRYPTED), "template")
    guest.create()
    guest.boot()
    guest.wait_healthy()
    template = guest.stack.directory / "etc/trove/templates/couchdb/config.template"
    shipped = template.read_text()
    template.write_text("[log]\nlevel = error\n")
    try:
        guest.shells["openstack"].do("resize-flavor", guest.id, EPHEMERAL)
        seen = ends(guest, "ACTIVE", "start_db_with_conf_changes is not supported by the CouchDB guest agent")
    finally:
        template.write_text(shipped)
    assert guest.show()["flavor"] == "1" and guest.server()["flavor"] == "1", "the resize is undone"
    results.saw("instance resize flavor", "`config.template` sets something", "encrypted", f"undone; then the fault: {seen}")
    guest.wait_healthy()


@pytest.mark.row("instance migrate", "the server moves; ACTIVE, and CouchDB is healthy")
def test_migrate(mounted: Guest) -> None:
    assert mgmt(mounted, "action", {"migrate": {"host": "elsewhere"}})[0] == 202
    mounted.wait_shown("MIGRATE is over", lambda shown: shown["status"] == "ACTIVE", ENDS_WITHIN)
    mounted.wait_healthy()


@pytest.mark.row("instance resize volume", "ACTIVE, and the fault says that the file system has its old size")
def test_resize_volume(mounted: Guest, results: Results) -> None:
    mounted.shells["openstack"].do("resize-volume", mounted.id, "2")
    seen = ends(mounted, "ACTIVE", "resize_fs is not supported by the CouchDB guest agent: the file system has its old size")
    results.saw("instance resize volume", "", "volume", f"accepted; then the fault: {seen}")
    mounted.wait_healthy()


@pytest.mark.row("instance stop (operator's API)", "400: CouchDB was not stopped")
@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("action", {"stop": {}}, "stop_db is not supported by the CouchDB guest agent: CouchDB was not stopped"),
        ("diagnostics", None, "get_diagnostics is not supported by the CouchDB guest agent"),
        ("hwinfo", None, "get_hwinfo is not supported by the CouchDB guest agent"),
    ],
)
def test_what_only_operators_ask_for(encrypted: Guest, path: str, body: dict[str, Any] | None, text: str) -> None:
    status, answer = mgmt(encrypted, path, body)
    assert (status, text in answer) == (400, True), answer
    encrypted.wait_healthy()


@pytest.mark.row("log list", "400 with the reason")
def test_logs(encrypted: Guest, results: Results) -> None:
    seen = encrypted.shells["openstack"].refused("log-list", encrypted.id)
    assert "guest_log_list is not supported by the CouchDB guest agent" in seen, seen
    results.saw("log list", "", "encrypted", seen)
    encrypted.wait_healthy()


def test_every_method_of_the_guest_api_is_documented() -> None:
    """Trove's own list, of the version under test."""
    from trove.guestagent.api import API

    own = {"get_volume_info": "get_filesystem_stats"}
    methods = {own.get(name, name) for name in vars(API) if not name.startswith("_") and callable(vars(API)[name])}
    methods -= {"get_client", "upgrade_client"}
    section = DOCUMENT.read_text().partition("## What the user gets")[2].partition("\n## ")[0]
    missing = sorted(name for name in methods if f"`{name}`" not in section)
    assert not missing, f"docs/control-plane.md says nothing of {missing}"
