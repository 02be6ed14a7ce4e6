"""What the settings refuse, read as a process reads them (docs/reference/settings.md)."""

from __future__ import annotations

import base64
import re
import runpy
from collections.abc import Callable, Mapping
from hashlib import sha256, sha512
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.exceptions import ImproperlyConfigured

from tests.acceptance.certificates import make_certificate
from tests.services import JWT_SECRET

SETTINGS = Path(__file__).resolve().parents[2] / "dwp_project/settings.py"
# The same in every process: a test's parameters are part of its name.
STRONG = {name: sha512(name.encode()).hexdigest() for name in ("jwt", "django", "metrics", "old")}
DEPLOYED = {
    "DWP_ENVIRONMENT": "production",
    "DATABASE_URL": "postgres://dwp:hunter2@127.0.0.1:5432/dwp",
    "REDIS_URL": "redis://dwp:hunter2@127.0.0.1:6379/0",
    "JWT_SECRET": STRONG["jwt"],
    "DJANGO_SECRET_KEY": STRONG["django"],
    "AUDIT_SIGNING_KEY": base64.b64encode(sha256(b"audit").digest()).decode(),
}
# Values that mean nothing in any environment.
MEANINGLESS = {
    "DWP_ENVIRONMENT": ["", " "],
    "DATA_DIR": ["/dev/null/data", "~nobody-of-that-name/data"],
    "DATABASE_URL": [
        "",
        "nonsense",
        "mysql://dwp:hunter2@db/dwp",
        "postgres://",
        "postgres://dwp:hunter2@db:5432",
        "postgres://dwp:hunter2@db:port/dwp",
        "postgres://dwp:hunter2@db:99999/dwp",
        "postgres://dwp:hunter2@db/dwp?ssl_mode=require",
        "postgres://dwp:hunter2@db/dwp?server_side_binding=maybe",
        "postgres://dwp:hunter2@db/dwp?pool=true",
        "sqlite://",
        "sqlite:///",
        "sqlite://:memory:",
        "sqlite://dwp.sqlite3",
        "sqlite:////tmp/dwp.sqlite3?wal=yes",
    ],
    "DATABASE_POOL_SIZE": ["", "0", "-1", "many", "1.5"],
    "REDIS_URL": [
        "bogus",
        "http://127.0.0.1:6379",
        "redis://:hunter2@127.0.0.1:6379/abc",
        "redis://:hunter2@127.0.0.1:port/0",
        "redis://:hunter#2@127.0.0.1:6379/0",
        "redis://127.0.0.1:99999/0",
        "redis://127.0.0.1:6379/0?nonsense=1",
        "unix://",
        "unix:///run/redis.sock?db=abc",
        "rediss://127.0.0.1?ssl_cert_reqs=foo",
        "redis://127.0.0.1?socket_timeout=soon",
        "rediss://127.0.0.1/0?ssl_ca_certs=/nonexistent.crt",
        "rediss://127.0.0.1/0?ssl_certfile=/nonexistent.crt",
        "rediss://127.0.0.1/0?ssl_ciphers=none-of-that-name",
        "redis://127.0.0.1/0?decode_responses=true",
        "redis://127.0.0.1/0?encoding=utf-16",
        "redis://127.0.0.1/0?legacy_responses=false",
        "redis://127.0.0.1/0?retry=1",
    ],
    "JWT_SECRET": ["short", "x" * 31],
    "JWT_SECRET_FALLBACKS": ["short", f"{STRONG['old']},short", ",".join([STRONG["old"]] * 9)],
    "DJANGO_SECRET_KEY_FALLBACKS": [",".join([STRONG["old"]] * 9)],
    "JWT_MAX_LIFETIME": ["", "-1", "0", "long", "1e3", str(10**12)],
    "JWT_LOGIN_LIFETIME": ["", "0", "-1", "86401"],
    "HOST": ["", "http://127.0.0.1", "127.0.0.1:8080", "a b", "[::1]"],
    "PORTS": ["", ",", "abc", "8080;8081", "-1", "65536", "99999", "8080.5"],
    "BEHIND_PROXY": ["", "maybe", "2", "ture"],
    "TRUSTED_PROXIES": [
        *("", "maybe", "-1", "17", "10.0.0.1/8", "10.0.0.1,nginx"),
        *("0.0.0.0/0", "0.0.0.0/1,128.0.0.0/1", "2000::/3", "::ffff:0:0/96"),
    ],
    "SECURE_COOKIES": ["", "maybe"],
    "HSTS_SECONDS": ["", "-1", "a year"],
    "ALLOWED_HOSTS": ["", "https://dwp.example.com", "dwp.example.com:8080", "a/b", "*.a.example"],
    "CORS_ENABLED": ["", "maybe"],
    "DATABASE_PGBOUNCER": ["", "maybe"],
    "CORS_ALLOWED_ORIGINS": [
        "*",
        "app.example.com",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://App.example.com",
        "https://*.example.com",
        "https://app.example.com:99999",
        "https://app.example.com:0",
        "https://kim:hunter2@app.example.com",
        "https://",
    ],
    "CSRF_TRUSTED_ORIGINS": [
        *("*", "dwp.example.com", "https://dwp.example.com/", "ftp://a.example"),
        "https://*.example.com:65536",
    ],
    "TIME_ZONE": ["", "Mars/X", "../../etc/passwd", "Asia"],
    "SSE_HEARTBEAT_SECONDS": ["", "60", "15.1", "0", "-1", "nan", "inf", "ten", "10s"],
    "METRICS_TOKEN": ["\udc80"],
    "LOG_LEVEL": ["", "nonsense", "info", "NOTSET"],
    "LOG_FORMAT": ["", "xml", "JSON"],
    "HITL_DEFAULT_TIMEOUT_SECONDS": ["", "0", "-1", "2592001", "soon"],
    "DWP_AGENT": ["", "agent", "streaming.agents.demo:DemoAgent", "a..b", "my agent.Class"],
    "DWP_AGENT_OPTIONS": ["", "{", "[]", "1", "null", "'{}'", "chunk_delay=1"],
    "DWP_EVENT_RETENTION": ["", "-1", "month", "1000001"],
    "AUDIT_SIGNING_KEY": ["no key", base64.b64encode(b"k" * 31).decode()],
    "AUDIT_SIGNING_KEY_FILE": ["/nonexistent/key", "/"],
    "AUDIT_CHECKPOINT_DIR": ["/dev/null", "/dev/null/checkpoints", __file__],
    "STATIC_ROOT": ["/dev/null", __file__],
}
# What is safe on a developer's machine only.
UNSAFE = {
    "DATABASE_URL": [
        "postgres://dwp:password@127.0.0.1:5432/dwp",
        "postgres://postgres:postgres@127.0.0.1:5432/dwp",
        "postgres://kim:%6bim@127.0.0.1:5432/dwp",
        "postgres://127.0.0.1:5432/dwp?user=kim&password=kim",
    ],
    "REDIS_URL": [
        "redis://:changeme@127.0.0.1:6379/0",
        "redis://kim:%6bim@127.0.0.1:6379/0",
        "unix:///run/redis.sock?password=redis",
    ],
    "JWT_SECRET": [
        "a" * 40,
        "ab" * 20,
        "0123456789abcdef" * 4,
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "changeme-changeme-changeme-changeme1",
        "ChangeMe123ChangeMe123ChangeMe123!",
        "your-256-bit-secret-goes-in-here",
        "YourSuperSecretPassword2024!ChangeMeNow",
        "this-is-only-for-tests-not-for-production",
        "<48 random bytes, in base64, go in here>",
        "${JWT_SECRET_FROM_THE_VAULT_OF_ACME_INC}",
        "django-insecure-" + STRONG["old"],
        JWT_SECRET,
        "another-secret-of-32-bytes-or-more",
        "a-secret-that-only-this-run-knows-0123456789",
        "your_shared_secret_key_must_be_at_least_256_bits_long_for_HS256",
        "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
    ],
    "JWT_SECRET_FALLBACKS": ["a" * 40, f"{STRONG['old']},{'changeme' * 5}"],
    "DJANGO_SECRET_KEY": ["x", "short", "x" * 31, "a" * 50, "django-insecure-" + STRONG["old"]],
    "DJANGO_SECRET_KEY_FALLBACKS": ["short", "a" * 50, f"{STRONG['old']},short"],
    "METRICS_TOKEN": ["short", "x" * 15, "x" * 40, "changeme-changeme"],
    "AUDIT_SIGNING_KEY": [
        base64.b64encode(b"k" * 32).decode(),
        base64.b64encode(b"ab" * 16).decode(),
        base64.b64encode(b"your-256-bit-secret-goes-in-here").decode(),
    ],
    "ALLOWED_HOSTS": ["*", "dwp.example.com,*"],
    "CORS_ALLOWED_ORIGINS": ["null", "https://app.example.com,null"],
}
# Any text means something, or the system checks read what it names.
ANYTHING = {"HITL_REDACT", "AUDIT_TRUSTED_KEYS"}
GOOD = {
    "DATABASE_URL": [
        "sqlite:////var/lib/dwp/dwp.sqlite3",
        "sqlite:///dwp.sqlite3",
        "postgresql://dwp@/dwp?host=/run/postgresql",
        "postgres://postgres@//run/postgresql/dwp",
        "postgres://dwp:h%23%2F%40@a:5432,b:5433/dwp?sslmode=require&target_session_attrs=read-write",
        "postgres:///?service=dwp",
        "postgres://dwp:hunter#2@db:5432/dwp",
        "postgres://dwp@db/dwp?CONN_MAX_AGE=0&isolation_level=2",
    ],
    "REDIS_URL": [
        "redis://db",
        "rediss://u:p%23@db:6380/1?ssl_cert_reqs=none",
        "unix:///run/r.sock?db=1",
        "rediss://db/0?protocol=3&socket_keepalive=true&ssl_check_hostname=false",
        "",
    ],
    "JWT_SECRET": [
        "acme-jwt-secret-" + "4f1c9b7e02d8a6355b1e7fd09c3a8264",
        "가나다라마바사아자차카타파하",
    ],
    "JWT_SECRET_FALLBACKS": ["", STRONG["old"], f"{STRONG['old']}, {STRONG['metrics']}"],
    "HOST": ["0.0.0.0", "::", "::1", "localhost", "db-1.internal"],  # noqa: S104
    "PORTS": ["0", "8080", "8080, 8081"],
    "BEHIND_PROXY": ["true", "True", "1", "yes", "false", "0", "no"],
    "TRUSTED_PROXIES": ["0", "1", "2", "10.0.0.0/8,192.168.1.5, ::1,unix", "unix", "fc00::/7"],
    "CORS_ENABLED": ["true", "false"],
    "DATABASE_PGBOUNCER": ["true", "false"],
    "ALLOWED_HOSTS": ["dwp.example.com,127.0.0.1,[::1]", ".example.com", "Dwp.Example.com"],
    "CORS_ALLOWED_ORIGINS": ["", "https://app.example.com:8443,app://localhost,http://[::1]:3000"],
    "CSRF_TRUSTED_ORIGINS": ["", "https://*.example.com,https://dwp.example.com:8443"],
    "TIME_ZONE": ["UTC", "Asia/Seoul"],
    "SSE_HEARTBEAT_SECONDS": ["15", "0.5", "10"],
    "HITL_DEFAULT_TIMEOUT_SECONDS": ["1", "2592000"],
    "DWP_AGENT_OPTIONS": ["{}", '{"chunk_delay": 0}'],
    "JWT_LOGIN_LIFETIME": ["60", "86400"],
    "METRICS_TOKEN": ["", STRONG["metrics"], "3f9a1c7d5e2b8046"],
    "LOG_FORMAT": ["json", "console"],
    "AUDIT_CHECKPOINT_DIR": ["", "/nonexistent/checkpoints", "checkpoints"],
    "STATIC_ROOT": ["", "/nonexistent", "/tmp"],
}


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Mapping[str, str]], dict[str, Any]]:
    """Return what reads the settings of a process with this environment and nothing else."""

    def settings(environment: Mapping[str, str]) -> dict[str, Any]:
        values = {"DATA_DIR": str(tmp_path / "data"), **environment}
        with mock.patch.dict("os.environ", values, clear=True):
            return runpy.run_path(str(SETTINGS))

    return settings


