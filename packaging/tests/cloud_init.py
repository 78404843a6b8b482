"""Runs what the sample for cloud-init does to files, in a directory that stands for /, and looks at what comes out.

`cloud_init.py DIRECTORY`: DIRECTORY/etc/trove-couchdb-agent/agent.toml is the configuration that the sample makes. Who calls:
element.sh beside this, and tests/tests/packages, which gives the configuration to the agent. With the Python that has
PyYAML, which diskimage-builder brings.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import yaml

TOP = pathlib.Path(__file__).resolve().parents[2]
SAMPLE = TOP / "packaging/cloud-init/trove-couchdb.yaml"
# The sample names the agent's package as its reader has to fill it in.
PLACEHOLDERS = {"AGENT_DEB_URL", "AGENT_DEB_SHA256"}
# What Apache's package leaves, readable for everybody, and its last line.
VM_ARGS = "-name couchdb@127.0.0.1\n-setcookie monster\n-kernel inet_dist_use_interface {0,0,0,0}\n+Bd -noinput\n"


def file_commands(sample: dict) -> list:
    """The commands of `runcmd` that do something to files in place: not those of apt, curl and systemd."""
    commands = sample["runcmd"]
    assert all(isinstance(c, str) or all(isinstance(word, str) for word in c) for c in commands), commands
    shell = [c for c in commands if isinstance(c, str)]
    files = [c for c in shell if c.split()[0] in {"sed", "printf", "chown", "chmod"}]
    others = [c for c in shell if c not in files]
    assert all("apt-get install" in c for c in others), f"what do these do? {others}"
    return files


def stage(directory: pathlib.Path) -> dict:
    """The files before, and an environment in which `chown` only says to whom a file would be given."""
    for place in ("opt/couchdb/etc/local.d", "etc/trove-couchdb-agent", "bin"):
        (directory / place).mkdir(parents=True, exist_ok=True)
    (directory / "opt/couchdb/etc/vm.args").write_text(VM_ARGS)
    (directory / "opt/couchdb/etc/vm.args").chmod(0o644)
    shutil.copy(TOP / "etc/trove-couchdb-agent/agent.toml", directory / "etc/trove-couchdb-agent/agent.toml")
    chown = directory / "bin/chown"
    chown.write_text(f'#!/bin/sh\necho "$@" >>"{directory}/given"\n')
    chown.chmod(0o755)
    return {**os.environ, "PATH": f"{directory}/bin:{os.environ['PATH']}"}


def main(directory: pathlib.Path) -> None:
    """Runs the commands as cloud-init does, one shell script, and looks at each file."""
    text = SAMPLE.read_text()
    assert text.startswith("#cloud-config\n"), "cloud-init passes over it"
    assert set(re.findall(r"AGENT_DEB_\w+", text)) == PLACEHOLDERS
    sample = yaml.safe_load(text)
    (drop_in,) = sample["write_files"]
    assert "StartLimitIntervalSec=0" in drop_in["content"].splitlines(), drop_in

    environment = stage(directory)
    script = "\n".join(file_commands(sample))
    for place in ("/opt/couchdb/", "/etc/trove-couchdb-agent/"):
        script = script.replace(f" {place}", f" {directory}{place}")
    subprocess.run(["sh", "-eu", "-c", f"umask 022\n{script}"], env=environment, check=True)

    args = (directory / "opt/couchdb/etc/vm.args").read_text()
    cookies = re.findall(r"^-setcookie (\S+)$", args, re.M)
    assert len(cookies) == 1 and re.fullmatch(r"[0-9a-f]{64}", cookies[0]), args
    assert re.findall(r"^-kernel inet_dist_use_interface (\S+)$", args, re.M) == ["{127,0,0,1}"], args
    given = (directory / "given").read_text()
    for name in ("vm.args", "local.d/10-trove.ini"):
        path = directory / "opt/couchdb/etc" / name
        assert path.stat().st_mode & 0o777 == 0o640, f"{name} can be read: {path.stat().st_mode:o}"
        assert re.search(rf"^couchdb:couchdb .*{re.escape(str(path))}( |$)", given, re.M), f"{name} is given to {given}"

    before = tomllib.loads((TOP / "etc/trove-couchdb-agent/agent.toml").read_text())
    after = tomllib.loads((directory / "etc/trove-couchdb-agent/agent.toml").read_text())
    before.setdefault("broker", {})["transport_url"] = "local:"
    before.setdefault("couchdb", {})["local_ini_dir"] = "/opt/couchdb/etc/local.d"
    assert after == before, f"{after}, not {before}"


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]).resolve())
