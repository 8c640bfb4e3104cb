"""All settings, read from the environment once. `.env.example` lists every name with its default.

Where a variable is unset, the file `var/env` answers for it: `make demo` writes generated keys and
the addresses of its servers there, so that a command started by hand joins the running demo.
"""

import sys
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from config.connectors import CONNECTORS as BUILT_IN

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
if (BASE_DIR / "var" / "env").is_file():
    env.read_env(BASE_DIR / "var" / "env")

DEBUG = env.bool("DEBUG", default=False)
TESTING = "pytest" in sys.modules

# --- What must be set -------------------------------------------------------------------------------
SECRET_KEY = env.str("SECRET_KEY", default="")
ENCRYPTION_KEYS = env.list("ENCRYPTION_KEYS", default=[])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost"])
PUBLIC_URL = env.str("PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")
PORT = env.int("PORT", default=8000)
DATABASE_URL = env.str("DATABASE_URL", default="")
# Migrations own the tables; web, workers and beat work as a role that owns nothing.
DATABASE_OWNER_URL = env.str("DATABASE_OWNER_URL", default=DATABASE_URL)
REDIS_URL = env.str("REDIS_URL", default="")

if not DATABASE_URL:
    raise ImproperlyConfigured(
        "No database: DATABASE_URL is not set and no demo runs in this folder. "
        "Start one with `make demo`, or set DATABASE_URL."
    )
if not SECRET_KEY or not ENCRYPTION_KEYS:
    raise ImproperlyConfigured(
        "SECRET_KEY and ENCRYPTION_KEYS must be set: without them sessions and stored secrets are not safe."
    )
if "*" in ALLOWED_HOSTS and not DEBUG:
    raise ImproperlyConfigured("ALLOWED_HOSTS=* answers for any host name; list the names that this site has.")

# --- Applications -----------------------------------------------------------------------------------
INSTALLED_APPS = [
    "config.apps.GreenlaneAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "template_partials",
    "django_htmx",
    "csp",
    "rest_framework",
    "django_filters",
    "knox",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "guardian",
    "axes",
    "pgtrigger",
    "core",
    "accounts",
    "catalog",
    "provisioning",
    "approvals",
    "orders",
    "config.apps.WiringConfig",
]

MIDDLEWARE = [
    "core.middleware.enter_trace",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    # Above all that may refuse, so that refusals carry its header too.
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "core.middleware.refuse_unstorable_text",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "core.middleware.explain_refusals",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.navigation.navigation",
            ],
        },
    }
]

# --- Database ---------------------------------------------------------------------------------------
# Under test the default connection is the owner's, so that test databases can be made and emptied;
# tests that start processes give them the application role's address.
DATABASES = {"default": env.db_url_config(DATABASE_OWNER_URL if TESTING else DATABASE_URL)}
DATABASES["default"] |= {
    "ENGINE": "django.db.backends.postgresql",
    "CONN_MAX_AGE": 60,
    "CONN_HEALTH_CHECKS": True,
    "OPTIONS": {
        "connect_timeout": 5,
        # A host that hangs or is gone holds locks for half a minute at most; a server that is gone is noticed as soon.
        "options": "-c lock_timeout=2s -c statement_timeout=30s -c idle_in_transaction_session_timeout=30s"
        " -c timezone=UTC",
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = env.str("BILLING_TIME_ZONE", default="UTC")
LANGUAGE_CODE = "en-us"
USE_I18N = False

# --- Who is there -----------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.Person"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    # Before those that ask the database: most answers come from here.
    "core.permissions.RuleBackend",
    "django.contrib.auth.backends.ModelBackend",
    "guardian.backends.ObjectPermissionBackend",
]
ANONYMOUS_USER_NAME = None
GUARDIAN_MONKEY_PATCH_USER = False
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "accounts:sign_in"
LOGIN_REDIRECT_URL = "catalog:offering_list"
LOGOUT_REDIRECT_URL = "accounts:sign_in"
# One bad guesser locks himself out, not the person whose name he guesses from elsewhere.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "accounts/locked_out.html"
AXES_VERBOSE = False
AXES_DISABLE_ACCESS_LOG = True
KNOX_TOKEN_MODEL = "accounts.ApiToken"  # noqa: S105 (a model's name)

# --- HTTP -------------------------------------------------------------------------------------------
_https = PUBLIC_URL.startswith("https://")
SECURE_SSL_REDIRECT = _https
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _https else None
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _https
SECURE_REFERRER_POLICY = "same-origin"
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
# Cookies do not tell ports apart: two demos on one host would sign each other out.
SESSION_COOKIE_NAME = f"greenlane_session_{PORT}"
CSRF_COOKIE_NAME = f"greenlane_csrf_{PORT}"
SESSION_COOKIE_AGE = 12 * 3600
CSRF_COOKIE_HTTPONLY = True
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if _https else []
CSRF_FAILURE_VIEW = "core.views.csrf_failure"
DATA_UPLOAD_MAX_MEMORY_SIZE = 512 * 1024
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
    }
}
STATIC_URL = "/static/"
# Where `collectstatic` puts the files, compressed and named by content. Unset: they are served from where they lie.
STATIC_ROOT = env.str("STATIC_ROOT", default="") or None
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if STATIC_ROOT
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = not STATIC_ROOT

