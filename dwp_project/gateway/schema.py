"""How the edge's own endpoints describe themselves."""

from drf_spectacular.utils import extend_schema

login = extend_schema(summary="Log in")
policy = extend_schema(summary="Login policy")
idp = extend_schema(summary="Identity providers")
me = extend_schema(summary="Who I am")
permissions = extend_schema(summary="What I may")
menus = extend_schema(summary="Menus")
