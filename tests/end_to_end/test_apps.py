"""The proxy example before applications that know nothing of it, visited as browsers and thieves do."""

import http.client
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

import pytest
from plain_http import ask, ask_raw
from programs import PACE, PATIENCE, ROOT, run

APPS = {"flask_client_side": "session", "flask_server_side": "session", "django_app": "sessionid"}
# Their log-in pages send on who is signed in already.
GUEST_APPS = {
    "flask_guest": "session",
    "flask_guest server": "session",
    "django_guest file": "sessionid",
    "django_guest signed_cookies": "sessionid",
}
IDLE = 2.0 * PACE
ABSOLUTE = 23.0 * PACE
CLICK = 0.4 * PACE


def start_proxy(start, upstream, cookie):
    return start(
        "proxy",
        *("--upstream", f"http://{upstream}", "--cookie", cookie, "--idle", IDLE, "--absolute", ABSOLUTE),
        *("--login-path", "/login", "--logout-path", "/logout", "--public-path", "/"),
    ).address


class Site:
    def __init__(self, app, start):
        self.app = app
        self.cookie = (APPS | GUEST_APPS)[app]
        name, *arguments = app.split()
        self.direct = start(Path(sys.executable), ROOT / f"tests/apps/{name}.py", "0", *arguments).address
        self.proxied = start_proxy(start, self.direct, self.cookie)


@pytest.fixture(scope="session")
def site(request, start_for_all):
    return Site(request.param, start_for_all)


def of_each(apps):
    return pytest.mark.parametrize("site", apps, indirect=True)


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


@of_each(APPS)
def test_a_user_who_clicks_stays_in_until_the_absolute_timeout(site):
    browser = Browser(site)
    began = time.monotonic()
    browser.log_in("ada")
    page, clicks = browser.visit("/account"), 1
    while page.is_signed_in_as("ada") and time.monotonic() < began + 10 * IDLE:
        time.sleep(CLICK)
        page, clicks = browser.visit("/account"), clicks + 1
    lasted = time.monotonic() - began
    assert page.is_signed_in_as("ada"), (f"for ten times the idle timeout, {clicks} clicks", f"{lasted} s: {page}")
    while page.is_signed_in_as("ada") and time.monotonic() < began + ABSOLUTE + 2 * IDLE:
        time.sleep(CLICK)
        page = browser.visit("/account")
    lasted = time.monotonic() - began
    over = (page.status, page.headers["session-ended"])
    assert over == (303, "absolute"), "the absolute timeout ends the session all the same"
    assert lasted >= ABSOLUTE, ("and not before its time", f"{lasted} s")


@of_each(APPS)
def test_a_user_who_stops_logs_in_again_and_comes_back(site):
    browser = Browser(site)
    browser.log_in("grace")
    page = browser.visit("/account?tab=2&sort=up")
    assert page.is_signed_in_as("grace"), ("a page is open", page)
    time.sleep(1.5 * IDLE)

    page = browser.visit("/account?tab=2&sort=up")
    login = page.headers["location"]
    assert (page.status, login, page.headers["session-ended"]) == (
        303,
        "/login?next=%2Faccount%3Ftab%3D2%26sort%3Dup",
        "idle",
    ), "the next click leads to the log-in page"
    assert browser.cookie is None, "the browser forgets the cookie"
    old = browser.had.copy()
    assert browser.visit(login).status == 200, "the log-in page is there"
    # Another tab may have been too slow to see the cookie go.
    browser.cookie = old[-1]
    page = browser.log_in("grace", login)
    assert page.headers["location"] == "/account?tab=2&sort=up", "the log-in leads back"
    page = browser.visit(page.headers["location"])
    assert page.is_signed_in_as("grace"), ("to where the user was", page)

    seen = {replay(site.proxied, site, value).status for value in old}
    assert seen == {303}, "the cookies from before stay over"
    seen = {replay(site.proxied, site, value, "/").text for value in old}
    assert seen == {"Hello, visitor"}, "and the public page takes them for a visitor's"
    page = browser.visit("/account")
    assert page.is_signed_in_as("grace"), ("which the new session does not mind", page)


