#!/usr/bin/env python3
"""Prints the licences of the crates that are linked into the programs, for packages: most of them ask for that.

Reads `cargo metadata` and the licence files in the crates' own sources. The same lock file gives the same text. Who calls:
packaging/build.sh. FEATURES in the environment, as there: the agent's features that bring crates of their own.
"""

import json
import os
import pathlib
import subprocess
import sys

PROGRAMS = {"trove-couchdb-agent", "trove-couchdb-cli"}
NAMES = ("licen", "copying", "notice", "unlicense", "copyright")
TARGET = "x86_64-unknown-linux-gnu"


def linked(metadata: dict) -> set:
    """The ids of the packages that the programs are made of: neither for building nor for tests."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found = set()
    ahead = [p["id"] for p in metadata["packages"] if p["name"] in PROGRAMS]
    while ahead:
        package = ahead.pop()
        if package in found:
            continue
        found.add(package)
        for dependency in nodes[package]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                ahead.append(dependency["pkg"])
    return found


def texts(directory: pathlib.Path) -> dict:
    """The licence files of a crate by name."""
    files = sorted(f for f in directory.iterdir() if f.is_file() and f.name.lower().startswith(NAMES))
    return {f.name: f.read_text(encoding="utf-8", errors="replace").strip() for f in files}


def main() -> int:
    """Groups crates by the very text of their licence, so that the Apache licence does not stand there 200 times."""
    command = [os.environ.get("CARGO", "cargo"), "metadata", "--format-version=1", "--locked", "--filter-platform", TARGET]
    features = os.environ.get("FEATURES", "").replace(",", " ").split()
    if features:
        command += ["--features", ",".join(f"trove-couchdb-agent/{feature}" for feature in features)]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    wanted = linked(metadata)
    packages = sorted((p for p in metadata["packages"] if p["id"] in wanted and p["source"]), key=lambda p: p["id"])
    if not packages:
        print("cargo metadata names no dependency", file=sys.stderr)
        return 1
    users = {}
    print("trove-couchdb-agent and trove-couchdb contain these crates:\n")
    for package in packages:
        name = f"{package['name']} {package['version']}"
        print(f"  {name}: {package['license'] or 'see below'}")
        for text in texts(pathlib.Path(package["manifest_path"]).parent).values():
            users.setdefault(text, []).append(name)
    for text, names in sorted(users.items(), key=lambda item: (item[1], item[0])):
        print("\n" + "-" * 78 + "\n" + ", ".join(names) + "\n" + "-" * 78 + "\n\n" + text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
