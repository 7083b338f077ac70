"""Flask with Flask-Session: the session is in a file, and the cookie is its random id."""

import sys
import tempfile

from cachelib.file import FileSystemCache
from flask import Flask, redirect, render_template_string, request, session, url_for
from flask_session import Session
from werkzeug.serving import make_server

app = Flask(__name__)
app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=FileSystemCache(tempfile.mkdtemp()))
Session(app)


@app.get("/")
def home():
    return f"Hello, {session.get('user', 'visitor')}"


@app.get("/login")
def login_form():
    return render_template_string('<form method="post"><input name="user"><button>Sign in</button></form>')


@app.post("/login")
def login():
    session.clear()
    session["user"] = request.form["user"]
    # Or whoever knew the id before would be signed in with it.
    app.session_interface.regenerate(session)
    return redirect(safe(request.args.get("next")) or url_for("account"))


def safe(path):
    is_on_this_site = path and path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if is_on_this_site else None


@app.get("/account")
def account():
    if "user" not in session:
        return redirect(url_for("login", next=request.full_path))
    return render_template_string("signed in as {{ session.user }}")


@app.post("/logout")
def logout():
    session.clear()
    return redirect(url_for("home"))


if __name__ == "__main__":
    server = make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
