#!/usr/bin/env python3
"""Puts examples/proxy.rs before applications that know nothing of it, and visits them as browsers and thieves do:
tests/apps.py

Scenarios run side by side, for most of their time is waiting for a session to end.
"""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import venv
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
PROXY = TARGET / "debug/examples/proxy"
APPS = {"flask_client_side": "session", "flask_server_side": "session", "django_app": "sessionid"}
# Their log-in pages send on who is signed in already.
GUEST_APPS = {
    "flask_guest": "session",
    "flask_guest server": "session",
    "django_guest file": "sessionid",
    "django_guest signed_cookies": "sessionid",
}

PACE = int(os.environ.get("PACE") or subprocess.check_output(ROOT / "tests/pace"))
IDLE = 2.0 * PACE
ABSOLUTE = 23.0 * PACE
CLICK = 0.4 * PACE
# What hangs, hangs no longer.
PATIENCE = 10 * PACE
LONGEST_RUN = 120 * PACE


class Servers:
    """Programs that say "listening on http://…" once they are ready."""

    def __init__(self, work):
        self.work = work
        self.running = []

    def start(self, *command):
        with tempfile.NamedTemporaryFile(dir=self.work, delete=False) as log:
            server = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | {"TMPDIR": self.work}
            )
        self.running.append(server)
        ready = re.fullmatch(r"listening on http://(127\.0\.0\.1:\d+)\n", server.stdout.readline())
        if not ready:
            raise RuntimeError(f"{command} does not start: {Path(log.name).read_text()}")
        return ready[1]

    def start_proxy(self, upstream, cookie):
        return self.start(
            PROXY,
            *("--listen", "127.0.0.1:0", "--upstream", f"http://{upstream}", "--cookie", cookie),
            *("--idle", str(IDLE), "--absolute", str(ABSOLUTE)),
            *("--login-path", "/login", "--logout-path", "/logout", "--public-path", "/"),
        )

    def stop(self):
        for server in self.running:
            server.kill()
            server.wait()


class Site:
    def __init__(self, app, servers, python):
        self.app = app
        self.cookie = (APPS | GUEST_APPS)[app]
        name, *arguments = app.split()
        self.direct = servers.start(python, ROOT / f"tests/apps/{name}.py", "0", *arguments)
        self.proxied = servers.start_proxy(self.direct, self.cookie)


class Check:
    """What a scenario saw."""

    def __init__(self, label):
        self.label = label
        self.lines = []
        self.failures = 0

    def __call__(self, what, passed, seen=""):
        self.failures += not passed
        self.lines.append(f"ok - {self.label}: {what}" if passed else f"FAILED - {self.label}: {what}: {seen}")

    def equal(self, what, seen, expected):
        self(what, seen == expected, f"expected {expected!r}, got {seen!r}")


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()

    def __str__(self):
        return f"{self.status} {self.headers['location'] or ''} {self.text!r}"

    def is_signed_in_as(self, user):
        return self.status == 200 and f"signed in as {user}" in self.text


def ask(address, method, path, headers, body=None):
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    connection.request(method, path, body, headers)
    return Answer(connection.getresponse())


# Django takes any.
CSRF_TOKEN = "c" * 32


class Browser:
    """Keeps its session cookie, and follows redirects only when told to."""

    def __init__(self, site):
        self.site = site
        self.cookie = None
        self.had = []

    def ask(self, method, path, form=None):
        headers = {"Accept": "text/html", "Referer": f"http://{self.site.proxied}/account"}
        headers["Cookie"] = f"csrftoken={CSRF_TOKEN}"
        if self.cookie:
            headers["Cookie"] += f"; {self.site.cookie}={self.cookie}"
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        answer = ask(self.site.proxied, method, path, headers, form and urlencode(form))
        for header in answer.headers.get_all("set-cookie", []):
            name, _, value = header.split(";")[0].partition("=")
            if name == self.site.cookie:
                self.cookie = value or None
                self.had += [value] if value else []
        return answer

    def visit(self, path):
        return self.ask("GET", path)

    def log_in(self, user, path="/login", password="right"):
        form = {"user": user, "username": user, "password": password, "csrfmiddlewaretoken": CSRF_TOKEN}
        return self.ask("POST", path, form)


