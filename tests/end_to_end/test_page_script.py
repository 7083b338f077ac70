"""The proxy example warns the users of applications that know nothing of it, and keeps what they type."""

import gzip
import re
import shutil
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright
from programs import PACE, PATIENCE, ROOT, run

# Nobody can react in less (WCAG 2.2, 2.2.1).
WARN = 20
IDLE = WARN + 2 * PACE
SCRIPT = re.compile(r'<script src="/_session-timeout/client\.js\?v=[\w-]+" defer data-login-url="/login"></script>')
AS_BROWSER = {"Accept": "text/html", "Sec-Fetch-Dest": "document"}
PLAIN = {"Content-Type": "text/html; charset=utf-8"}
PAGE = "<!doctype html><html><head><title>A page</title></head><body>Hello</body></html>"


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        assert path, "chromium is installed"
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()
    assert problems == []


def behind_proxy(start, app, cookie, *options):
    upstream = start(Path(sys.executable), ROOT / f"tests/apps/{app}.py", "0").url
    return start(
        "proxy",
        *("--upstream", upstream, "--cookie", cookie, "--idle", IDLE, "--warn", WARN),
        *("--login-path", "/login", "--logout-path", "/logout", "--public-path", "/", *options),
    ).url


def log_in(page, user):
    page.fill("input[name=user]", user)
    page.click("button")


@pytest.mark.parametrize(("app", "cookie"), [("flask_client_side", "session"), ("django_app", "sessionid")])
def test_a_user_of_an_application_as_it_is_is_warned_and_may_stay(start, page, app, cookie):
    url = behind_proxy(start, app, cookie)
    page.goto(f"{url}/login")
    log_in(page, "ada")
    expect(page.locator("body")).to_contain_text("signed in as ada")
    stay = page.get_by_role("button", name="Stay signed in")
    began = time.monotonic()
    while time.monotonic() < began + 1.2 * IDLE:
        stay.click()
        expect(stay).to_be_hidden()
    page.goto(f"{url}/account")
    expect(page.locator("body")).to_contain_text("signed in as ada")
    # And nobody stays who does not say so.
    page.wait_for_url(re.compile(r"/login\?next=%2Faccount$"), timeout=(IDLE + PATIENCE) * 1000)


def test_what_was_typed_is_there_again_after_the_next_log_in_of_the_same_user(start, page):
    url = behind_proxy(start, "flask_notes", "session", "--drafts", "form.long", "--user-header", "X-User")
    page.goto(f"{url}/login")
    log_in(page, "ada")
    text = page.locator("textarea")
    page.wait_for_url(f"{url}/notes")
    text.fill("a long text")
    page.locator("input[name=query]").fill("a search")
    page.wait_for_url(re.compile(r"/login\?next=%2Fnotes$"), timeout=(IDLE + PATIENCE) * 1000)
    log_in(page, "grace")
    expect(page.locator("h1")).to_have_text("Notes of grace")
    # Whatever there is for her is filled in by then.
    page.wait_for_function("sessionTimeout.state !== 'starting'")
    time.sleep(0.5 * PACE)
    assert text.input_value() == "", "nobody else's"
    page.context.clear_cookies()
    page.goto(f"{url}/login?next=/notes")
    log_in(page, "ada")
    expect(text).to_have_value("a long text")
    assert page.locator("input[name=query]").input_value() == "", "not of other forms"


def test_who_logs_in_over_a_live_session_sees_nothing_that_was_typed_in_it(start, page):
    """By a link after which the answer to the log-in looks like none."""
    url = behind_proxy(start, "flask_notes", "session", "--drafts", "form.long", "--user-header", "X-User")
    page.goto(f"{url}/login")
    log_in(page, "ada")
    page.wait_for_url(f"{url}/notes")
    page.locator("textarea").fill("a secret")
    page.wait_for_function("Object.keys(localStorage).some((key) => key.startsWith('session-timeout:'))")
    page.goto(f"{url}/login?next=/login")
    log_in(page, "grace")
    page.goto(f"{url}/notes")
    expect(page.locator("h1")).to_have_text("Notes of grace")
    page.wait_for_function("sessionTimeout.state === 'active'")
    time.sleep(0.5 * PACE)
    assert page.locator("textarea").input_value() == ""


