"""Stand-ins for Keystone and the clouds behind Trove, at the seams that Trove has for them."""

from types import SimpleNamespace


def auth_factory(global_conf, **local_conf):
    """A filter that takes the token's text for ``user:project:role``."""

    def wrap(app):
        def application(environ, start_response):
            user, project, role = environ["HTTP_X_AUTH_TOKEN"].split(":")
            environ.update(
                HTTP_X_USER_ID=user,
                HTTP_X_TENANT_ID=project,
                HTTP_X_PROJECT_ID=project,
                HTTP_X_ROLE=role,
                HTTP_X_ROLES=role,
                HTTP_X_SERVICE_CATALOG="[]",
            )
            return app(environ, start_response)

        return application

    return wrap


class _Anything:
    """Answers every call with something harmless."""

    def __getattr__(self, name):
        return _Anything()

    def __call__(self, *arguments, **keywords):
        return _Anything()

    def __iter__(self):
        return iter(())


def _server(key):
    return SimpleNamespace(
        id=key, status="ACTIVE", name=key, flavor={"id": "1"}, addresses={}, links=[], tags=[]
    )


def nova_client(*arguments, **keywords):
    from novaclient import api_versions

    return SimpleNamespace(
        servers=SimpleNamespace(get=_server, list=lambda *a, **k: []),
        flavors=_Anything(),
        server_groups=_Anything(),
        api_version=api_versions.APIVersion("2.57"),
    )


def neutron_client(*arguments, **keywords):
    return SimpleNamespace(
        list_ports=lambda **k: {"ports": []}, list_floatingips=lambda **k: {"floatingips": []}
    )


def any_client(*arguments, **keywords):
    return _Anything()
