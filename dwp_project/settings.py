"""Every setting of the deployment, read from the environment by typed readers.

In development, what the environment does not say is embedded or generated under DATA_DIR, so that
a bare machine needs nothing. docs/reference/settings.md lists every variable.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from csp import constants as csp

from dwp_project import database, openapi
from dwp_project.configuration import Configuration
from dwp_project.datadir import data_dir, redis_socket, secret
from dwp_project.environment import Environment, TrustedProxies
from dwp_project.strength import MIN_SECRET_BYTES

BASE_DIR = Path(__file__).resolve().parent.parent
# Collects what is wrong; `env.finish()` at the end of this module refuses all of it at once.
env = Configuration(Environment())

# ENVIRONMENT is what /health reports; anything but "development" is deployed.
ENVIRONMENT: str = env.filled("DWP_ENVIRONMENT", default="development")
IS_DEVELOPMENT: bool = env.is_development
DATA_DIR = env.attempt(lambda: data_dir(BASE_DIR), BASE_DIR)
env.require(DATA_DIR)

DEBUG = False
SECRET_KEY: str = env.secret("DJANGO_SECRET_KEY") or env.generate(
    lambda: secret(DATA_DIR, "django_secret_key")
)
JWT_SECRET: str = env.secret("JWT_SECRET", in_development=MIN_SECRET_BYTES) or env.generate(
    lambda: secret(DATA_DIR, "jwt_secret")
)
# These only verify, while a key is changed (docs/how-to/deploy.md).
SECRET_KEY_FALLBACKS: list[str] = env.fallback_secrets("DJANGO_SECRET_KEY_FALLBACKS", default=[])
JWT_SECRET_FALLBACKS: list[str] = env.fallback_secrets(
    "JWT_SECRET_FALLBACKS", default=[], in_development=MIN_SECRET_BYTES
)
if SECRET_KEY and SECRET_KEY == JWT_SECRET and not IS_DEVELOPMENT:
    env.refuse(
        "DJANGO_SECRET_KEY is JWT_SECRET, which other services know. Give it a secret of its own, "
        "and put this one into DJANGO_SECRET_KEY_FALLBACKS until sign-in sessions have ended."
    )
# Longest `exp - iat` a token may have, in seconds (docs/reference/wire.md, 1).
JWT_MAX_LIFETIME: int = env.whole("JWT_MAX_LIFETIME", default=24 * 3600, least=1, most=10**9)
# How long the banner's token is valid, and by default a login's. Chosen: a working day.
WORKING_DAY_SECONDS = 8 * 3600
JWT_LOGIN_LIFETIME: int = env.whole(
    "JWT_LOGIN_LIFETIME", default=WORKING_DAY_SECONDS, least=1, most=JWT_MAX_LIFETIME
)
# By how many seconds the clocks of issuers and readers of tokens may differ (wire.md, 1).
JWT_LEEWAY = 30
REDIS_URL: str = env.redis_url("REDIS_URL", default="") or env.generate(
    lambda: f"unix://{redis_socket(DATA_DIR)}"
)

HOST: str = env.host("HOST", default="127.0.0.1")
PORTS: list[int] = env.ports("PORTS", default=[8080, 8081, 8001, 9000])
BEHIND_PROXY: bool = env.bool("BEHIND_PROXY", default=False)
# Whose X-Forwarded-For and -Proto are read: anybody can send them.
TRUSTED_PROXIES: TrustedProxies = env.trusted_proxies(
    "TRUSTED_PROXIES", behind_proxy=BEHIND_PROXY if "BEHIND_PROXY" in env else None
)
ALLOWED_HOSTS: list[str] = env.host_patterns(
    "ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]", HOST]
)

INSTALLED_APPS = [
    "dwp_project.deployment",
    "dwp_project.gateway",
    "hitl",
    "streaming",
    "hitl.apps.DeskConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "channels",
    "csp",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "dwp_project.gateway.static_files.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "dwp_project.gateway.middleware.CommonForPages",
    "django.middleware.csrf.CsrfViewMiddleware",
    "dwp_project.gateway.middleware.RenewSignIn",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "dwp_project.gateway.current_request.RememberRequest",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "dwp_project.gateway.sign_in_sessions.EndChangedSessions",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "dwp_project.urls"
ASGI_APPLICATION = "dwp_project.asgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- storage ---------------------------------------------------------------------------
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASE_POOL_SIZE: int = env.whole("DATABASE_POOL_SIZE", default=20, least=1, most=10_000)
DATABASE_PGBOUNCER: bool = env.bool("DATABASE_PGBOUNCER", default=False)
DATABASES = {
    "default": database.with_options(
        env.db_url("DATABASE_URL", default=f"sqlite:///{DATA_DIR}/dwp.sqlite3"),
        pool_size=DATABASE_POOL_SIZE,
        is_behind_pgbouncer=DATABASE_PGBOUNCER,
    )
}

# What `dumpdata` writes is exact, so that what is signed still verifies where it is loaded.
SERIALIZATION_MODULES = {
    "json": "dwp_project.dumps.exact_json",
    "jsonl": "dwp_project.dumps.exact_jsonl",
}

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "dwp_project.wakeup.layer.ChannelLayer",
        "CONFIG": {
            # redis-py's own timeouts have changed between versions; a frozen link must not
            # hold up a page for longer than this.
            "hosts": [{"address": REDIS_URL, "socket_timeout": 5, "socket_connect_timeout": 2}],
        },
    }
}

# --- language and time -----------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("ko", "한국어")]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
USE_TZ = True
# The "local" of the envelope's `timestamp`.
TIME_ZONE: str = env.time_zone("TIME_ZONE", default="UTC")

# --- pages -----------------------------------------------------------------------------
STATIC_URL = "/static/"
# `make static` collects them here, hashed and compressed. What is not there is served from where
# the packages keep it, so that nothing has to be collected.
STATIC_ROOT: str = env.folder("STATIC_ROOT", default=str(BASE_DIR / "staticfiles"))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "dwp_project.gateway.static_files.CollectedFiles"},
}
WHITENOISE_USE_FINDERS = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.bool("SECURE_COOKIES", default=not IS_DEVELOPMENT)
# A sign-in session ends so long after the sign-in, used or not. Chosen: longer than any shift.
SESSION_COOKIE_AGE = 12 * 3600
CSRF_TRUSTED_ORIGINS: list[str] = env.origin_patterns("CSRF_TRUSTED_ORIGINS", default=[])
CSRF_FAILURE_VIEW = "hitl.admin.refused_forms.form_refused"
# A browser then reaches every port of the host by HTTPS only, so it has to be asked for.
SECURE_HSTS_SECONDS: int = env.whole("HSTS_SECONDS", default=0, most=100_000_000)
SILENCED_SYSTEM_CHECKS = [
    # Wanted: other hosts of the domain are not for this project to decide about.
    "security.W005",
    "security.W021",
    # Wanted: probes and the proxy speak HTTP to this process. The proxy redirects browsers.
    "security.W008",
]
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# Scripts and styles come only from our own files; nothing is inline.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [csp.NONE],
        "script-src": [csp.SELF],
        "style-src": [csp.SELF],
        # `data:` for the icons in the style sheets of the API's documentation page.
        "img-src": [csp.SELF, "data:"],
        "font-src": [csp.SELF],
        "connect-src": [csp.SELF],
        "manifest-src": [csp.SELF],
        "form-action": [csp.SELF],
        "frame-ancestors": [csp.NONE],
        "base-uri": [csp.NONE],
    }
}

# --- the edge (docs/reference/wire.md, 1 and 2) ----------------------------------------
# A body larger than this is refused on every path, with 413.
MAX_BODY_BYTES = 256 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
CORS_ALLOWED_ORIGINS: list[str] = env.origins(
    "CORS_ALLOWED_ORIGINS",
    default=["http://localhost:4200", "http://localhost:3000", "http://localhost:3039"]
    if IS_DEVELOPMENT
    else [],
)
# Off for deployments whose gateway answers for CORS: two such headers are none to a browser.
if not env.bool("CORS_ENABLED", default=True):
    CORS_ALLOWED_ORIGINS = []
CORS_ALLOW_CREDENTIALS = True
CORS_ALLOW_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
CORS_EXPOSE_HEADERS = ["X-DWP-Signal", "Retry-After"]
CORS_ALLOW_HEADERS = [
    "Authorization",
    "Content-Type",
    "Accept",
    "Accept-Language",
    "X-Tenant-ID",
    "X-User-ID",
    "X-Agent-ID",
    "X-DWP-Source",
    "X-DWP-Caller-Type",
    "Last-Event-ID",
    "Idempotency-Key",
    "X-Trace-Id",
    "X-Gateway-Request-Id",
]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["dwp_project.gateway.identity.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["dwp_project.gateway.negotiation.CompactRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "dwp_project.gateway.negotiation.JSONOnly",
    "EXCEPTION_HANDLER": "dwp_project.gateway.views.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
}
# The first checks every password and asks no other. Sign-in sessions name the second, as those of
# the version before do, so that either version's processes accept them during an update.
AUTHENTICATION_BACKENDS = [
    "dwp_project.gateway.passwords.PasswordBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
# Too many failed sign-ins lock a name and address, or an address (dwp_project/gateway/lockout.py).
AXES_HANDLER = "dwp_project.gateway.lockout.LockoutHandler"
AXES_CLIENT_IP_CALLABLE = "dwp_project.gateway.addresses.client_address"
AXES_LOCKOUT_CALLABLE = "dwp_project.gateway.views.too_many_attempts"
# Chosen: a person mistypes less often than that, and 20 guesses an hour find no password.
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
# The audit has what axes' own pages would show.
AXES_ENABLE_ADMIN = AXES_VERBOSE = False
# Tokens come from other issuers as well: no `token_type`, no `jti`, the user is `sub`.
SIMPLE_JWT = {
    "ALGORITHM": "HS256",
    "SIGNING_KEY": JWT_SECRET,
    "USER_ID_CLAIM": "sub",
    "TOKEN_TYPE_CLAIM": None,
    "JTI_CLAIM": None,
    "LEEWAY": JWT_LEEWAY,
}
SPECTACULAR_SETTINGS = openapi.SPECTACULAR_SETTINGS

# --- approvals and agents --------------------------------------------------------------
# How long a question waits for its answer, unless it says otherwise.
HITL_DEFAULT_TIMEOUT_SECONDS: int = env.whole(
    "HITL_DEFAULT_TIMEOUT_SECONDS", default=300, least=1, most=30 * 24 * 3600
)
# Members of contexts and events that no page shows: globs over their names, at any depth.
HITL_REDACT: list[str] = env.list(
    "HITL_REDACT",
    default=[
        "*password*",
        "*passwd*",
        "*passphrase*",
        "pwd",
        "*secret*",
        "*token*",
        "*api_key*",
        "*apikey*",
        "*access_key*",
        "*accesskey*",
        "*private_key*",
        "*privatekey*",
        "*credential*",
        "*authorization*",
        "cookie",
        "set_cookie",
        "pin",
        "otp",
        "cvc",
        "cvv",
        "*비밀번호*",
    ],
)
DWP_AGENTS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": env.dotted_path("DWP_AGENT", default="streaming.agents.demo.DemoAgent"),
        "OPTIONS": env.json_object("DWP_AGENT_OPTIONS", default={}),
    },
}
# Seconds of silence after which a stream carries a comment; clients expect one every 15 s.
SSE_HEARTBEAT_SECONDS: float = env.seconds(
    "SSE_HEARTBEAT_SECONDS", default=10.0, least=0.1, most=15
)

# Days for which the events of sessions are kept; 0 keeps them for good.
DWP_EVENT_RETENTION: int = env.whole("DWP_EVENT_RETENTION", default=30)

# --- the audit's signatures (docs/explanation/audit.md) ----------------------------------
# PEM (PKCS 8) or the base64 of 32 bytes; with neither, a key is generated under DATA_DIR.
AUDIT_SIGNING_KEY: str = env.signing_key("AUDIT_SIGNING_KEY", file_var="AUDIT_SIGNING_KEY_FILE")
AUDIT_SIGNING_KEY_FILE: str = env.str("AUDIT_SIGNING_KEY_FILE", default="")
# Public keys that signed earlier: PEM files, or folders of them.
AUDIT_TRUSTED_KEYS: list[str] = env.list("AUDIT_TRUSTED_KEYS", default=[])
AUDIT_CHECKPOINT_DIR: str = env.folder(
    "AUDIT_CHECKPOINT_DIR", default=str(DATA_DIR / "checkpoints")
)

# --- metrics ----------------------------------------------------------------------------
# The token that reads /metrics; without one, the path does not exist.
METRICS_TOKEN: str = env.secret("METRICS_TOKEN", least=16)

# --- logs ------------------------------------------------------------------------------
LOG_LEVEL: str = env.log_level("LOG_LEVEL", default="INFO")
LOG_FORMAT: str = env.choice(
    "LOG_FORMAT", ("console", "json"), default="console" if IS_DEVELOPMENT else "json"
)
LOGGING_CONFIG = "dwp_project.logs.configure"
LOGGING: dict[str, Any] = {"level": LOG_LEVEL, "format": LOG_FORMAT}

env.finish()
