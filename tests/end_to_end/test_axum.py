"""What the axum example does besides."""

import contextlib
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from conftest import IDLE
from programs import PACE, PATIENCE, Client, ended, removes, session_cookie, set_cookies


def test_polling_does_not_keep_a_session_alive(client):
    client.log_in()
    assert client.statuses("/poll", 0.5, 1, 1.5, 2.2, 2.7) == [200, 200, 200, 401, 401]


def test_pages_are_protected(client):
    for page in ["account", "notes"]:
        answer = client.visit(f"/{page}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next=%2F{page}")
    for page in ["/poll", "/events"]:
        assert client.get(page).status_code == 401
    assert client.post("/upload", content=b"x").status_code == 401
    home = client.visit("/")
    policy = home.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; " in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "<script" not in home.text, "limits as short as these leave no time for a warning"
    style = client.get("/style.css")
    assert (style.status_code, style.headers["content-type"]) == (200, "text/css; charset=utf-8")


def test_the_log_in_page_says_why(client):
    client.log_in()
    old = client.cookie
    signed_out = "You were signed out"
    assert signed_out not in client.visit("/login").text
    client.after(2.5)
    page = client.visit("/account")
    assert page.status_code == 303
    assert any(field.startswith("ended=idle;") for field in set_cookies(page)), "the reason goes along"
    client.cookie = "ended=idle"
    page = client.visit("/login")
    assert "You were signed out because of inactivity." in page.text
    assert any("ended=; Path=/login; Max-Age=0" in field for field in set_cookies(page)), "it is told once"
    client.cookie = old
    assert "because of inactivity" in client.visit("/login").text, "also to whoever comes by themselves"
    client.cookie = ""
    assert signed_out not in client.visit("/login").text


def test_pages_have_the_script_that_warns(start):
    client = Client(start("axum", "--idle", "40", "--warn", "25").url)
    page = client.visit("/login")
    assert "for 40 seconds" in page.text
    script = re.search(r'src="(/_session-timeout/client\.js\?v=[0-9a-f]+)"', page.text)[1]
    answer = client.get(script)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    assert "immutable" in answer.headers["cache-control"]
    drafts = client.get("/_session-timeout/drafts.js?" + script.split("?")[1], headers={"Accept-Encoding": "br"})
    assert (drafts.status_code, drafts.headers["content-encoding"]) == (200, "br")
    assert drafts.headers["cache-control"] == "public, max-age=31536000, immutable"
    client.log_in()
    timing = client.visit("/account").headers["server-timing"]
    assert re.search(r'st;dur=\d+;desc="40000 ', timing), timing
    status = client.get("/_session-timeout/status")
    assert (status.status_code, status.json()["state"]) == (200, "active")
    assert 'data-session-draft="note"' in client.visit("/notes").text


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example/", r"/\evil.example", "/%2Fevil.example", ""]
)
def test_a_log_in_leads_to_no_other_site(client, target):
    page = client.visit("/login", params={"next": target})
    assert 'name="next" value="/account"' in page.text
    answer = client.post("/login", {"user": "ada", "next": target})
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")


