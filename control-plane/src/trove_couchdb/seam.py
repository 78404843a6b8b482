"""The one place of Trove that is changed: ``trove.extensions.common.models.load_and_verify``.

Every user, database and root call loads its instance through this function. From 14 on it refuses
managers that are not on a list (``mysql, mariadb`` and from 23 ``postgresql``), which is its
default argument and is also written out by most callers, so no option reaches it. It is wrapped,
not copied: each Trove's own checks go on being made, with our managers added to whatever list the
caller gave.

===========  ==============================================================================
12 and 13    ``(context, instance_id)``: there is no list, nothing is changed
14 to 22     ``(context, instance_id, enabled_datastore=[...])``; ``trove.extensions.mysql``
             and ``redis`` models import it by name
23 to 26     the same, all callers are in ``trove.extensions.common.models``; ``redis``
             still imports it by name
===========  ==============================================================================
"""

import functools
import importlib
import inspect
import logging
import sys
from typing import Any, Callable, FrozenSet, Iterable

LOG = logging.getLogger(__name__)

MODULE = "trove.extensions.common.models"
FUNCTION = "load_and_verify"
LIST = "enabled_datastore"

# Set on our wrapper; its value is the set of managers that the wrapper adds.
MARK = "_trove_couchdb_managers"


class UnknownTrove(Exception):
    """This Trove does not look like one that was tried; it is left as it is."""


def let_through(managers: FrozenSet[str]) -> None:
    """Lets user, database and root calls through for these managers.

    Harmless when called again: a second filter in the same process adds its managers to the first
    one's.

    :raises UnknownTrove: and changes nothing, if the function is not there or looks different.
    """
    try:
        models = importlib.import_module(MODULE)
    except ImportError as error:
        raise UnknownTrove(f"{MODULE} can't be imported ({error})") from error
    original = getattr(models, FUNCTION, None)
    if original is None:
        raise UnknownTrove(f"{MODULE} has no {FUNCTION}")
    added = getattr(original, MARK, None)
    if added is not None:
        added.update(managers)
        return
    if not _has_list(original):
        LOG.info("trove-couchdb: this Trove has no list of managers, all are let through already")
        return
    _replace(original, _wrapper(original, managers))
    LOG.info(
        "trove-couchdb: user, database and root calls are let through for manager %s",
        ", ".join(sorted(managers)),
    )


def _has_list(function: Callable[..., Any]) -> bool:
    """True for the form of 14 to 26, False for that of 12 and 13."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise UnknownTrove(f"{MODULE}.{FUNCTION} is not a plain function") from error
    names = list(parameters)
    if names == ["context", "instance_id"]:
        return False
    if names == ["context", "instance_id", LIST]:
        default = parameters[LIST].default
        if isinstance(default, (list, tuple)) and all(isinstance(name, str) for name in default):
            return True
    raise UnknownTrove(f"{MODULE}.{FUNCTION}{inspect.signature(function)} is a form never seen")


def _wrapper(original: Callable[..., Any], managers: Iterable[str]) -> Callable[..., Any]:
    default = inspect.signature(original).parameters[LIST].default
    added = set(managers)

    @functools.wraps(original)
    def load_and_verify(
        context: Any,
        instance_id: str,
        enabled_datastore: Iterable[str] = default,
    ) -> Any:
        return original(
            context, instance_id, enabled_datastore=[*enabled_datastore, *sorted(added)]
        )

    setattr(load_and_verify, MARK, added)
    return load_and_verify


def _replace(original: Callable[..., Any], replacement: Callable[..., Any]) -> None:
    """Puts the wrapper where Trove looks the function up.

    A module that imports it by name later on finds the wrapper; one that did so before still holds
    the original, so those that are loaded are looked through.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith("trove.extensions.") and vars(module).get(FUNCTION) is original:
            setattr(module, FUNCTION, replacement)
