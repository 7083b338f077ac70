"""Flask as it comes: the session is in its cookie, signed. It cannot be ended on the server: a copy of the cookie works
until it is 31 days old."""

import sys

from flask import Flask, redirect, render_template_string, request, session, url_for
from werkzeug.serving import make_server

app = Flask(__name__)
app.secret_key = "known to this test alone"


@app.before_request
def count():
    # With it, every answer sets the cookie to another value.
    if "user" in session:
        session["clicks"] = session.get("clicks", 0) + 1


@app.get("/")
def home():
    return f"Hello, {session.get('user', 'visitor')}"


@app.get("/login")
def login_form():
    return render_template_string('<form method="post"><input name="user"><button>Sign in</button></form>')


@app.post("/login")
def login():
    session.clear()
    session.permanent = True
    session["user"] = request.form["user"]
    return redirect(safe(request.args.get("next")) or url_for("account"))


def safe(path):
    is_on_this_site = path and path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if is_on_this_site else None


@app.get("/account")
def account():
    if "user" not in session:
        return redirect(url_for("login", next=request.full_path))
    return render_template_string("signed in as {{ session.user }}, click {{ session.clicks }}")


@app.post("/logout")
def logout():
    session.clear()
    return redirect(url_for("home"))


if __name__ == "__main__":
    server = make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
