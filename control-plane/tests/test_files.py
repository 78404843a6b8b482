"""What an operator puts in place, read by what will read it."""

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from control_plane import PROJECT

HERE = Path(__file__).parents[1]
ETC = HERE / "etc" / "trove"
README = (HERE / "README.md").read_text()
RULES = ETC / "templates" / "couchdb" / "validation-rules.json"


def options(path):
    """The file as oslo.config reads it, with the options that Trove knows."""
    from oslo_config import cfg

    conf = cfg.ConfigOpts()
    conf.register_opts(
        [
            cfg.StrOpt("transport_url"),
            cfg.StrOpt("control_exchange"),
            cfg.StrOpt("guest_config"),
            cfg.StrOpt("cloudinit_location"),
            cfg.StrOpt("template_path"),
        ]
    )
    from trove.common import cfg as trove_cfg

    conf.register_opts(trove_cfg.couchdb_opts, "couchdb")
    conf(["--config-file", str(path)], project="trove", default_config_dirs=[])
    return conf


def test_the_cloud_config_is_one_after_trove_added_its_files(trove):
    from trove.instance import models

    text = (ETC / "cloudinit" / "couchdb.cloudinit").read_text()
    assert text.startswith("#cloud-config\n")
    added = "#cloud-config\nwrite_files:\n- {path: /etc/trove/conf.d/guest_info.conf, content: x}\n"
    combine = getattr(models.BaseInstance, "combine_cloudinit_userdata", None)
    if combine is None:
        content = yaml.safe_load(text)
    else:
        content = yaml.safe_load(combine(added, text))
        assert content["write_files"][0]["path"] == "/etc/trove/conf.d/guest_info.conf"
    assert all(isinstance(command, list) for command in content["runcmd"])


def test_the_guests_configuration_is_read(trove):
    conf = options(ETC / "trove-guestagent.conf")
    assert conf.transport_url.startswith("rabbit://")
    assert conf.control_exchange == "openstack"


def test_the_control_planes_configuration_is_read(trove):
    conf = options(ETC / "trove.conf.snippet")
    assert conf.couchdb.ignore_dbs == ["_users", "_replicator", "_global_changes"]
    assert conf.couchdb.ignore_users == ["os_admin", "root"]
    assert conf.couchdb.tcp_ports
    # With Trove's default it asks for an ephemeral disk, which the agent would have to mount.
    assert (conf.couchdb.volume_support, conf.couchdb.device_path) == (False, "")
    assert conf.control_exchange is None, "appended to a trove.conf, it must not outrank its own"


def test_the_pipeline_is_that_of_26_with_one_name_more():
    shipped = Path(sys.prefix) / "etc" / "trove" / "api-paste.ini"
    if version("trove") != "26.0.0" or not shipped.exists():
        pytest.skip("each Trove ships its own pipeline")

    def pipeline(path):
        return re.search(r"^pipeline = (cors .*)$", path.read_text(), re.M)[1]

    ours = pipeline(ETC / "api-paste.ini.snippet")
    assert ours.replace(" couchdb", "") == pipeline(shipped)
    assert " contextwrapper ratelimit couchdb extensions troveapp" in ours
    assert f"pipeline = {ours}\n" in README


def test_the_template_renders_to_nothing(trove):
    import jinja2

    loader = jinja2.FileSystemLoader(ETC / "templates")
    template = jinja2.Environment(loader=loader).get_template("couchdb/config.template")
    assert template.render(flavor={"ram": 2048}, datastore={}, server_id=1) == ""


def commands_of_the_readme(major):
    """The trove-manage commands for this version of Trove, as the README has them, without continuation lines."""
    found = []
    for before, block in re.findall(r"([^\n]*)\n\n```sh\n(trove-manage .*?)```", README, re.S):
        versions = re.fullmatch(r"Trove (\d+) to (\d+):", before)
        if not versions or int(versions[1]) <= major <= int(versions[2]):
            found += [line.split()[1:] for line in block.replace("\\\n", " ").splitlines()]
    return found


