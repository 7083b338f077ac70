"""Django's own log-in page with `redirect_authenticated_user=True`, and users in SQLite. The second argument is the
session engine: `file`, or `signed_cookies`, which sets another cookie with every answer."""

import sys
import tempfile

import django
from django.conf import settings
from django.core.management import call_command
from django.http import HttpResponse
from django.urls import path
from django_site import serve

WORK = tempfile.mkdtemp()
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{WORK}/users"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    LOGIN_REDIRECT_URL="/account",
    LOGIN_URL="/login",
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="known to this test alone",
    SESSION_ENGINE=f"django.contrib.sessions.backends.{sys.argv[2]}",
    SESSION_FILE_PATH=WORK,
    SESSION_SAVE_EVERY_REQUEST=True,
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [("django.template.loaders.locmem.Loader", {"registration/login.html": "{{ form }}"})]},
        }
    ],
)
django.setup()

from django.contrib.auth.decorators import login_required  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.auth.views import LoginView  # noqa: E402


def home(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse("Hello")


@login_required
def account(request):
    return HttpResponse(f"signed in as {request.user.username}")


urlpatterns = [
    path("", home),
    path("login", LoginView.as_view(redirect_authenticated_user=True)),
    path("account", account),
]

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    for name in ["ada", "grace", "linus", "barbara"]:
        User.objects.create_user(name, password="right")
    serve()