def replay(address, site, value, path="/account"):
    """A copy of a cookie, by somebody who does not keep what it is answered with."""
    return ask(address, "GET", path, {"Accept": "text/html", "Cookie": f"{site.cookie}={value}"})


# Each scenario has users of its own: Flask signs the same value for the same user in the same second, and to the proxy
# that is the same session.


def a_user_who_clicks_stays_in_until_the_absolute_timeout(check, site):
    browser = Browser(site)
    began = time.monotonic()
    browser.log_in("ada")
    page, clicks = browser.visit("/account"), 1
    while page.is_signed_in_as("ada") and time.monotonic() < began + 10 * IDLE:
        time.sleep(CLICK)
        page, clicks = browser.visit("/account"), clicks + 1
    lasted = time.monotonic() - began
    check(f"for ten times the idle timeout, {clicks} clicks", page.is_signed_in_as("ada"), f"{lasted} s: {page}")
    while page.is_signed_in_as("ada") and time.monotonic() < began + ABSOLUTE + 2 * IDLE:
        time.sleep(CLICK)
        page = browser.visit("/account")
    lasted = time.monotonic() - began
    over = (page.status, page.headers["session-ended"])
    check.equal("the absolute timeout ends the session all the same", over, (303, "absolute"))
    check("and not before its time", lasted >= ABSOLUTE, f"{lasted} s")


def a_user_who_stops_logs_in_again_and_comes_back(check, site):
    browser = Browser(site)
    browser.log_in("grace")
    page = browser.visit("/account?tab=2&sort=up")
    check("a page is open", page.is_signed_in_as("grace"), page)
    time.sleep(1.5 * IDLE)

    page = browser.visit("/account?tab=2&sort=up")
    login = page.headers["location"]
    check.equal(
        "the next click leads to the log-in page",
        (page.status, login, page.headers["session-ended"]),
        (303, "/login?next=%2Faccount%3Ftab%3D2%26sort%3Dup", "idle"),
    )
    check.equal("the browser forgets the cookie", browser.cookie, None)
    old = browser.had.copy()
    check.equal("the log-in page is there", browser.visit(login).status, 200)
    # Another tab may have been too slow to see the cookie go.
    browser.cookie = old[-1]
    page = browser.log_in("grace", login)
    check.equal("the log-in leads back", page.headers["location"], "/account?tab=2&sort=up")
    page = browser.visit(page.headers["location"])
    check("to where the user was", page.is_signed_in_as("grace"), page)

    seen = {replay(site.proxied, site, value).status for value in old}
    check.equal("the cookies from before stay over", seen, {303})
    seen = {replay(site.proxied, site, value, "/").text for value in old}
    check.equal("and the public page takes them for a visitor's", seen, {"Hello, visitor"})
    page = browser.visit("/account")
    check("which the new session does not mind", page.is_signed_in_as("grace"), page)


def a_log_out_ends_every_cookie_of_the_session(check, site):
    browser = Browser(site)
    browser.log_in("linus")
    pages = [browser.visit("/account") for _ in range(5)]
    check("some clicks", all(page.is_signed_in_as("linus") for page in pages), pages[-1])
    check.equal("a log-out leads home", browser.ask("POST", "/logout").headers["location"], "/")
    check.equal("and the browser forgets the cookie", browser.cookie, None)
    page = browser.visit("/account")
    check("the user is signed out", page.headers["location"].startswith("/login?next="), page)
    values = set(browser.had)
    pages = [replay(site.proxied, site, value) for value in values]
    seen = {(page.status, page.headers["session-ended"]) for page in pages}
    check.equal("every cookie the session had is over", seen, {(303, "signed-out")})
    if site.app == "flask_client_side":
        check("though every click brought another one", len(values) > 5, values)
        pages = [replay(site.direct, site, value) for value in values]
        check("and the application still takes them all", all(page.is_signed_in_as("linus") for page in pages))


