#!/usr/bin/env python3
"""Runs the control-plane suites: `run.py [VERSION…]`, of Trove 26.0.0 and 24.1.0 if none is named.

For each version a virtual environment target/trove-VERSION, made anew when its pinned requirements or Python have
changed; in it the tests of control-plane/ (trove-api in process), and this directory's (a whole control plane, and our
agent). The versions run side by side. At the end the table of commands and results is printed; with WRITE_DOCS=1 and
nothing failed it goes into docs/control-plane-results.md too.

Needs the binaries of `make build`. Who calls: `make test-control-plane`, which `make test` does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

#: Trove 26 wants 3.10; the pinned wheels are those of Debian 12's Python.
OLDEST_PYTHON = (3, 11)
if sys.version_info < OLDEST_PYTHON:
    needed = ".".join(map(str, OLDEST_PYTHON))
    sys.exit(f"Python {needed} is needed, for the pinned wheels of Trove; this is {sys.version.split()[0]}.")
if sys.version_info[:2] != OLDEST_PYTHON:
    print("Trove's pinned wheels are those of Python 3.11; if pip finds none for this one, use that.", flush=True)
sys.dont_write_bytecode = True

import table  # noqa: E402

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGE = ROOT / "control-plane"
TARGET = ROOT / "target"
RESULTS = TARGET / "control-plane-results"
DOCUMENT = ROOT / "docs/control-plane-results.md"
VERSIONS = ["26.0.0", "24.1.0"]
#: On which control-plane/README.md is followed as well; on older ones it is with `follow.py`.
FOLLOWED = "26.0.0"

#: Of the versions that ours is too new for.
PYTHONS = {"12": "3.7", "13": "3.8"}

ENDS_US = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: In which pytest must have ended its servers once it is interrupted, in seconds.
EXIT_TIMEOUT = 60


class Suites:
    """Pytest's processes, which are interrupted together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[bytes]] = []
        self._stopped = False

    def pytest(self, version: str, directory: Path, arguments: list[str], log: Path) -> bool:
        """Runs one suite to its end; True if it passed."""
        command = [environment_of(version) / "bin/python", "-m", "pytest", "-q", *arguments]
        return self._passes(command, directory, {"TROVE_E2E_RESULTS": str(RESULTS / f"{version}.json")}, log)

    def follow(self, version: str, log: Path) -> bool:
        """Follows the README; True if it led to a user who logs in."""
        command = [sys.executable, HERE / "follow.py", "--here", version]
        return self._passes(command, HERE, {"TROVE_E2E_VENV": str(environment_of(version))}, log)

    def _passes(self, command: list[str | Path], directory: Path, variables: dict[str, str], log: Path) -> bool:
        with log.open("ab") as output:
            with self._lock:
                if self._stopped:
                    return False
                # A session of its own: Ctrl-C reaches it through us only, and it hears it once.
                process = subprocess.Popen(
                    command,
                    cwd=directory,
                    env=os.environ | variables | {"PYTHONDONTWRITEBYTECODE": "1"},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                self._running.append(process)
            return process.wait() == 0

    def stop(self) -> None:
        """Pytest ends its servers when it is interrupted, so it gets the time to."""
        for number in ENDS_US:
            signal.signal(number, signal.SIG_IGN)
        with self._lock:
            self._stopped = True
        for process in self._running:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self._running:
            try:
                process.wait(EXIT_TIMEOUT)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def environment_of(version: str) -> Path:
    return TARGET / f"trove-{version}"


def python_for(version: str) -> str:
    """The Python that this Trove was made for: ours, unless it is too new."""
    wanted = PYTHONS.get(version.split(".")[0])
    if not wanted:
        return sys.executable
    candidates = [f"python{wanted}", *map(str, sorted((Path.home() / ".pyenv/versions").glob(f"{wanted}.*/bin/python")))]
    found = next(filter(works, candidates), None)
    if not found:
        raise SystemExit(f"Trove {version} needs Python {wanted}: put python{wanted} into PATH, or install it with pyenv.")
    return found


def works(python: str) -> bool:
    """Whether it can be run at all (a shim of pyenv's may not), and has what Trove needs."""
    with contextlib.suppress(OSError):
        command = [python, "-c", "import ensurepip, sqlite3, ssl"]
        return not subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode
    return False


def prepare(version: str, with_package: bool = True) -> None:
    """Makes the virtual environment if it is missing or not as wanted, and installs our package into it."""
    requirements = PACKAGE / f"requirements-test-{version}.txt"
    if not requirements.exists():
        raise SystemExit(f"There is no {requirements.relative_to(ROOT)}: write one, or name another version of Trove.")
    python = python_for(version)
    wanted = f"# Python {python} {sys.version}\n{requirements.read_text()}".encode()
    environment = environment_of(version)
    stamp = environment / "made-from.txt"
    if not stamp.exists() or stamp.read_bytes() != wanted:
        print(f"Making {environment} (once, about a minute)", flush=True)
        shutil.rmtree(environment, ignore_errors=True)
        subprocess.run([python, "-m", "venv", environment], check=True)
        if version.split(".")[0] in PYTHONS:
            # For what has no wheel, and was written for the tools of its time.
            install(environment, "setuptools<60", "wheel", "pip<24")
        install(environment, "--no-deps", "-r", requirements)
        stamp.write_bytes(wanted)
    if not with_package:
        return
    # Of a copy: pip would leave its build directory in the source tree.
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "control-plane"
        copy.mkdir()
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(PACKAGE / name, copy)
        shutil.copytree(PACKAGE / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
        install(environment, "--no-deps", "--force-reinstall", copy)


def install(environment: Path, *arguments: str | Path) -> None:
    command = [environment / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)


def run(version: str, suites: Suites, passed: dict[str, bool]) -> None:
    log = RESULTS / f"{version}.log"
    if version == FOLLOWED and not suites.follow(version, log):
        passed[version] = False
        return
    package = suites.pytest(version, PACKAGE, ["-p", "no:cacheprovider", "tests"], log)
    whole = suites.pytest(version, HERE, [], log)
    passed[version] = package and whole


def run_side_by_side(versions: list[str]) -> dict[str, bool]:
    suites = Suites()
    passed: dict[str, bool] = {}
    threads = [threading.Thread(target=run, args=(version, suites, passed)) for version in versions]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        print("Interrupted: ending the servers of the tests.", flush=True)
        suites.stop()
        raise
    return passed


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Two runs would write into the same virtual environments and results."""
    TARGET.mkdir(exist_ok=True)
    with (TARGET / "control-plane.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another run of this suite to end.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def report(version: str, passed: bool) -> None:
    print(f"== Trove {version}: {'passed' if passed else 'FAILED'}")
    lines = (RESULTS / f"{version}.log").read_text(errors="replace").splitlines()
    print("\n".join(line for line in lines if not passed or " passed" in line), flush=True)


def main(versions: list[str]) -> int:
    # SIGINT too: a shell starts what runs in its background with SIGINT ignored, and pytest would inherit that.
    for number in ENDS_US:
        signal.signal(number, interrupt)
    with alone():
        shutil.rmtree(RESULTS, ignore_errors=True)
        RESULTS.mkdir()
        for version in versions:
            prepare(version)
        passed = run_side_by_side(versions)
        for version in versions:
            report(version, passed.get(version, False))
        write = bool(os.environ.get("WRITE_DOCS")) and all(passed.values())
        complete = table.show([RESULTS / f"{version}.json" for version in versions], DOCUMENT, write)
    return 0 if complete and all(passed.values()) else 1


if __name__ == "__main__":
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        sys.exit("Python lacks ensurepip: apt-get install python3-venv")
    try:
        sys.exit(main(sys.argv[1:] or VERSIONS))
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, error.cmd[:4]))} … failed with status {error.returncode}")
