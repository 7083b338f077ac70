"""What the Django applications have in common."""

import sys
import tempfile

from django.conf import settings
from django.core.servers.basehttp import run
from django.core.wsgi import get_wsgi_application


def configure(*middleware):
    """For an application in one file, with its sessions in files."""
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", *middleware],
        ROOT_URLCONF="__main__",
        SECRET_KEY="known to this test alone",
        SESSION_ENGINE="django.contrib.sessions.backends.file",
        SESSION_FILE_PATH=tempfile.mkdtemp(),
    )


def serve():
    """On the port of the command line."""
    run(
        "127.0.0.1",
        int(sys.argv[1]),
        get_wsgi_application(),
        threading=True,
        on_bind=lambda port: print(f"listening on http://127.0.0.1:{port}", flush=True),
    )