Read = Callable[[Mapping[str, str]], dict[str, Any]]


def refused(read: Read, environment: Mapping[str, str]) -> list[str]:
    """Return the lines of the refusal, without the first."""
    with pytest.raises(ImproperlyConfigured) as caught:
        read(environment)
    first, *lines = str(caught.value).splitlines()
    assert first == "nothing is started."
    return lines


def cases(table: Mapping[str, list[str]]) -> list[Any]:
    return [
        pytest.param(name, value, id=f"{name}-{number}")
        for name, values in table.items()
        for number, value in enumerate(values)
    ]


def is_quoted(value: str, line: str) -> bool:
    """Say whether a line shows a secret: a value of 8 characters or more, or `hunter2`."""
    return "hunter" in line or (len(value) > 8 and value in line)


@pytest.mark.parametrize(("name", "value"), cases(MEANINGLESS))
def test_value_that_means_nothing_is_refused_everywhere(read: Read, name: str, value: str) -> None:
    others = dict(DEPLOYED)
    if name == "AUDIT_SIGNING_KEY_FILE":
        del others["AUDIT_SIGNING_KEY"]
    for environment in ("development", "production"):
        [line] = refused(read, {**others, "DWP_ENVIRONMENT": environment, name: value})
        assert line.startswith(f"- {name} ")
        assert "hunter" not in line


