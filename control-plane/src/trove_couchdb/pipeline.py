"""Whether the filter is where it must be in the pipeline of ``api-paste.ini``.

Paste builds a pipeline from its end, so a filter is given all that comes after it. After ``extensions`` a
request for users and databases never gets here; before ``contextwrapper`` nobody knows yet who asks. Both look
like a filter that works: names just aren't checked.
"""

import re
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

#: Classes of Trove's filters, the same from 12 to 26; every one of them calls the next ``application``.
EXTENSIONS, CONTEXT, END = "ExtensionMiddleware", "ContextMiddleware", "Router"

# A chain of filters is short; a loop is nobody's pipeline.
_LONGEST = 50


def misplaced(app: Any, global_conf: Dict[str, str]) -> Optional[str]:
    """What is wrong with the place of a filter that wraps this application, and which line to change."""
    following = [_names(application) for application in _chain(app)]
    if any(CONTEXT in names for names in following):
        wrong = "stands before contextwrapper"
    elif END in following[-1] and not any(EXTENSIONS in names for names in following):
        wrong = "stands after extensions"
    else:
        return None
    return (
        f"the filter {wrong}, so names are not checked: move `couchdb` right before `extensions` in "
        f"{_line(global_conf)}, and restart trove-api"
    )


def _chain(app: Any) -> Iterator[Any]:
    for _ in range(_LONGEST):
        yield app
        app = getattr(app, "application", None)
        if app is None:
            return


def _names(application: Any) -> "frozenset[str]":
    return frozenset(kind.__name__ for kind in type(application).__mro__)


def _line(global_conf: Dict[str, str]) -> str:
    """Where the pipeline is, as far as the file that paste read shows it."""
    path = global_conf.get("__file__")
    try:
        lines = Path(path or "").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError):
        lines = []
    for number, line in enumerate(lines, 1):
        found = re.match(r"\s*pipeline\s*[=:](.*)", line)
        if found and {"couchdb", "troveapp"} <= set(found[1].split()):
            return f"line {number} of {path} (`{line.strip()}`)"
    return f"`pipeline = …` of {path or 'api-paste.ini'}"