def test_a_log_in_leads_back(client):
    page = client.visit("/login", params={"next": '/notes?a="b"'})
    assert 'name="next" value="/notes?a=&quot;b&quot;"' in page.text
    answer = client.post("/login", {"user": "ada", "next": "/notes?a=b"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/notes?a=b")
    assert any("; Path=/; HttpOnly; SameSite=Lax" in field for field in set_cookies(answer))
    page = client.post("/login", {"user": "", "next": "/notes"})
    assert "Enter a name" in page.text
    assert 'name="next" value="/notes"' in page.text, "it is not lost over a mistake"


def test_names_are_escaped(client):
    client.cookie = session_cookie(client.post("/login", {"user": "<i>\"&'"}))
    page = client.visit("/account")
    assert page.status_code == 200
    assert '<i>"' not in page.text
    assert re.search(r"&lt;i&gt;(&quot;|\")&amp;(&#39;|')", page.text)


def test_a_note_is_kept_for_its_user_alone(client):
    client.log_in()
    answer = client.post("/notes", {"text": "\nfor </textarea>"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/notes")
    assert re.search(r"<textarea[^>]*>\n\nfor &lt;/textarea&gt;</textarea>", client.visit("/notes").text)
    client.cookie = session_cookie(client.post("/login", {"user": "grace"}))
    page = client.visit("/notes")
    assert page.status_code == 200
    assert "for &lt;" not in page.text


def test_an_upload_may_be_long(client):
    client.log_in()
    size = 5_000_000
    for content in [bytes(size), (bytes(size // 5) for _ in range(5))]:
        answer = client.post("/upload", content=content)
        assert (answer.status_code, answer.json()) == (200, {"length": size})


def test_an_upload_longer_than_the_idle_timeout_keeps_its_session(client):
    client.log_in()

    def slowly():
        for _ in range(30):
            time.sleep(0.1 * PACE)
            yield bytes(10_000)

    answer = client.post("/upload", content=slowly())
    assert (answer.status_code, answer.json()) == (200, {"length": 300_000})
    assert client.passed() > 1.2 * IDLE / PACE
    assert client.get("/api/me").status_code == 200


def test_sessions_elsewhere_can_be_ended(client):
    user = {"user": "everywhere"}
    there = session_cookie(client.post("/login", user))
    here = session_cookie(client.post("/login", user))
    client.cookie = here
    page = client.visit("/account")
    assert page.text.count("<tr><td>") == 2, "the account page lists both"
    tag = re.search(r'name="tag" value="([0-9a-f]+)"', page.text)[1]
    answer = client.post("/account/end-session", {"tag": tag})
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    client.cookie = there
    assert ended(client.get("/api/me")) == (401, "revoked")
    client.cookie = ""
    there = session_cookie(client.post("/login", user))
    client.cookie = here
    assert client.post("/account/end-others").status_code == 303
    assert client.get("/api/me").status_code == 200, "this one goes on"
    client.cookie = there
    assert client.get("/api/me").status_code == 401


def read_events(client, at_most):
    """The event stream's data, and how long after the log-in it ended."""
    data = []
    with httpx.stream("GET", client.url + "/events", headers={"Cookie": client.cookie}, timeout=PATIENCE) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                data.append(line.removeprefix("data: "))
            if client.passed() > at_most:
                break
    return data, client.passed()


def test_events_come_twice_a_second(client):
    client.log_in()
    assert read_events(client, 1.9)[0][:3] == ["1", "2", "3"]


def test_an_event_stream_ends_with_its_session(client):
    client.log_in()
    data, passed = read_events(client, 6)
    assert "4" in data, "it is cut, not torn"
    assert 1.9 <= passed <= 3.5
    assert ended(client.get("/api/me")) == (401, "idle")


def test_an_event_stream_lasts_as_long_as_other_requests_renew(client):
    client.log_in()
    with ThreadPoolExecutor() as threads:
        stream = threads.submit(read_events, client, 8)
        assert client.statuses("/api/me", 1, 2, 3) == [200] * 3
        _, passed = stream.result()
    assert 4.9 <= passed <= 6.5, "cut 2 s after the last of them"
    assert ended(client.get("/api/me")) == (401, "idle")


def test_a_look_at_the_log_out_page_ends_nothing(client):
    client.log_in()
    assert re.search(r'<form[^>]* action="/logout"', client.visit("/logout").text)
    assert client.get("/api/me").status_code == 200


def test_a_secure_cookie_is_a_host_cookie(start):
    client = Client(start("axum", "--secure").url)
    answer = client.log_in(cookie="__Host-sid")
    assert any("; Path=/; HttpOnly; SameSite=Lax; Secure" in field for field in set_cookies(answer))
    assert client.get("/api/me").status_code == 200
    answer = client.post("/logout")
    assert removes(answer, "__Host-sid")
    assert all("Secure" in field for field in set_cookies(answer) if field.startswith("__Host-sid"))
    assert client.get("/api/me").status_code == 401


def test_it_stops_when_told_to_open_stream_or_not(start):
    program = start("axum")
    client = Client(program.url)
    client.log_in()

    def stream():
        # It is cut with its connection.
        with contextlib.suppress(httpx.RemoteProtocolError):
            read_events(client, 8)

    with ThreadPoolExecutor() as threads:
        streaming = threads.submit(stream)
        time.sleep(PACE)
        assert program.end(signal.SIGTERM) == 0
        streaming.result(PATIENCE)
