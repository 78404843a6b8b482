"""Fixtures: Trove once for all tests, a guest and an untouched seam for each."""

import sys

import pytest
from control_plane import Guest, Trove


@pytest.fixture(scope="session")
def trove(tmp_path_factory):
    return Trove(tmp_path_factory.mktemp("trove"))


@pytest.fixture
def guest(trove, monkeypatch):
    from trove.guestagent.api import API

    received = Guest()
    monkeypatch.setattr(
        API, "_call", lambda self, method, *_, version, **keys: received.send(method, keys)
    )
    monkeypatch.setattr(
        API, "_cast", lambda self, method, version, **keys: received.send(method, keys)
    )
    return received


@pytest.fixture
def seam(trove, monkeypatch):
    """Trove's ``load_and_verify`` as it came, put back wherever a test had it replaced."""
    import trove.extensions.common.models as models

    original = models.load_and_verify
    yield original
    for name, module in list(sys.modules.items()):
        if name.startswith("trove.extensions.") and hasattr(module, "load_and_verify"):
            module.load_and_verify = original


@pytest.fixture
def api(trove, guest, seam):
    """trove-api with the filter."""
    return trove.api()