def test_the_readmes_commands_register_the_datastore(trove):
    from trove.configuration.models import DatastoreConfigurationParameters
    from trove.datastore import models

    image = "6ee49ee8-5aa5-4f71-a54a-c0f2fdbeed79"
    given = {
        '""': "",
        "IMAGE_ID": image,
        "/etc/trove/templates/couchdb/validation-rules.json": str(RULES),
    }
    commands = commands_of_the_readme(int(version("trove").split(".")[0]))
    assert [command[0] for command in commands[:4]] == [
        "datastore_update",
        "datastore_version_update",
        "datastore_update",
        "db_load_datastore_config_parameters",
    ]
    for command in commands:
        trove.manage(*(given.get(word, word) for word in command))
    made = models.DatastoreVersion.load(models.Datastore.load("couchdb"), "3.5.0")
    assert (made.manager, made.image_id, bool(made.active)) == ("couchdb", image, True)
    loaded = DatastoreConfigurationParameters.load_parameters(made.id)
    expected = json.loads(RULES.read_text())["configuration-parameters"]
    assert {(rule.name, rule.data_type, bool(rule.restart_required)) for rule in loaded} == {
        (rule["name"], rule["type"], rule["restart_required"]) for rule in expected
    }


class TestRules:
    """The rules decide as Trove's own validation decides with them."""

    RULES = json.loads(RULES.read_text())["configuration-parameters"]

    @pytest.fixture(scope="class")
    def validate(self, trove):
        from types import SimpleNamespace

        from trove.configuration.service import ConfigurationsController

        rules = [
            SimpleNamespace(
                name=rule["name"],
                data_type=rule["type"],
                min_size=rule.get("min"),
                max_size=rule.get("max"),
            )
            for rule in self.RULES
        ]
        of_couchdb = SimpleNamespace(name="3.5.0", datastore_name="couchdb")
        return lambda values: ConfigurationsController._validate_configuration(
            values, of_couchdb, rules
        )

    def test_good_values_pass(self, validate):
        validate(
            {
                "couchdb.max_document_size": 8000000,
                "chttpd.require_valid_user": True,
                "log.level": "info",
                "chttpd_auth.min_iterations": 10,
                "attachments.compression_level": 9,
            }
        )

    @pytest.mark.parametrize(
        "values",
        [
            {"couchdb.max_document_size": 0},
            {"couchdb.max_document_size": 4294967297},
            {"couchdb.max_document_size": "8000000"},
            {"chttpd.require_valid_user": "true"},
            {"attachments.compression_level": 10},
            {"admins.root": "x"},
            {"couchdb/max_document_size": 1},
        ],
    )
    def test_bad_values_do_not(self, validate, values):
        from trove.common import exception

        with pytest.raises(exception.UnprocessableEntity):
            validate(values)

    def test_names_are_sections_and_options_in_order(self):
        names = [rule["name"] for rule in self.RULES]
        assert names == sorted(set(names))
        for name in names:
            assert re.fullmatch(r"[a-z_]+\.[a-z_]+", name)

    def test_nothing_that_would_lock_the_agent_or_the_operator_out(self):
        forbidden = re.compile(
            r"(admins|query_servers|native_query_servers|daemons|ssl|vendor|httpd|os_daemons)\."
            r"|chttpd\.(port|config_whitelist)"
            r"|chttpd_auth\.(secret|authentication_db)"
            r"|couchdb\.(database_dir|view_index_dir|uuid|default_security|users_db_.*)"
            r"|log\.(writer|file)"
        )
        assert not [rule["name"] for rule in self.RULES if forbidden.match(rule["name"])]

    def test_a_parameter_can_be_shown_by_its_name(self, trove, guest, seam):
        """A name with a slash could not."""
        import webob

        trove.manage("datastore_update", "couchdb", "3.5")
        trove.manage("db_load_datastore_config_parameters", "couchdb", "3.5", str(RULES))
        api = trove.api()
        path = f"/v1.0/{PROJECT}/datastores/couchdb/versions/3.5/parameters/log.level"
        request = webob.Request.blank(path, headers={"X-Auth-Token": f"a:{PROJECT}:member"})
        answer = request.get_response(api._app)
        assert (answer.status_int, answer.json["name"]) == (200, "log.level")


def test_the_package_needs_nothing_and_imports_nothing():
    """Whatever is in trove-api's environment, importing the package can't fail or change it."""
    code = "import sys; import trove_couchdb; print([m for m in sys.modules if 'trove' in m])"
    source = str(HERE / "src")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {source!r}); {code}"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "['trove_couchdb']"