@pytest.mark.parametrize(("name", "value"), cases(UNSAFE))
def test_value_that_is_unsafe_is_refused_outside_development(
    read: Read, name: str, value: str
) -> None:
    [line] = refused(read, {**DEPLOYED, name: value})
    assert line.startswith(f"- {name} ")
    if name not in ("ALLOWED_HOSTS", "CORS_ALLOWED_ORIGINS"):
        assert not is_quoted(value, line)
    read({name: value})


@pytest.mark.parametrize(("name", "value"), cases(GOOD))
def test_value_that_means_something_is_read(read: Read, name: str, value: str) -> None:
    read({name: value})
    if value:
        read({**DEPLOYED, name: value})


def test_every_variable_has_values_that_are_refused() -> None:
    names = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', SETTINGS.read_text(encoding="utf-8")))
    names |= {"DATA_DIR", "AUDIT_SIGNING_KEY_FILE"}
    assert len(names) > 30
    assert names - MEANINGLESS.keys() - UNSAFE.keys() - ANYTHING == set()


@pytest.mark.parametrize("environment", ["production", "Development", "dev", "staging"])
def test_deployed_process_makes_up_nothing(read: Read, tmp_path: Path, environment: str) -> None:
    lines = refused(read, {"DWP_ENVIRONMENT": environment})

    assert [line.partition(" is missing")[0] for line in lines] == [
        "- DATABASE_URL",
        "- REDIS_URL",
        "- JWT_SECRET",
        "- DJANGO_SECRET_KEY",
        "- AUDIT_SIGNING_KEY_FILE or AUDIT_SIGNING_KEY",
    ]
    assert list((tmp_path / "data").iterdir()) == []


