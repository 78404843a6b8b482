"""Whether diskimage-builder understands the element: its dependencies, its packages, its hooks, and the README's command.

Who calls: packaging/tests/element.sh, with the Python that has diskimage-builder.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import diskimage_builder
from diskimage_builder import element_dependencies

NAME = "trove-couchdb-agent"
ROOT = pathlib.Path(__file__).resolve().parents[1] / "dib"
ELEMENT = ROOT / NAME
BUILT_IN = pathlib.Path(diskimage_builder.__file__).parent / "elements"
# The phases of diskimage-builder's documentation ("Developing Elements").
PHASES = {
    "root.d", "extra-data.d", "pre-install.d", "install.d", "post-install.d", "post-root.d", "block-device.d",
    "pre-finalise.d", "finalise.d", "cleanup.d", "environment.d",
}
# `dib-run-parts` passes over others without a word.
HOOK = re.compile(r"^[0-9A-Za-z_-]+$")


def elements_of_the_readme() -> list:
    """The elements of the command that the README tells to run."""
    line = next(l for l in (ELEMENT / "README.rst").read_text().splitlines() if "$ disk-image-create" in l)
    words = line.split("disk-image-create", 1)[1].split()
    return [w for w in words[words.index("-o") + 2:]]


def check_dependencies(elements: list) -> set:
    paths = f"{ROOT}:{BUILT_IN}"
    resolved = dict(element_dependencies.get_elements(elements, paths))
    assert resolved[NAME] == str(ELEMENT), resolved
    for wanted in ("dpkg", "package-installs", "install-static", "debian-minimal", "cloud-init"):
        assert wanted in resolved, f"{wanted} is not among {sorted(resolved)}"
    return set(resolved)


def check_packages(elements: set) -> None:
    squash = BUILT_IN / "package-installs" / "bin" / "package-installs-squash"
    with tempfile.NamedTemporaryFile("r", suffix=".json") as out:
        command = [sys.executable, str(squash), "--elements", " ".join(sorted(elements)), "--path", f"{ROOT}:{BUILT_IN}"]
        # What disk-image-create and the elements' own environment.d set.
        surroundings = {**os.environ, "ARCH": "amd64", "DISTRO_NAME": "debian", "DIB_RELEASE": "bookworm",
                        "DIB_INIT_SYSTEM": "systemd", "DIB_PYTHON_VERSION": "3", "DIB_BLOCK_DEVICE": "mbr"}
        squashed = subprocess.run([*command, out.name], env=surroundings, capture_output=True, text=True)
        assert squashed.returncode == 0, squashed.stderr
        phases = json.load(out)
    ours = {(phase, p) for phase, kinds in phases.items() for p, element in kinds.get("install", []) if element == NAME}
    assert ours == {("pre-install.d", "ca-certificates"), ("install.d", "couchdb")}, ours


def check_hooks() -> None:
    found = {path.name for path in ELEMENT.glob("*.d")}
    assert found <= PHASES and len(found) == 5, found
    for directory in ELEMENT.glob("*.d"):
        for hook in directory.iterdir():
            if directory.name == "environment.d":
                assert hook.suffix == ".bash", hook
                continue
            assert HOOK.match(hook.name), f"dib-run-parts passes over {hook}"
            assert os.access(hook, os.X_OK), f"{hook} can't be run"


def check_variables() -> None:
    """What may be set, and what the README explains."""
    code = (ELEMENT / "environment.d" / "10-trove-couchdb-agent.bash").read_text()
    explained = set(re.findall(r"^(DIB_TROVE\w+)$", (ELEMENT / "README.rst").read_text(), re.M))
    assert set(re.findall(r"^export (DIB_\w+)=", code, re.M)) == explained, explained
    used = set()
    for hook in ELEMENT.glob("*.d/*"):
        used |= set(re.findall(r"\$\{?(DIB_TROVE\w+)", hook.read_text()))
    assert used <= explained, used - explained


def check_exports() -> None:
    """The variables that the README tells to export are the element's own or known to diskimage-builder."""
    readme = (ELEMENT / "README.rst").read_text()
    exported = re.findall(r"^ +\$ export (\w+)=", readme, re.M)
    own = set(re.findall(r"^(DIB_TROVE\w+)$", readme, re.M))
    package = BUILT_IN.parent
    sources = [path for part in ("elements", "lib") for path in (package / part).rglob("*") if path.is_file()]
    known = set()
    for path in sources:
        known |= set(re.findall(r"\b(?:DIB_\w+|ELEMENTS_PATH)\b", path.read_text(errors="replace")))
    assert exported and set(exported) <= own | known, set(exported) - own - known


def check_rights() -> None:
    """What the units of the image start has no more rights than the unit's account ('+', '!' and '!!' of systemd.service(5))."""
    started = []
    for unit in ELEMENT.glob("static/etc/systemd/system/**/*"):
        if unit.is_file():
            started += re.findall(r"^\s*Exec\w+\s*=\s*(.*)$", unit.read_text(), re.M)
    assert started, "no unit of the element starts anything"
    for command in started:
        prefixes = re.match(r"[-@:+!|]*", command)[0]
        assert not set(prefixes) & set("+!"), f"with root's rights: {command}"


if __name__ == "__main__":
    check_packages(check_dependencies(elements_of_the_readme()))
    check_hooks()
    check_variables()
    check_exports()
    check_rights()