@of_each(APPS)
def test_a_log_out_ends_every_cookie_of_the_session(site):
    browser = Browser(site)
    browser.log_in("linus")
    pages = [browser.visit("/account") for _ in range(5)]
    assert all(page.is_signed_in_as("linus") for page in pages), ("some clicks", pages[-1])
    assert browser.ask("POST", "/logout").headers["location"] == "/", "a log-out leads home"
    assert browser.cookie is None, "and the browser forgets the cookie"
    page = browser.visit("/account")
    assert page.headers["location"].startswith("/login?next="), ("the user is signed out", page)
    values = set(browser.had)
    pages = [replay(site.proxied, site, value) for value in values]
    seen = {(page.status, page.headers["session-ended"]) for page in pages}
    assert seen == {(303, "signed-out")}, "every cookie the session had is over"
    if site.app == "flask_client_side":
        assert len(values) > 5, ("though every click brought another one", values)
        pages = [replay(site.direct, site, value) for value in values]
        assert all(page.is_signed_in_as("linus") for page in pages), "and the application still takes them all"


@of_each(APPS)
def test_a_log_in_over_a_session_ends_it(site):
    browser = Browser(site)
    browser.log_in("barbara")
    old = browser.had.copy()
    browser.log_in("edsger")
    page = browser.visit("/account")
    assert page.is_signed_in_as("edsger"), ("the second user is signed in", page)
    seen = {replay(site.proxied, site, value).status for value in old}
    assert seen == {303}, "the first one's cookie is over"


@of_each(GUEST_APPS)
def test_no_redirect_from_the_log_in_page_outlives_the_absolute_timeout(site):
    def keep_posting(user, pages):
        browser = Browser(site)
        began = time.monotonic()
        answer = browser.log_in(user)
        assert answer.headers["location"] == "/account", f"{user} logs in"
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
        assert sent_on > 0.6 * ABSOLUTE / CLICK / 2, ("and is sent on without a password", sent_on)
        assert 0.9 * ABSOLUTE < lasted < ABSOLUTE + 2 * IDLE, ("until the absolute timeout", f"{lasted} s: {answer}")
        pages = [replay(site.proxied, site, value) for value in set(browser.had)]
        assert not any(page.is_signed_in_as(user) for page in pages), ("and then with none of the cookies", pages)

    # Of one who never asks for another page, nothing shows how the application changes its cookie.
    with ThreadPoolExecutor() as users:
        for done in [users.submit(keep_posting, "ada", []), users.submit(keep_posting, "grace", ["/account", "/"])]:
            done.result()


@of_each(GUEST_APPS)
def test_a_visitors_session_gets_an_absolute_timeout_of_its_own_with_the_log_in(site):
    browser = Browser(site)
    began = time.monotonic()
    browser.visit("/")
    assert browser.cookie, "a visitor has a session"
    wrong = browser.log_in("linus", password="wrong")
    assert not browser.visit("/account").is_signed_in_as("linus"), ("a wrong password is none", wrong)
    while time.monotonic() < began + 0.5 * ABSOLUTE:
        time.sleep(CLICK)
        browser.visit("/")
    logged_in = time.monotonic()
    browser.log_in("linus")
    page = browser.visit("/account")
    assert page.is_signed_in_as("linus"), ("who logs in", page)
    while page.is_signed_in_as("linus") and time.monotonic() < logged_in + ABSOLUTE + 2 * IDLE:
        time.sleep(CLICK)
        page = browser.visit("/account")
    lasted = time.monotonic() - logged_in
    over = (page.status, page.headers["session-ended"])
    assert over == (303, "absolute"), "ends with the absolute timeout"
    assert ABSOLUTE <= lasted < ABSOLUTE + 2 * IDLE, ("which counts from the log-in", f"{lasted} s")


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


@of_each(APPS)
def test_no_spelling_of_an_ended_sessions_cookie_is_signed_in(site):
    browser = Browser(site)
    browser.log_in("mallory")
    time.sleep(1.5 * IDLE)
    assert browser.visit("/account").status == 303, "the session is over"
    name, ended = site.cookie.encode(), browser.had[-1].encode()
    signed_in = b"signed in as mallory"
    plain = [b"Cookie: " + name + b"=" + ended]
    assert signed_in in ask_raw(site.direct, plain), "the application itself takes its cookie"

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
    assert not leaks, (f"none of {len(disguises)} spellings is", leaks)
    assert len(read) > 3, f"though the application itself reads {len(read)}: {'; '.join(read)}"
    page = browser.visit("/account")
    assert page.is_signed_in_as("alice"), ("and a live session beside them goes on", page)


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


