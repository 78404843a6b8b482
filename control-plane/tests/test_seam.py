"""The seam: left alone where Trove looks unknown, and right for each form that it has had."""

import logging
import sys
import types

import pytest
from control_plane import BEFORE

import trove_couchdb
from trove_couchdb import seam as the_seam

MODULE = the_seam.MODULE


def twelve(context, instance_id):
    return None


def fourteen(context, instance_id, enabled_datastore=["mysql", "mariadb"]):  # noqa: B006 - as there
    return enabled_datastore


def renamed(context, instance_id, supported_datastores=("mysql",)):
    return supported_datastores


def one_more(context, instance_id, enabled_datastore=("mysql",), strict=False):
    return enabled_datastore


def another_default(context, instance_id, enabled_datastore=None):
    return enabled_datastore


@pytest.fixture
def modules(monkeypatch):
    """A Trove that has a function and a module which imported it by name, and no more."""

    def make(function):
        for name in [name for name in sys.modules if name.split(".")[0] == "trove"]:
            monkeypatch.delitem(sys.modules, name)
        package = ""
        for part in MODULE.split(".")[:-1]:
            package = f"{package}.{part}".lstrip(".")
            module = types.ModuleType(package)
            module.__path__ = []
            monkeypatch.setitem(sys.modules, package, module)
        importer = types.ModuleType("trove.extensions.mysql.models")
        models = types.ModuleType(MODULE)
        if function is not None:
            models.load_and_verify = importer.load_and_verify = function
        monkeypatch.setitem(sys.modules, importer.__name__, importer)
        monkeypatch.setitem(sys.modules, MODULE, models)
        return models, importer

    return make


def test_the_list_of_14_to_26_gets_longer_wherever_it_was_imported(modules):
    models, importer = modules(fourteen)
    the_seam.let_through(frozenset({"couchdb"}))
    for module in (models, importer):
        assert module.load_and_verify("context", "id") == ["mysql", "mariadb", "couchdb"]
        assert module.load_and_verify("context", "id", ["mysql"]) == ["mysql", "couchdb"]
        assert module.load_and_verify(
            context="context", instance_id="id", enabled_datastore=("redis",)
        ) == ["redis", "couchdb"]
    assert fourteen("context", "id") == ["mysql", "mariadb"]


def test_a_second_time_adds_and_does_not_wrap_again(modules):
    models, _ = modules(fourteen)
    the_seam.let_through(frozenset({"couchdb"}))
    once = models.load_and_verify
    the_seam.let_through(frozenset({"couchdb", "couch2"}))
    assert models.load_and_verify is once
    assert once("context", "id", []) == ["couch2", "couchdb"]


def test_12_and_13_need_nothing(modules, caplog):
    caplog.set_level(logging.INFO)
    models, importer = modules(twelve)
    the_seam.let_through(frozenset({"couchdb"}))
    assert models.load_and_verify is importer.load_and_verify is twelve
    assert "all are let through already" in caplog.text


UNKNOWN = [renamed, one_more, another_default, "not a function", None]


@pytest.mark.parametrize("function", UNKNOWN)
def test_an_unknown_form_is_left_as_it_is_and_logged(modules, caplog, monkeypatch, function):
    from trove_couchdb import defaults, middleware

    monkeypatch.setattr(middleware, "factory", lambda *_: lambda app: ("checked", app))
    monkeypatch.setattr(defaults, "readable", lambda _: None)
    models, importer = modules(function)
    app = object()
    assert trove_couchdb.filter_factory({})(app) == ("checked", app)
    assert getattr(models, "load_and_verify", None) is function
    assert getattr(importer, "load_and_verify", None) is function
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "names are checked, but user, database and root calls are not let through" in record.getMessage()
    assert not record.exc_info


def test_without_trove_the_factory_still_answers(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "trove.common", None)
    app = object()
    assert trove_couchdb.filter_factory({})(app) is app
    assert "is not active" in caplog.text


def test_a_real_trove_that_is_unknown_checks_names_and_lets_nothing_through(trove, guest, seam, caplog):
    """The whole of trove-api, of a version whose function takes another argument."""
    import trove.extensions.common.models as models

    def of_the_future(context, instance_id, enabled_datastore=("mysql",), *, strict=False):
        return seam(context, instance_id, enabled_datastore)

    models.load_and_verify = of_the_future
    guest.users.add("alice")
    api = trove.api()
    assert models.load_and_verify is of_the_future
    assert "a form never seen" in caplog.text
    assert api("GET", "mysql", "users").status_int == 200
    assert api("GET", "couchdb", "users").status_int == 422
    for instance in ("couchdb", "disguised"):
        bad = api("POST", instance, "databases", {"databases": [{"name": "_users"}]})
        assert bad.status_int == 400 and "belong to CouchDB's system databases" in bad.text
    # CouchDB under a manager that this Trove lets through by itself.
    assert api("POST", "disguised", "databases", {"databases": [{"name": "good"}]}).status_int in (202, 422)