def a_log_in_over_a_session_ends_it(check, site):
    browser = Browser(site)
    browser.log_in("barbara")
    old = browser.had.copy()
    browser.log_in("edsger")
    page = browser.visit("/account")
    check("the second user is signed in", page.is_signed_in_as("edsger"), page)
    seen = {replay(site.proxied, site, value).status for value in old}
    check.equal("the first one's cookie is over", seen, {303})


def no_redirect_from_the_log_in_page_outlives_the_absolute_timeout(check, site):
    def keep_posting(user, pages):
        browser = Browser(site)
        began = time.monotonic()
        answer = browser.log_in(user)
        check.equal(f"{user} logs in", answer.headers["location"], "/account")
        sent_on, answer = 0, browser.log_in(user, password="wrong")
        while answer.status == 302 and answer.headers["location"].endswith("/account"):
            sent_on += 1
            for page in pages:
                browser.visit(page)
            if time.monotonic() > began + ABSOLUTE + 2 * IDLE:
                break
            time.sleep(CLICK)
            answer = browser.log_in(user, password="wrong")
        lasted = time.monotonic() - began
        check("and is sent on without a password", sent_on > 0.6 * ABSOLUTE / CLICK / 2, sent_on)
        check("until the absolute timeout", 0.9 * ABSOLUTE < lasted < ABSOLUTE + 2 * IDLE, f"{lasted} s: {answer}")
        pages = [replay(site.proxied, site, value) for value in set(browser.had)]
        check("and then with none of the cookies", not any(page.is_signed_in_as(user) for page in pages), pages)

    # Of one who never asks for another page, nothing shows how the application changes its cookie.
    with ThreadPoolExecutor() as users:
        for done in [users.submit(keep_posting, "ada", []), users.submit(keep_posting, "grace", ["/account", "/"])]:
            done.result()


def a_visitors_session_gets_an_absolute_timeout_of_its_own_with_the_log_in(check, site):
    browser = Browser(site)
    began = time.monotonic()
    browser.visit("/")
    check("a visitor has a session", browser.cookie)
    wrong = browser.log_in("linus", password="wrong")
    check("a wrong password is none", not browser.visit("/account").is_signed_in_as("linus"), wrong)
    while time.monotonic() < began + 0.5 * ABSOLUTE:
        time.sleep(CLICK)
        browser.visit("/")
    browser.log_in("linus")
    logged_in = time.monotonic()
    page = browser.visit("/account")
    check("who logs in", page.is_signed_in_as("linus"), page)
    while page.is_signed_in_as("linus") and time.monotonic() < logged_in + ABSOLUTE + 2 * IDLE:
        time.sleep(CLICK)
        page = browser.visit("/account")
    lasted = time.monotonic() - logged_in
    over = (page.status, page.headers["session-ended"])
    check.equal("ends with the absolute timeout", over, (303, "absolute"))
    check("which counts from the log-in", ABSOLUTE <= lasted < ABSOLUTE + 2 * IDLE, f"{lasted} s")


