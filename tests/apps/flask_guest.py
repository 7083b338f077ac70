"""Flask whose log-in page sends on who is signed in already, to where they came from, without a look at what they
posted. The session is in its cookie, and with `server` as second argument in a file."""

import sys
import tempfile

from cachelib.file import FileSystemCache
from flask import Flask, flash, redirect, render_template_string, request, session, url_for
from flask_session import Session
from werkzeug.serving import make_server

app = Flask(__name__)
app.secret_key = "known to this test alone"
if sys.argv[2:] == ["server"]:
    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=FileSystemCache(tempfile.mkdtemp()))
    Session(app)


@app.get("/")
def home():
    # A visitor's session.
    session.permanent = True
    session["visits"] = session.get("visits", 0) + 1
    return f"Hello, {session.get('user', 'visitor')}"


@app.route("/login", methods=["GET", "POST"])
def login():
    if "user" in session:
        flash("You are signed in already.")
        return redirect(request.referrer or url_for("account"))
    if request.method == "POST" and request.form.get("password") == "right":
        session.clear()
        session.permanent = True
        session["user"] = request.form["user"]
        if hasattr(app.session_interface, "regenerate"):
            app.session_interface.regenerate(session)
        return redirect(url_for("account"))
    if request.method == "POST":
        flash("The password is wrong.")
        return redirect("/x/../log%69n")
    return render_template_string('<form method="post"><input name="user"><input name="password"></form>')


@app.get("/account")
def account():
    if "user" not in session:
        return redirect(url_for("login", next=request.full_path))
    return render_template_string("signed in as {{ session.user }}")


if __name__ == "__main__":
    server = make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
