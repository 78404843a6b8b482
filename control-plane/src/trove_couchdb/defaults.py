"""The default configuration of a CouchDB instance, which Trove can't read for want of a parser.

``GET /instances/ID/configuration`` answers with the options of ``config.template``, through a table that has a parser for
each manager but ``couchdb``: 400 "No configuration parser found", on which the dashboard's tab *Configuration Defaults*
crashes, and the detaching of a configuration group stops half-way. A parser is added; no other manager's is touched.
"""

import configparser
from typing import Iterable, List, Tuple


class Parser:
    """Reads what ``config.template`` renders to: the ini of CouchDB, whose options Trove knows as ``section.option``."""

    def __init__(self, config: str) -> None:
        self._config = config

    def parse(self) -> List[Tuple[str, str]]:
        """As Trove's own parsers do."""
        ini = configparser.RawConfigParser(strict=False, default_section="")
        ini.optionxform = str  # type: ignore[assignment, method-assign]
        ini.read_string(self._config)
        return [
            (f"{section}.{option}", value)
            for section in ini.sections()
            for option, value in ini.items(section)
        ]


def readable(managers: Iterable[str]) -> None:
    """Adds the parser for managers that have none."""
    from trove.common import template

    for manager in managers:
        template.SERVICE_PARSERS.setdefault(manager, Parser)