@pytest.fixture
def answers(start):
    """An application that answers like this, and how the proxy passes it on: `(headers, body)` by path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            application.asked = self.headers
            fields, body = application.answers[self.path]
            body = body.encode() if isinstance(body, str) else body
            self.send_response(int(fields.get("status", 200)))
            for name, value in fields.items():
                if name != "status":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    application = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    application.daemon_threads = True
    application.answers = {}
    threading.Thread(target=application.serve_forever, daemon=True).start()
    upstream = f"http://127.0.0.1:{application.server_port}"
    proxy = start(
        "proxy",
        *("--upstream", upstream, "--cookie", "sid", "--idle", IDLE, "--warn", WARN),
        *("--login-path", "/login", "--drafts", "form, .editor", "--user-header", "X-User"),
    )

    def ask(fields, body, method="GET", **headers):
        application.answers = {"/": (fields, body)}
        return httpx.request(method, proxy.url, headers=AS_BROWSER | headers, trust_env=False, timeout=PATIENCE)

    ask.application, ask.proxy = application, proxy
    yield ask
    application.shutdown()
    application.server_close()


def test_every_page_gets_the_script_first_in_its_head(answers):
    answer = answers(PLAIN | {"ETag": '"one"', "Accept-Ranges": "bytes"}, PAGE)
    assert SCRIPT.sub("", answer.text) == PAGE, "and is the same but for it"
    assert re.search(rf"<head>{SCRIPT.pattern}<title>", answer.text)
    assert answer.headers["etag"] == 'W/"one;session-timeout"'
    assert "accept-ranges" not in answer.headers
    assert answers.application.asked["Accept-Encoding"] == "identity"
    error = answers(PLAIN | {"status": 500}, PAGE)
    assert error.status_code == 500
    assert SCRIPT.search(error.text), "an error's page, too"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Hello", ""),
        ("", ""),
        ("<!-- <head> -->", ""),
        ("", "<title>No head</title><p>Hello"),
        ("<!doctype html>", "<body>Hello</body>"),
        ("<!doctype html><html lang=en>", "<base href=http://elsewhere.example/><p>Hello"),
        ("", "<template><head></head></template>"),
        ("<!doctype html><!-- <head> -->", "<script>'<head>'</script><p title='<head>'>Hello"),
        ("", "<textarea>never closed"),
        ("", "<frameset><frame src=/one></frameset>"),
        ("<HTML><HEAD>", "</HEAD><head></head>"),
    ],
)
def test_a_page_gets_it_once_before_anything_else_that_it_has(answers, before, after):
    answer = answers(PLAIN, before + after)
    assert SCRIPT.fullmatch(answer.text.removeprefix(before).removesuffix(after)), answer.text


@pytest.mark.parametrize(
    ("fields", "body", "headers"),
    [
        ({"Content-Type": "application/json"}, '{"html": "<head></head>"}', {}),
        ({"Content-Type": "application/xhtml+xml"}, PAGE, {}),
        ({"Content-Type": "text/html-sandboxed"}, PAGE, {}),
        ({}, PAGE, {}),
        (PLAIN, PAGE, {"Sec-Fetch-Dest": "empty", "Accept": "*/*"}),
        (PLAIN, PAGE, {"Sec-Fetch-Dest": "empty", "HX-Request": "true"}),
        (PLAIN, PAGE, {"Sec-Fetch-Dest": "iframe"}),
        (PLAIN | {"Content-Disposition": "Attachment; filename=page.html"}, PAGE, {}),
        (PLAIN | {"status": 206, "Content-Range": "bytes 0-70/100"}, PAGE, {}),
        ({"Content-Type": "text/html; charset=utf-16le"}, PAGE.encode("utf-16le"), {}),
        (PLAIN | {"Content-Encoding": "gzip"}, gzip.compress(PAGE.encode()), {}),
    ],
    ids="json xhtml like_html untyped fetched htmx framed download part utf_16 compressed".split(),
)
def test_what_is_no_page_goes_on_as_it_is(answers, fields, body, headers):
    fields = {"ETag": '"one"'} | fields
    answer = answers(fields, body, **headers)
    content = gzip.decompress(body) if "Content-Encoding" in fields else body
    assert answer.content == (content.encode() if isinstance(content, str) else content)
    assert answer.headers["etag"] == '"one"'
    assert answer.headers["content-length"] == str(len(body))


def test_a_service_worker_gets_whole_pages_with_the_script(answers):
    """It asks for a page as a script does, and what it is given is shown."""
    worker = {"Sec-Fetch-Dest": "empty", "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    assert SCRIPT.search(answers(PLAIN, PAGE, **worker).text)
    assert answers(PLAIN, "<p>a part</p>", **worker).text == "<p>a part</p>"


@pytest.mark.parametrize("charset", ["utf-16le", "utf-16be"])
def test_a_page_in_utf_16_that_says_so_by_its_first_bytes_is_not_spoiled(answers, charset):
    body = ("\ufeff" + PAGE).encode(charset)
    assert answers(PLAIN, body).content == body


def test_the_page_with_the_script_and_without_are_kept_apart_in_caches(answers):
    page = answers(PLAIN | {"ETag": '"one"'}, PAGE)
    part = answers(PLAIN | {"ETag": '"one"'}, PAGE, **{"Sec-Fetch-Dest": "empty", "Accept": "*/*"})
    for answer in [page, part]:
        assert {"sec-fetch-dest", "accept"} <= set(answer.headers["vary"].replace(" ", "").split(","))
    assert page.headers["etag"] != part.headers["etag"]
    answers(PLAIN, PAGE, **{"If-None-Match": f'"other", {page.headers["etag"]}, {part.headers["etag"]}'})
    assert answers.application.asked["If-None-Match"] == 'W/"one"', "of the page's own copies alone"
    answers(PLAIN, PAGE, **{"If-None-Match": part.headers["etag"]})
    assert answers.application.asked["If-None-Match"] is None
    same = answers({"status": 304, "ETag": '"one"'}, "", **{"If-None-Match": page.headers["etag"]})
    assert (same.status_code, same.headers["etag"]) == (304, page.headers["etag"])


def test_an_unknown_charset_is_a_pages_own_affair(answers):
    for content_type in ["text/html; charset=utf8mb4", "text/html; charset='utf-8'", "Text/HTML;CHARSET=", "text/html; x=\u00e9"]:
        answer = answers({"Content-Type": content_type}, PAGE)
        assert SCRIPT.search(answer.text), content_type


@pytest.mark.parametrize(
    "headers", [{"X-Requested-With": "XMLHttpRequest"}, {"HX-Request": "true"}, {"Accept": "*/*"}]
)
def test_nor_does_a_part_of_a_page_that_an_old_browser_fetches(answers, headers):
    application, proxied = answers.application, answers(PLAIN, PAGE)
    assert SCRIPT.search(proxied.text)
    url = str(proxied.url)
    application.answers = {"/": (PLAIN, PAGE)}
    old = {"Accept": "text/html"}
    assert SCRIPT.search(httpx.get(url, headers=old, trust_env=False).text), "it gets pages"
    assert httpx.get(url, headers=old | headers, trust_env=False).text == PAGE


@pytest.mark.parametrize(
    ("policy", "nonce"),
    [
        ("default-src 'self'; script-src 'nonce-r4nd0m' 'strict-dynamic'", "r4nd0m"),
        ("default-src 'nonce-other'", "other"),
        ("script-src 'self'", None),
        ("style-src 'nonce-style'", None),
        ("script-src 'nonce-\"><b>'", '"><b>'),
        ("default-src 'nonce-other'; script-src 'nonce-r4nd0m'", "r4nd0m"),
        ("script-src 'nonce-other'; script-src-elem 'nonce-r4nd0m'", "r4nd0m"),
        ("default-src 'nonce-other'; script-src 'self'", None),
        ("SCRIPT-SRC 'Nonce-r4nd0m'", "r4nd0m"),
        ("default-src 'self', script-src 'nonce-r4nd0m'", "r4nd0m"),
    ],
)
def test_the_script_has_the_nonce_of_the_pages_policy(answers, policy, nonce):
    answer = answers(PLAIN | {"Content-Security-Policy": policy}, PAGE)
    tag = re.search(r"<head>(<script.*?></script>)<title>", answer.text)[1]
    escaped = nonce and nonce.replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
    assert re.findall(r' nonce="(.*?)"', tag) == ([escaped] if nonce else []), tag
    assert answer.headers["content-security-policy"] == policy


def test_other_encodings_pass_unchanged(answers):
    for charset in ["iso-8859-1", "shift_jis", "gbk", "windows-1251"]:
        text = {"iso-8859-1": "Grüße", "shift_jis": "表示", "gbk": "中文", "windows-1251": "Привет"}[charset]
        body = f"<head><title>{text}</title></head><p>{text}".encode(charset)
        answer = answers({"Content-Type": f"text/html; charset={charset}"}, body)
        assert SCRIPT.sub("", answer.content.decode(charset)).encode(charset) == body


def test_an_answer_to_head_has_no_length_of_another(answers):
    answer = answers(PLAIN, PAGE, "HEAD")
    assert answer.content == b""
    assert "content-length" not in answer.headers


def test_forms_are_marked_by_the_selector(answers):
    body = (
        "<head></head><form id=one></form><form name=two></form><form></form>"
        '<form data-session-draft="own"></form><div class="editor"></div><div></div>'
    )
    marks = re.findall(r'<(?:form|div)[^>]*?data-session-draft="(\w+)"', answers(PLAIN, body).text)
    assert marks == ["one", "two", "form", "own", "form"]


def test_a_page_goes_on_as_it_comes(start):
    """Its first part arrives before its last one is there."""
    arrived = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<head></head><p>first</p>")
            assert arrived.wait(PATIENCE), "the first part never arrived"
            self.wfile.write(b"<p>last</p>")

        def log_message(self, *_):
            pass

    application = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    application.daemon_threads = True
    threading.Thread(target=application.serve_forever, daemon=True).start()
    proxy = start(
        "proxy",
        *("--upstream", f"http://127.0.0.1:{application.server_port}", "--cookie", "sid"),
        *("--idle", IDLE, "--warn", WARN, "--public-path", "/"),
    )
    seen = ""
    with httpx.stream("GET", proxy.url, headers=AS_BROWSER, trust_env=False, timeout=PATIENCE) as answer:
        for part in answer.iter_text():
            seen += part
            if "first" in seen:
                arrived.set()
    assert seen.endswith("<p>first</p><p>last</p>")
    application.shutdown()
    application.server_close()


class Named:
    """An application that says who is signed in, by a field, whatever that has to do with its cookie."""

    def __init__(self, ask):
        self.ask = ask
        self.cookie = None

    def visit(self, user=None, sets=None, method="GET", **fields):
        fields = PLAIN | ({"X-User": user} if user else {}) | ({"Set-Cookie": f"sid={sets}"} if sets else {}) | fields
        headers = {"Cookie": f"sid={self.cookie}"} if self.cookie else {}
        answer = self.ask(fields, PAGE, method, **headers)
        assert "x-user" not in answer.headers
        self.cookie = sets or self.cookie
        return answer

    def status(self):
        url = f"{self.ask.proxy.url}/_session-timeout/status"
        told = httpx.get(url, headers={"Cookie": f"sid={self.cookie}"}, trust_env=False, timeout=PATIENCE).json()
        return told["state"], told.get("user")


@pytest.fixture
def named(answers):
    return Named(answers)


def test_a_session_is_whose_the_application_says_it_is(named):
    named.visit("ada", sets="A" * 20)
    state, ada = named.status()
    assert state == "active"
    assert ada
    named.visit("ada")
    assert named.status() == ("active", ada)
    named.visit()
    assert named.status() == ("active", ada), "an answer need not say"
    named.visit("ada", sets="B" * 20)
    assert named.status() == ("active", ada), "another id of it"


def test_nobodys_session_is_anothers_from_then_on(named):
    named.visit("ada", sets="A" * 20)
    _, ada = named.status()
    named.visit("grace", sets="B" * 20)
    state, grace = named.status()
    assert state == "active"
    assert grace not in {ada, None}
    named.visit("ada")
    assert named.status()[0] != "active", "with the same cookie, it ends"


def test_a_visitors_session_is_its_users_once_they_are_named(named):
    named.visit(sets="A" * 20)
    assert named.status() == ("active", None)
    named.visit("ada")
    state, ada = named.status()
    assert state == "active"
    assert ada


def test_mistakes_are_named():
    needed = ["--upstream", "http://127.0.0.1:9", "--cookie", "sid"]
    for arguments, problem in [
        (["--warn", "5"], "20s"),
        (["--warn", "900"], "idle timeout"),
        (["--warn", "60", "--drafts", "form["], "form["),
        (["--drafts", "form"], "--warn"),
        (["--user-header", "X-User"], "--login-path"),
    ]:
        ended = run("proxy", *needed, *arguments)
        assert ended.returncode == 2, (arguments, ended.stderr)
        assert problem in ended.stderr, ended.stderr


@pytest.mark.parametrize(
    ("app", "cookie", "options"),
    [
        ("flask_notes", "session", ()),
        ("django_notes", "sessionid", ("--csrf", "csrfmiddlewaretoken=csrftoken")),
    ],
)
def test_a_form_that_comes_too_late_is_sent_after_the_log_in_without_a_script(start, chromium, app, cookie, options):
    url = behind_proxy(start, app, cookie, "--user-header", "X-User", "--rescue", *options)
    context = chromium.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    text = page.locator("textarea[name=text]")
    try:
        page.goto(f"{url}/login")
        log_in(page, "ada")
        page.wait_for_url(f"{url}/notes")
        text.fill('two lines\nof "text" & <b>more</b>')
        time.sleep(IDLE + 0.5)
        page.click("form >> text=Save")
        page.wait_for_url(re.compile(r"/login\?next=%2F_session-timeout%2Funsent$"))
        log_in(page, "ada")
        page.wait_for_url(re.compile(r"/_session-timeout/unsent\?form="))
        expect(page.locator("h1")).to_have_text("This was not sent")
        page.get_by_role("button", name="Send it now").click()
        page.wait_for_url(f"{url}/notes")
        expect(text).to_have_value('two lines\nof "text" & <b>more</b>')
        page.goto(f"{url}/_session-timeout/unsent")
        expect(page.locator("h1")).to_have_text("There is nothing that was not sent.")
    finally:
        context.close()