def test_a_failing_look_up_does_not_stop_trove(api, guest, monkeypatch, caplog):
    from trove_couchdb.datastores import Datastores

    def fail(*arguments):
        raise RuntimeError("the database is away")

    monkeypatch.setattr(Datastores, "runs_couchdb", fail)
    assert api("POST", "couchdb", "databases", {"databases": [{"name": "UPPER"}]}).status_int == 202
    assert "names were not checked" in caplog.text


def test_a_filter_in_the_wrong_place_says_so(trove, guest, seam, caplog):
    api = trove.api("faultwrapper auth authorization couchdb contextwrapper extensions troveapp")
    assert api("POST", "couchdb", "databases", {"databases": [{"name": "UPPER"}]}).status_int == 202
    assert "must stand after contextwrapper" in caplog.text
    assert "stands before contextwrapper, so names are not checked: move `couchdb`" in caplog.text


@pytest.mark.parametrize("wrong", ["extensions couchdb troveapp", "extensions couchdb faultwrapper troveapp"])
def test_a_filter_after_extensions_says_which_line_to_change(trove, guest, seam, caplog, wrong):
    api = trove.api(f"{BEFORE} {wrong}")
    assert api("POST", "couchdb", "databases", {"databases": [{"name": "UPPER"}]}).status_int == 202
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    said = record.getMessage()
    path = trove.paste
    number = path.read_text().splitlines().index(f"pipeline = {BEFORE} {wrong}") + 1
    assert "the filter stands after extensions, so names are not checked" in said
    assert f"move `couchdb` right before `extensions` in line {number} of {path}" in said


@pytest.mark.parametrize("right", ["couchdb extensions troveapp", "couchdb faultwrapper extensions troveapp"])
def test_a_filter_in_its_place_says_nothing(trove, guest, seam, caplog, right):
    trove.api(f"{BEFORE} {right}")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], caplog.text


@pytest.mark.parametrize("option", ["managers", "datastores"])
def test_an_empty_list_is_named_and_the_default_holds(trove, guest, seam, caplog, option):
    api = trove.api(options=f"{option} =")
    assert f"{option} in [filter:couchdb] is empty; taking the default, couchdb" in caplog.text
    assert api("GET", "couchdb", "users").status_int == 200
    assert api("POST", "couchdb", "databases", {"databases": [{"name": "_users"}]}).status_int == 400


def test_a_missing_section_is_named_and_trove_api_starts(trove, guest, seam, monkeypatch, caplog):
    from oslo_config import cfg as oslo
    from trove.common import cfg

    class Without:
        """Trove's configuration, of a version that has forgotten CouchDB."""

        def __getattr__(self, name):
            if name == "couchdb":
                raise oslo.NoSuchOptError("couchdb")
            return getattr(CONF, name)

    CONF = cfg.CONF
    monkeypatch.setattr(cfg, "CONF", Without())
    api = trove.api()
    assert "this Trove has no options in a section [couchdb] of trove.conf" in caplog.text
    assert api("POST", "couchdb", "databases", {"databases": [{"name": "_users"}]}).status_int == 400
    assert api("DELETE", "couchdb", "users/os_admin").status_int == 400


def test_the_default_configuration_is_shown(api, trove, monkeypatch):
    """As an object: without it, the dashboard's tab fails."""
    answer = api("GET", "couchdb", "configuration")
    assert (answer.status_int, answer.json) == (200, {"instance": {"configuration": {}}})


def test_a_template_is_read_as_trove_names_its_options():
    from trove_couchdb.defaults import Parser

    assert Parser("# nothing\n").parse() == []
    template = "[log]\nlevel = info\n[admins]\nAnna = x%y\n"
    assert Parser(template).parse() == [("log.level", "info"), ("admins.Anna", "x%y")]


def test_unknown_options_are_named(trove, guest, seam, caplog):
    trove.api(options="manager = couchdb")
    assert "options that it does not know in [filter:couchdb]: manager" in caplog.text


def test_nothing_is_let_through_that_nobody_would_check(modules, monkeypatch, caplog):
    """A Trove in which the names can't be checked keeps its own refusal of couchdb."""
    from trove_couchdb import middleware

    def fails(managers, datastores):
        raise AttributeError("couchdb")

    models, importer = modules(fourteen)
    monkeypatch.setattr(middleware, "factory", fails)
    application = object()
    assert trove_couchdb.filter_factory({})(application) is application
    assert models.load_and_verify is fourteen and importer.load_and_verify is fourteen
    assert "is not active" in caplog.text