def spellings(name, value):
    """Header fields in which some parser, somewhere, finds this cookie; see tests/cookies.rs."""
    pair = name + b"=" + value
    percent = b"%%%02x" % name[0] + name[1:]
    disguises = {
        "non-breaking space, Latin-1": b"\xa0" + pair,
        "non-breaking space, UTF-8": b"\xc2\xa0" + pair,
        "non-breaking space after the name": name + b"\xc2\xa0=" + value,
        "next line, Latin-1": b"\x85" + pair,
        "next line, UTF-8": b"\xc2\x85" + pair,
        "next line after the name": name + b"\xc2\x85=" + value,
        "line separator": b"\xe2\x80\xa8" + pair,
        "ideographic space": b"\xe3\x80\x80" + pair,
        "byte order mark": b"\xef\xbb\xbf" + pair,
        "tab": b"\t" + name + b"\t=" + value,
        "space before the =": name + b" =" + value,
        "spaces around the =": name + b" = " + value,
        "vertical tab": b"\x0b" + pair,
        "file separator": b"\x1c" + pair,
        "NUL": name + b"\0=" + value,
        "upper case": pair.replace(name, name.upper()),
        "title case": pair.replace(name, name.title()),
        "percent-encoded letter": percent + b"=" + value,
        "percent-encoded space": b"%20" + pair,
        "percent-encoded NUL": name + b"%00x=" + value,
        "percent-encoded line break": name + b"%0d%0a=" + value,
        "PHP array": name + b"[]=" + value,
        "PHP array with a key": name + b"[x]=" + value,
        "quoted name": b'"' + name + b'"=' + value,
        "nameless": b"=" + pair,
        "comma": b"a=1," + pair,
        "comma and space": b"a=1, " + pair,
        "space": b"a=1 " + pair,
        "spaces": b"a=1 " + name + b" = " + value,
        "tab between": b"a=1\t" + pair,
        "non-breaking space between": b"a=1\xc2\xa0" + pair,
        "after a quoted value": b'a="1" ' + pair,
        "within a quoted value": b'a="1; ' + pair + b'; b=2"',
        "several at once": b"\xa0" + percent.upper() + b"\xad[0] =" + value,
        "exact name, quoted value": name + b'="' + value + b'"',
        "exact name, value with an escape": name + b'="\\%03o' % value[0] + value[1:] + b'"',
        "exact name, space after the value": pair + b"\xc2\xa0",
        "exact name twice": pair + b"; " + pair,
        "exact name, empty first": name + b"=; " + pair,
        "exact name, empty last": pair + b"; " + name + b"=",
    }
    fields = {why: [b"Cookie: theme=dark; " + disguise + b"; lang=en"] for why, disguise in disguises.items()}
    return fields | {
        "second field": [b"Cookie: a=1", b"Cookie: " + pair],
        "field after an empty one": [b"Cookie:", b"cookie: " + pair],
        "split between fields": [b"Cookie: a=1; " + name, b"Cookie: =" + value],
        "quoted from field to field": [b'Cookie: a="1', b"Cookie: " + pair + b'; b=2"'],
        "folded field": [b"Cookie: a=1;", b" " + pair],
        "space before the colon": [b"Cookie : " + pair],
    }


