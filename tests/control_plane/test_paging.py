"""Lists of more than one page: the shells follow the links, and `limit` and `marker` are the API's own.

trove.conf has pages of three (`users_page_size`, `databases_page_size`). The lists of both shells have no options for
limit and marker, so those are tried over HTTP.
"""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import Any

import pytest
from configuration import PAGE_SIZE
from guest import Guest
from identity import PROJECT
from shell import TENANT, Shell

NAMES = [f"page-{letter}" for letter in "abcdefg"]
ODD = ["page-h+$(1)", "page-i/j"]
"""Legal in CouchDB, and a marker that must survive the quoting of URLs."""
ODD_USERS = [*ODD, "page-jürgen x@y.z"]


@pytest.fixture(scope="module", autouse=True)
def what_is_there(all_ways: dict[str, Guest]) -> None:
    """Enough for three pages, made behind Trove's back."""
    for guest in all_ways.values():
        accounts = [
            {"_id": f"org.couchdb.user:{name}", "name": name, "password": "pw", "roles": [], "type": "user"}
            for name in NAMES + ODD_USERS
        ]
        guest.couch.admin_request("POST", "/_users/_bulk_docs", {"docs": accounts})
        for name in NAMES + ODD:
            guest.couch.admin_request("PUT", f"/{urllib.parse.quote(name, safe='')}")


def page(guest: Guest, kind: str, query: dict[str, str | int]) -> tuple[list[str], str | None]:
    """One page over HTTP: the names, and the link to the next page."""
    url = f"{guest.stack.url(guest.way.service)}/instances/{guest.id}/{kind}?{urllib.parse.urlencode(query)}"
    return follow(url, kind)


def follow(url: str, kind: str) -> tuple[list[str], str | None]:
    request = urllib.request.Request(url, headers={"X-Auth-Token": f"{TENANT}:{PROJECT}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        document: dict[str, Any] = json.load(answer)
    links = {link["rel"]: link["href"] for link in document.get("links", [])}
    return [item["name"] for item in document[kind]], links.get("next")


def pages(guest: Guest, kind: str, limit: int) -> list[list[str]]:
    """All pages, by the links; Trove writes https:// into them whatever it serves."""
    found, link = page(guest, kind, {"limit": limit})
    all_pages = [found]
    while link:
        found, link = follow(link.replace("https://", "http://"), kind)
        all_pages.append(found)
        assert len(all_pages) < 100, "the links lead in a circle"
    return all_pages


@pytest.mark.row("user-list", "more than one page: all, in order, none twice")
@pytest.mark.row("database-list", "more than one page: all, in order, none twice")
@pytest.mark.parametrize(("command", "expected"), [("user-list", NAMES + ODD_USERS), ("database-list", NAMES + ODD)])
def test_the_shell_lists_all_pages(guest: Guest, shell: Shell, command: str, expected: list[str]) -> None:
    listed = [row["name"] for row in shell.do(command, guest.id)]
    assert len(listed) > 2 * PAGE_SIZE
    assert [name for name in listed if name.startswith("page-")] == sorted(expected)
    assert listed == sorted(listed)
    assert len(set(listed)) == len(listed)


@pytest.mark.row("user-list", "limit and marker (the API's)")
@pytest.mark.row("database-list", "limit and marker (the API's)")
@pytest.mark.parametrize(("kind", "suffix"), [("users", "@%"), ("databases", "")])
def test_limit_and_marker(guest: Guest, kind: str, suffix: str) -> None:
    first, link = page(guest, kind, {"limit": 2, "marker": f"page-a{suffix}"})
    assert first == ["page-b", "page-c"]
    assert link is not None
    assert page(guest, kind, {"limit": 2, "marker": f"page-bb{suffix}"})[0] == ["page-c", "page-d"]
    assert len(page(guest, kind, {"limit": 1000})[0]) == PAGE_SIZE, "users_page_size and databases_page_size are maxima"
    by_links = pages(guest, kind, 2)
    assert all(len(names) == 2 for names in by_links[:-1])
    together = [name for names in by_links for name in names]
    assert together == sorted(set(together))
    assert [name for name in together if name.startswith("page-")] == sorted(NAMES + (ODD_USERS if kind == "users" else ODD))
    assert page(guest, kind, {"limit": 2, "marker": f"zzz{suffix}"}) == ([], None)