def test_empty_is_missing_for_what_a_deployed_process_needs(read: Read) -> None:
    for name in ("REDIS_URL", "JWT_SECRET", "DJANGO_SECRET_KEY", "AUDIT_SIGNING_KEY"):
        [line] = refused(read, {**DEPLOYED, name: ""})
        assert f"{name} is missing" in line


def test_refusal_says_how_to_go_on_with_what_was_generated(read: Read, tmp_path: Path) -> None:
    read({})
    folder = tmp_path / "data"
    (folder / "dwp.sqlite3").touch()
    (folder / "audit_signing_key").touch()

    text = "\n".join(refused(read, {"DWP_ENVIRONMENT": "production"}))

    assert f"DATABASE_URL=sqlite:///{folder}/dwp.sqlite3" in text
    assert f"JWT_SECRET=<the content of {folder}/jwt_secret>" in text
    assert f"AUDIT_SIGNING_KEY_FILE={folder}/audit_signing_key" in text
    assert (folder / "jwt_secret").read_text(encoding="ascii") not in text


def test_everything_that_is_wrong_is_named_at_once(read: Read) -> None:
    wrong = {name: values[-1] for name, values in MEANINGLESS.items() if name != "DWP_ENVIRONMENT"}
    lines = refused(read, {**wrong, "DWP_ENVIRONMENT": "production"})

    for name in wrong:
        assert any(name in line for line in lines), name


