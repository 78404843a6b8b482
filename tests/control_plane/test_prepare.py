"""What an instance may ask for beside users and databases, and what becomes of one that can't be had."""

from __future__ import annotations

import pytest
from conftest import Guests
from configuration import ENCRYPTED, STOCK
from couch import ANONYMOUS, User
from guest import WITH_VOLUME, Guest, Way, one_line
from results import Results
from stack import VERSION_WITH_PACKAGES, VERSION_WITH_ROOT

CREATE = "instance create"


def failed(guest: Guest, text: str) -> str:
    """Waits until Trove shows the instance as failed, for this reason.

    The database's own status is not shown of an instance whose creation failed, but Trove tells it to who asks for more.
    """

    def test(shown: dict[str, object]) -> bool:
        return shown["status"] == "ERROR" and text in one_line(shown.get("fault"))

    fault = one_line(guest.wait_shown(f"ERROR, and a fault with {text!r}", test)["fault"])
    if guest.way.manager != "couchdb":
        return fault
    refusal = guest.shells["trove"].refused("user-list", guest.id)
    # The taskmanager writes its own word over the agent's as soon as it has seen it, and the next heartbeat ours again.
    assert "422" in refusal and refusal.count("failed to spawn") + refusal.count("guestagent error") == 1, refusal
    return fault


@pytest.mark.row(CREATE, "packages are asked for: ERROR, the fault names stage and cause")
def test_packages_are_refused(guests: Guests, results: Results) -> None:
    guest = guests.make(Way("packages", ENCRYPTED, VERSION_WITH_PACKAGES), "packages")
    guest.create()
    guest.boot()
    seen = failed(guest, 'prepare failed at stage "check"')
    # Their names came encrypted, and nothing shows that they name something.
    assert "the packages" in seen and "characters)" in seen and "prepare.ignore_packages" in seen
    results.saw(CREATE, "the datastore version has packages", "encrypted", seen)


@pytest.mark.row(CREATE, "a volume that the image is not said to mount: ERROR, the fault says so")
def test_a_volume_is_refused(guests: Guests, results: Results) -> None:
    guest = guests.make(WITH_VOLUME, "volume")
    guest.create()
    guest.boot()
    seen = failed(guest, 'prepare failed at stage "check"')
    assert "volume" in seen and "[volume] of host.toml" in seen
    results.saw(CREATE, "a volume, and an image that doesn't mount it", "encrypted", seen)


@pytest.mark.row(CREATE, "a failed one: the agent's reason is still the fault when Trove has written its own")
def test_the_reason_outlives_troves_own(guests: Guests) -> None:
    guest = guests.make(WITH_VOLUME, "late-fault")
    guest.create()
    guest.boot()
    failed(guest, 'prepare failed at stage "check"')
    # The taskmanager writes "Service not active, status: failed to spawn" when it looks next; the agent says it again.
    guest.eventually("the agent says it again", lambda: "Telling it again" in guest.agent.log())
    guest.wait_fault("the agent gives", 'prepare failed at stage "check"')


@pytest.mark.row("instance show", "a volume that the image mounts: its size and use")
def test_a_volume_that_the_image_mounts(guests: Guests) -> None:
    guest = guests.make(WITH_VOLUME, "mounted")
    guest.create()
    guest.boot(prepare__ignore_volume=True)
    guest.wait_healthy()
    shown = guest.show()
    assert shown["volume"] == WITH_VOLUME.size
    assert float(shown["volume_used"]) >= 0


@pytest.mark.row(CREATE, "root_on_create: the password that is shown lets root in")
def test_root_on_create(guests: Guests) -> None:
    guest = guests.make(Way("root", STOCK, VERSION_WITH_ROOT, manager="mariadb"), "root")
    guest.create()
    guest.boot()
    guest.wait_healthy()
    root = User("root", guest.created["password"])
    assert guest.couch.client.administers(root)
    assert str(guest.shells["trove"].do("root-show", guest.id)["is_root_enabled"]) == "True"


@pytest.mark.row(CREATE, "CouchDB comes late: BUILD until then, then HEALTHY, and closed")
def test_couchdb_comes_late(guests: Guests) -> None:
    guest = guests.make(Way("late", ENCRYPTED), "late")
    guest.couch.gate.shut()
    guest.create("--databases", "later", "--users", "tardy:tardy-pw")
    guest.boot()
    guest.eventually("the agent says that it builds", lambda: 'status="building"' in guest.agent.log())
    assert guest.show()["status"] == "BUILD"
    guest.couch.gate.open()
    guest.wait_healthy()
    assert guest.couch.client.writes("later", User("tardy", "tardy-pw"))
    assert not guest.couch.client.reads("later", ANONYMOUS)


@pytest.mark.row(CREATE, "bad and reserved names in --databases and --users: refused before anything is made")
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--databases", "Bad"), 'the database name "Bad" is not allowed: it must begin with a lower-case letter'),
        (("--databases", "_users"), 'the database name "_users" is not allowed'),
        (("--databases", "ok", "--users", "root:pw"), 'user "root" is reserved'),
        (("--databases", "ok", "--users", "_x:pw"), 'the user name "_x" is not allowed'),
    ],
)
def test_bad_names_at_create(encrypted: Guest, results: Results, arguments: tuple[str, ...], text: str) -> None:
    common = ["--flavor", "1", "--datastore", "couchdb", "--nic", "net-id=5f7e0b8c-7c5b-4f0e-9a56-6d1f3f0a0001"]
    seen = encrypted.shells["openstack"].refused("create", "refused", *common, *arguments)
    assert text in seen
    results.saw(CREATE, " ".join(arguments), "encrypted", seen)
