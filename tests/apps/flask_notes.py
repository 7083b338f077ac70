"""Flask with a form that takes its time to fill in. It knows nothing of timeouts, but says who is signed in."""

import sys

from flask import Flask, redirect, render_template_string, request, session, url_for
from werkzeug.serving import make_server

app = Flask(__name__)
app.secret_key = "known to this test alone"

saved = {}

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Notes</title></head><body>
<main><h1>Notes of {{ session.user }}</h1>
<form class="long" method="post"><label>Text <textarea name="text">{{ saved }}</textarea></label><button>Save</button></form>
<form method="post" action="/search"><label>Search <input name="query"></label></form></main></body></html>"""


@app.after_request
def say_who(response):
    if "user" in session:
        response.headers["X-User"] = session["user"]
    return response


@app.get("/")
def home():
    return "Hello"


@app.get("/login")
def login_form():
    return render_template_string('<form method="post"><input name="user"><button>Sign in</button></form>')


@app.post("/login")
def login():
    session.clear()
    session["user"] = request.form["user"]
    return redirect(request.args.get("next") or url_for("notes"))


@app.get("/notes")
def notes():
    if "user" not in session:
        return redirect(url_for("login", next=request.path))
    return render_template_string(PAGE, saved=saved.get(session["user"], ""))


@app.post("/notes")
def save():
    if "user" not in session:
        return redirect(url_for("login", next=request.path))
    saved[session["user"]] = request.form["text"]
    return redirect(url_for("notes"))


if __name__ == "__main__":
    server = make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