def test_the_proxy_passes_on_what_is_not_its_own(start):
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    proxy = start_proxy(start, f"127.0.0.1:{upstream.server_port}", "sid")

    ours = {"Accept-Encoding": "identity", "Cookie": "a=1", "Host": "example.com:8080"}
    answer = ask(proxy, "GET", "/a/../b%2F?c=%20", HOP_BY_HOP | ours)
    there = "GET /a/../b%2F?c=%20 HTTP/1.1\naccept-encoding: identity\ncookie: a=1\nhost: example.com:8080"
    assert answer.text == there, "of a request, what is not hop-by-hop"
    here = {"connection", "date", "server", "transfer-encoding", "x-kept"}
    assert {name.lower() for name in answer.headers} == here, "and of its answer"
    assert answer.headers.get("connection") == "close", "though the connection is the proxy's own"
    answer = ask_raw(proxy, [b"Cookie: a=1; b=2", b"Cookie: c=3"])
    assert b"\ncookie: a=1; b=2; c=3\n" in answer, ("cookies arrive in one field", answer)
    assert ask(proxy, "CONNECT", "example.com:80", {}).status == 501, "a tunnel is refused"

    client = http.client.HTTPConnection(proxy, timeout=PATIENCE)
    client.putrequest("POST", "/")
    client.putheader("Content-Length", "10")
    client.endheaders(b"abcde")
    assert Upstream.half_is_here.wait(PATIENCE), "the first half of a request is not held back"
    client.send(b"fghij")
    response = client.getresponse()
    assert response.read(5) == b"abcde", "nor that of an answer"
    Upstream.half_is_there.set()
    assert response.read() == b"fghij", "and the rest follows"

    upstream.shutdown()
    upstream.server_close()
    assert ask(proxy, "GET", "/", {}).status == 502, "without an application there is no answer"


class Greeter(BaseHTTPRequestHandler):
    """An application that gives everybody a session."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Set-Cookie", "sid=greeted-by-the-application; Path=/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_log_out_while_the_application_is_down_ends_the_session(start):
    greeter = ThreadingHTTPServer(("127.0.0.1", 0), Greeter)
    threading.Thread(target=greeter.serve_forever, daemon=True).start()
    proxy = start_proxy(start, f"127.0.0.1:{greeter.server_port}", "sid")
    ask(proxy, "GET", "/", {})
    cookie = {"Cookie": "sid=greeted-by-the-application"}
    assert ask(proxy, "GET", "/account", cookie).status == 200, "a session is live"
    greeter.shutdown()
    greeter.server_close()
    forged = ask(proxy, "POST", "/logout", cookie | {"Sec-Fetch-Site": "cross-site"})
    seen = (forged.status, ask(proxy, "GET", "/account", cookie).headers["session-ended"])
    assert seen == (502, None), "a form of another site ends nothing"
    answer = ask(proxy, "POST", "/logout", cookie)
    assert answer.status == 502, "a log-out is not answered by the application"
    assert "sid=;" in (answer.headers["set-cookie"] or ""), ("but the browser forgets the cookie", answer.headers)
    seen = ask(proxy, "GET", "/account", cookie).headers["session-ended"]
    assert seen == "signed-out", "and the session is over"


def test_the_proxy_explains_mistakes():
    upstream = ["--upstream", "http://127.0.0.1:1"]
    cookie = ["--cookie", "sid"]
    for arguments, problem in [
        ([*upstream, *cookie, "--ilde", "5"], "unexpected argument '--ilde' found"),
        ([*upstream, *cookie, "--idle", "soon"], "invalid value 'soon' for '--idle <SECONDS>'"),
        ([*upstream, *cookie, "--idle"], "a value is required for '--idle <SECONDS>'"),
        ([*upstream, *cookie, "--cookie-chunks", "php"], "possible values: auth-js, supabase"),
        ([*upstream, *cookie, "--idle", "9", "--absolute", "3"], "the idle timeout of 9s is longer"),
        ([*upstream, *cookie, "--login-path", "//evil.example"], 'the log-in path "//evil.example" is no safe path'),
        ([*cookie, "--upstream", "https://127.0.0.1"], "'--upstream <URL>': this is no http://HOST[:PORT]"),
        ([*cookie, "--upstream", "http://127.0.0.1/app"], "'--upstream <URL>': this is no http://HOST[:PORT]"),
        (upstream, "--cookie <NAME>"),
        (cookie, "--upstream <URL>"),
    ]:
        ended = run("proxy", *arguments)
        assert ended.returncode == 2 and problem in ended.stderr, (problem, ended)