def ask_raw(address, fields):
    """http.client refuses most of the spellings."""
    host, port = address.split(":")
    head = [b"GET /account HTTP/1.1", b"Host: 127.0.0.1", b"Accept: text/html", b"Connection: close", *fields]
    with socket.create_connection((host, port), PATIENCE) as connection:
        connection.sendall(b"\r\n".join(head) + b"\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(65536), b""))


def no_spelling_of_an_ended_sessions_cookie_is_signed_in(check, site):
    browser = Browser(site)
    browser.log_in("mallory")
    time.sleep(1.5 * IDLE)
    check.equal("the session is over", browser.visit("/account").status, 303)
    name, ended = site.cookie.encode(), browser.had[-1].encode()
    signed_in = b"signed in as mallory"
    plain = [b"Cookie: " + name + b"=" + ended]
    check("the application itself takes its cookie", signed_in in ask_raw(site.direct, plain))

    browser.log_in("alice")
    read, leaks = [], []
    disguises = {"plain": plain} | spellings(name, ended)
    for why, fields in disguises.items():
        # However long all of them take.
        browser.visit("/account")
        living = name + b"=" + browser.had[-1].encode()
        if signed_in in ask_raw(site.direct, fields):
            read.append(why)
        # A live session beside it must not lend it its life.
        first, *others = fields
        beside = [
            [b"Cookie: " + living, *fields],
            [*fields, b"Cookie: " + living],
            [b"Cookie: " + living + b";" + first.partition(b":")[2], *others],
            [*fields[:-1], fields[-1] + b"; " + living],
        ]
        for request in [fields, *beside]:
            answer = ask_raw(site.proxied, request)
            if not answer.startswith(b"HTTP/1.1 ") or signed_in in answer:
                leaks.append((why, request, answer))
    check(f"none of {len(disguises)} spellings is", not leaks, leaks)
    check(f"though the application itself reads {len(read)}: {'; '.join(read)}", len(read) > 3)
    page = browser.visit("/account")
    check("and a live session beside them goes on", page.is_signed_in_as("alice"), page)


class Upstream(BaseHTTPRequestHandler):
    """An application that answers with what reaches it, and waits for the other side in between."""

    protocol_version = "HTTP/1.1"
    half_is_here = threading.Event()
    half_is_there = threading.Event()

    def do_GET(self):
        self.begin()
        fields = sorted(f"{name.lower()}: {value}" for name, value in self.headers.items())
        self.wfile.write("\n".join([self.requestline, *fields]).encode())

    def do_POST(self):
        half = self.rfile.read(5)
        self.half_is_here.set()
        half_again = self.rfile.read(5)
        self.begin()
        self.wfile.write(half)
        self.half_is_there.wait(PATIENCE)
        self.wfile.write(half_again)

    def begin(self):
        self.send_response(200)
        for name in HOP_BY_HOP:
            self.send_header(name, HOP_BY_HOP[name])
        self.send_header("X-Kept", "1")
        self.end_headers()
        # The end of the answer is that of its connection.
        self.close_connection = True

    def log_message(self, *_):
        pass


HOP_BY_HOP = {
    "Connection": "close, X-Listed",
    "X-Listed": "1",
    "Keep-Alive": "timeout=5",
    "Proxy-Connection": "close",
    "TE": "trailers",
    "Upgrade": "nothing",
}


def the_proxy_passes_on_what_is_not_its_own(check, servers):
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    proxy = servers.start_proxy(f"127.0.0.1:{upstream.server_port}", "sid")

    ours = {"Accept-Encoding": "identity", "Cookie": "a=1", "Host": "example.com:8080"}
    answer = ask(proxy, "GET", "/a/../b%2F?c=%20", HOP_BY_HOP | ours)
    there = "GET /a/../b%2F?c=%20 HTTP/1.1\naccept-encoding: identity\ncookie: a=1\nhost: example.com:8080"
    check.equal("of a request, what is not hop-by-hop", answer.text, there)
    here = {"connection", "date", "server", "transfer-encoding", "x-kept"}
    check.equal("and of its answer", {name.lower() for name in answer.headers}, here)
    check.equal("though the connection is the proxy's own", answer.headers.get("connection"), "close")
    answer = ask_raw(proxy, [b"Cookie: a=1; b=2", b"Cookie: c=3"])
    check("cookies arrive in one field", b"\ncookie: a=1; b=2; c=3\n" in answer, answer)
    check.equal("a tunnel is refused", ask(proxy, "CONNECT", "example.com:80", {}).status, 501)

    client = http.client.HTTPConnection(proxy, timeout=PATIENCE)
    client.putrequest("POST", "/")
    client.putheader("Content-Length", "10")
    client.endheaders(b"abcde")
    check("the first half of a request is not held back", Upstream.half_is_here.wait(PATIENCE))
    client.send(b"fghij")
    response = client.getresponse()
    check.equal("nor that of an answer", response.read(5), b"abcde")
    Upstream.half_is_there.set()
    check.equal("and the rest follows", response.read(), b"fghij")

    upstream.shutdown()
    upstream.server_close()
    check.equal("without an application there is no answer", ask(proxy, "GET", "/", {}).status, 502)


class Greeter(BaseHTTPRequestHandler):
    """An application that gives everybody a session."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Set-Cookie", "sid=greeted-by-the-application; Path=/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def a_log_out_while_the_application_is_down_ends_the_session(check, servers):
    greeter = ThreadingHTTPServer(("127.0.0.1", 0), Greeter)
    threading.Thread(target=greeter.serve_forever, daemon=True).start()
    proxy = servers.start_proxy(f"127.0.0.1:{greeter.server_port}", "sid")
    ask(proxy, "GET", "/", {})
    cookie = {"Cookie": "sid=greeted-by-the-application"}
    check.equal("a session is live", ask(proxy, "GET", "/account", cookie).status, 200)
    greeter.shutdown()
    greeter.server_close()
    forged = ask(proxy, "POST", "/logout", cookie | {"Sec-Fetch-Site": "cross-site"})
    seen = (forged.status, ask(proxy, "GET", "/account", cookie).headers["session-ended"])
    check.equal("a form of another site ends nothing", seen, (502, None))
    answer = ask(proxy, "POST", "/logout", cookie)
    check.equal("a log-out is not answered by the application", answer.status, 502)
    check("but the browser forgets the cookie", "sid=;" in (answer.headers["set-cookie"] or ""), answer.headers)
    seen = ask(proxy, "GET", "/account", cookie).headers["session-ended"]
    check.equal("and the session is over", seen, "signed-out")


def the_proxy_explains_mistakes(check, _):
    upstream = ["--upstream", "http://127.0.0.1:1"]
    cookie = ["--cookie", "sid"]
    for arguments, problem in [
        ([*upstream, *cookie, "--ilde", "5"], 'unknown option "--ilde"'),
        ([*upstream, *cookie, "--idle", "soon"], '"soon" is no number of seconds'),
        ([*upstream, *cookie, "--idle"], "--idle needs a value"),
        ([*upstream, *cookie, "--cookie-chunks", "php"], '"php" is neither auth-js nor supabase'),
        ([*upstream, *cookie, "--idle", "9", "--absolute", "3"], "the idle timeout of 9s is longer"),
        ([*upstream, *cookie, "--login-path", "//evil.example"], 'the log-in path "//evil.example" is no safe path'),
        ([*cookie, "--upstream", "https://127.0.0.1"], '"https://127.0.0.1" is no http://HOST[:PORT]'),
        ([*cookie, "--upstream", "http://127.0.0.1/app"], '"http://127.0.0.1/app" is no http://HOST[:PORT]'),
        (upstream, "--cookie is missing"),
        (cookie, "--upstream is missing"),
    ]:
        ended = subprocess.run([PROXY, *arguments], capture_output=True, text=True, timeout=PATIENCE)
        check(problem, ended.returncode == 2 and ended.stderr.startswith(problem), ended)


OF_A_SITE = [
    a_user_who_clicks_stays_in_until_the_absolute_timeout,
    a_user_who_stops_logs_in_again_and_comes_back,
    a_log_out_ends_every_cookie_of_the_session,
    a_log_in_over_a_session_ends_it,
    no_spelling_of_an_ended_sessions_cookie_is_signed_in,
]
OF_A_GUEST_SITE = [
    no_redirect_from_the_log_in_page_outlives_the_absolute_timeout,
    a_visitors_session_gets_an_absolute_timeout_of_its_own_with_the_log_in,
]
OF_THE_PROXY = [
    the_proxy_passes_on_what_is_not_its_own,
    a_log_out_while_the_application_is_down_ends_the_session,
    the_proxy_explains_mistakes,
]


def run(scenario, label, subject):
    check = Check(f"{label}: {scenario.__name__.replace('_', ' ')}")
    try:
        scenario(check, subject)
    except Exception:
        check("it comes to its end", False, traceback.format_exc())
    print("\n".join(check.lines), flush=True)
    return check.failures


def virtualenv():
    directory = TARGET / "apps-venv"
    python = directory / "bin/python"
    requirements = ROOT / "tests/apps/requirements.txt"
    wanted = f"{sys.version}\n{requirements.read_text()}"
    installed = directory / "installed"
    if not installed.exists() or installed.read_text() != wanted:
        venv.create(directory, clear=True, with_pip=True)
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--requirement", requirements], check=True)
        installed.write_text(wanted)
    return python


def main():
    if subprocess.run(["cargo", "build", "--quiet", "--locked", "--all-features", "--example", "proxy"], cwd=ROOT).returncode:
        return True
    python = virtualenv()
    for reason in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(reason, lambda number, _: sys.exit(f"stopped by {signal.Signals(number).name}"))
    signal.alarm(LONGEST_RUN)
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(max_workers=32) as threads:
        servers = Servers(work)
        try:
            scenarios = [threads.submit(run, scenario, "proxy", servers) for scenario in OF_THE_PROXY]
            for site in threads.map(lambda app: Site(app, servers, python), [*APPS, *GUEST_APPS]):
                of_it = OF_A_SITE if site.app in APPS else OF_A_GUEST_SITE
                scenarios += [threads.submit(run, scenario, site.app, site) for scenario in of_it]
            failed = sum(scenario.result() > 0 for scenario in scenarios)
        finally:
            servers.stop()
    print(f"{len(scenarios)} scenarios, {failed} of them failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