def test_one_secret_for_both_is_refused_outside_development(read: Read) -> None:
    both = {"JWT_SECRET": STRONG["jwt"], "DJANGO_SECRET_KEY": STRONG["jwt"]}
    [line] = refused(read, {**DEPLOYED, **both})
    assert "DJANGO_SECRET_KEY is JWT_SECRET" in line
    read(both)
    # The way out: tokens and sign-in sessions stay valid.
    read({**DEPLOYED, "JWT_SECRET": STRONG["jwt"], "DJANGO_SECRET_KEY_FALLBACKS": STRONG["jwt"]})


def test_only_one_of_key_and_file_may_be_set(read: Read, tmp_path: Path) -> None:
    file = tmp_path / "audit.key"
    file.write_text(DEPLOYED["AUDIT_SIGNING_KEY"], encoding="ascii")
    [line] = refused(read, {**DEPLOYED, "AUDIT_SIGNING_KEY_FILE": str(file)})
    assert "are both set" in line
    read({**DEPLOYED, "AUDIT_SIGNING_KEY": "", "AUDIT_SIGNING_KEY_FILE": str(file)})


def test_bare_machine_needs_nothing(read: Read, tmp_path: Path) -> None:
    settings = read({})

    assert len(settings["JWT_SECRET"]) > 32
    assert settings["IS_DEVELOPMENT"] is True
    assert settings["REDIS_URL"].startswith("unix://")
    assert (tmp_path / "data/jwt_secret").exists()


def test_secret_that_begins_with_a_dollar_is_itself(read: Read) -> None:
    secret = "$" + STRONG["old"]
    assert read({"JWT_SECRET": secret})["JWT_SECRET"] == secret


def test_way_out_begins_a_sentence_of_its_own(read: Read, tmp_path: Path) -> None:
    read({})

    text = "\n".join(refused(read, {"DWP_ENVIRONMENT": "production"}))

    assert "token_urlsafe(48))'. To go on with what was used so far: DJANGO_SECRET_KEY=" in text
    assert ".. To go on" not in text


def test_variable_that_means_nothing_contradicts_no_other(read: Read) -> None:
    [line] = refused(read, {"BEHIND_PROXY": "maybe", "TRUSTED_PROXIES": "1"})
    assert "'maybe' is neither true nor false" in line


@pytest.mark.parametrize("port", ["port", "99999"])
def test_port_that_is_none_is_named(read: Read, port: str) -> None:
    [line] = refused(read, {"DATABASE_URL": f"postgres://dwp:hunter2@db:{port}/dwp"})
    assert line.startswith("- DATABASE_URL has a host or a port that is none.")


def test_certificates_of_redis_are_read(read: Read, tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    url = f"rediss://db:6379/0?ssl_ca_certs={file}"
    assert refused(read, {"REDIS_URL": url})
    file.write_text("no certificate", encoding="ascii")
    assert refused(read, {"REDIS_URL": url})
    url = f"rediss://db:6379/0?ssl_ca_certs={make_certificate(tmp_path, 'db').authority}"
    assert read({"REDIS_URL": url})["REDIS_URL"] == url


def test_ipv4_that_is_mapped_into_ipv6_is_trusted_as_ipv4(read: Read) -> None:
    proxies = {"TRUSTED_PROXIES": "::ffff:10.0.0.0/104,::ffff:192.168.1.5"}
    networks = read(proxies)["TRUSTED_PROXIES"].networks
    assert networks == (ip_network("10.0.0.0/8"), ip_network("192.168.1.5/32"))
