"""A shop on Django, in one file: a health route, a login form, a page for members, and routes that go wrong.

Its settings come from the environment: SHOP_DATABASE (a PostgreSQL port; else SQLite), SHOP_REDIS (a port), SHOP_DEBUG,
SHOP_SECURE (redirect to https), SHOP_COOKIES_FOR (a domain),
SHOP_SECURE_COOKIES. `python shop.py migrate` makes the tables and the member.
"""

import os
import sys
import time
from pathlib import Path

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

HERE = Path.cwd()


def databases():
    """Return Django's setting: PostgreSQL if the environment names its port."""
    port = os.environ.get("SHOP_DATABASE")
    if not port:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(HERE / "shop.db")}
    place = {"HOST": "127.0.0.1", "PORT": port, "NAME": "postgres", "USER": "shop"}
    return {"ENGINE": "django.db.backends.postgresql", "OPTIONS": {"connect_timeout": 2}} | place


def caches():
    """Return Django's setting: Redis if the environment names its port."""
    port = os.environ.get("SHOP_REDIS")
    if not port:
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"redis://127.0.0.1:{port}"}


settings.configure(
    ALLOWED_HOSTS=["shop.example.com"],
    AUTH_PASSWORD_VALIDATORS=[],
    CACHES={"default": caches()},
    CSRF_TRUSTED_ORIGINS=["http://shop.example.com"],
    DATABASES={"default": databases()},
    DEBUG=os.environ.get("SHOP_DEBUG") == "1",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    LOGIN_REDIRECT_URL="/account",
    LOGIN_URL="/login",
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="no secret",
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    SECURE_SSL_REDIRECT=os.environ.get("SHOP_SECURE") == "1",
    SESSION_COOKIE_DOMAIN=os.environ.get("SHOP_COOKIES_FOR"),
    SESSION_COOKIE_SECURE=os.environ.get("SHOP_SECURE_COOKIES") == "1",
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    (
                        "django.template.loaders.locmem.Loader",
                        {
                            "registration/login.html": "<!DOCTYPE html><title>Log in</title>{{ form.errors }}"
                            '<form method="post">{% csrf_token %}{{ form.as_p }}<button>Log in</button></form>'
                        },
                    )
                ]
            },
        }
    ],
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.decorators import login_required  # noqa: E402  (these need the settings)
from django.contrib.auth.views import LoginView  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connection  # noqa: E402
from django.urls import path  # noqa: E402


def health(request: HttpRequest) -> HttpResponse:
    """Say whether the database and the cache work, as the usual health packages of Django do."""
    checks = {"database": ask_database, "cache": ask_cache}
    said = {name: said_by(check) for name, check in checks.items()}
    well = set(said.values()) == {"working"}
    return JsonResponse({"status": "healthy" if well else "unhealthy", "checks": said}, status=200 if well else 503)


def said_by(check) -> str:
    """Return `working`, or the name of the error."""
    try:
        check()
    except Exception as error:
        return f"unavailable: {type(error).__name__}"
    return "working"


def ask_database() -> None:
    """Count the users."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM auth_user")


def ask_cache() -> None:
    """Store a value and read it back."""
    cache.set("health", "well", 5)
    if cache.get("health") != "well":
        raise ValueError("the cache forgets")


@login_required
def account(request: HttpRequest) -> HttpResponse:
    """Greet the member."""
    return JsonResponse({"member": request.user.get_username()})


def hang(request: HttpRequest) -> HttpResponse:
    """Take longer than anybody waits."""
    time.sleep(30)
    return HttpResponse("late")


def fail(request: HttpRequest) -> HttpResponse:
    """Fail with an error that nobody catches."""
    raise LookupError("no such shelf")


urlpatterns = [
    path("health", health),
    path("login", LoginView.as_view()),
    path("account", account),
    path("hang", hang),
    path("fail", fail),
]
application = get_wsgi_application()

if __name__ == "__main__":
    call_command(*sys.argv[1:])
    from django.contrib.auth.models import User

    if not User.objects.exists():
        User.objects.create_user("ada", password="m7Qx2LpVt9Rw4Zk8")