# --- API --------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.api.TokenAuthentication",
        "accounts.api.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.api.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["core.api.parsing.StrictJSONParser"],
    "DEFAULT_PAGINATION_CLASS": "core.api.pages.KeysetPagination",
    "DEFAULT_FILTER_BACKENDS": [],
    "DEFAULT_SCHEMA_CLASS": "core.api.schema.Schema",
    "URL_FORMAT_OVERRIDE": None,
    "DEFAULT_THROTTLE_CLASSES": [
        "rest_framework.throttling.UserRateThrottle",
        "rest_framework.throttling.AnonRateThrottle",
    ],
    "DEFAULT_THROTTLE_RATES": {"user": "200/s", "anon": "20/s"},
    "NUM_PROXIES": env.int("NUM_PROXIES", default=0),
    "EXCEPTION_HANDLER": "core.api.problems.problem",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Greenlane",
    "DESCRIPTION": "Order pre-authorized IT services, follow their delivery and read what they cost.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    # Without an address here the page would show our document to a validator on the internet.
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "core.api.schema.add_problem"],
    "ENUM_NAME_OVERRIDES": {
        "OrderState": "orders.models.Order.State",
        "ServiceInstanceState": "provisioning.models.ServiceInstance.State",
        "RunState": "provisioning.models.Run.State",
        "RunKind": "provisioning.models.Run.Kind",
        "StepState": "provisioning.models.Step.State",
        "StepKind": "provisioning.models.Step.Kind",
        "TaskState": "provisioning.models.ManualTask.State",
        "PriceKind": "catalog.models.Price.Kind",
        "DecisionOutcome": "approvals.models.Decision.Outcome",
        "OrderAction": "orders.models.Order.Action",
        "RoleName": "accounts.models.Role",
    },
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
}

# --- Work in the background -------------------------------------------------------------------------
LEASE_SECONDS = env.int("LEASE_SECONDS", default=30)
SWEEP_SECONDS = env.int("SWEEP_SECONDS", default=5)
PID_DIR = env.str("PID_DIR", default="")
# A request never asks Redis: what it caches lives in its own process.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
SESSION_ENGINE = "django.contrib.sessions.backends.db"

# --- Back ends: what each connector takes and gives, so that a workflow naming anything else is refused
POSTGRESQL_BACKEND_URL = env.str("POSTGRESQL_BACKEND_URL", default="")
REDIS_BACKEND_URL = env.str("REDIS_BACKEND_URL", default="")
GIT_BACKEND_ROOT = env.str("GIT_BACKEND_ROOT", default="")
# Where playbooks and Terraform modules lie: one folder a project, read and never written.
ANSIBLE_PROJECTS = env.str("ANSIBLE_PROJECTS", default="")
TERRAFORM_MODULES = env.str("TERRAFORM_MODULES", default="")
# Where their runs keep workspaces and state; must outlive the worker and be shared by all of them.
WORK_ROOT = env.str("WORK_ROOT", default=str(BASE_DIR / "var" / "work"))
# Variables of the worker's own environment that such programs get too: their credentials, proxies, settings.
CHILD_ENVIRONMENT = env.list("CHILD_ENVIRONMENT", default=[])
CONNECTORS = dict(BUILT_IN)
for _named in env.list("EXTRA_CONNECTORS", default=[]):
    CONNECTORS |= import_string(_named)

# --- Mail, demo, logs -------------------------------------------------------------------------------
vars().update(env.email_url("EMAIL_URL", default="consolemail://"))
# The demo's own back end, a register of names; see config/demo_names.py.
DEMO_NAMES_URL = env.str("DEMO_NAMES_URL", default="")
DEMO_NAMES_TOKEN = env.str("DEMO_NAMES_TOKEN", default="")
DEMO_PASSWORD = env.str("DEMO_PASSWORD", default="")
# Outbound calls: what may be reached beyond public addresses, as host, network or either with :port.
EGRESS_ALLOW = env.list("EGRESS_ALLOW", default=[])
# A DNS server (address or address:port) that resolves for them; unset: the machine's own way.
EGRESS_RESOLVER = env.str("EGRESS_RESOLVER", default="")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"scrub": {"()": "core.secrets.Scrubber"}},
    "formatters": {"json": {"()": "core.logs.formatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["scrub"]}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "axes": {"level": "ERROR"},
        "django.security": {"level": "ERROR"},
    },
}
SILENCED_SYSTEM_CHECKS: list[str] = []
