"""What the axum and the hyper example both do, over HTTP/1.1 and HTTP/2."""

import pytest
from conftest import IDLE
from programs import Client, ended, removes, session_cookie


@pytest.fixture(params=["axum, HTTP/1.1", "hyper, HTTP/1.1", "hyper, HTTP/2"])
def client(request):
    program, protocol = request.param.split(", ")
    return Client(request.getfixturevalue(program).url, http2=protocol == "HTTP/2")


def test_a_log_in_sets_a_cookie_and_leads_on(client):
    answer = client.log_in()
    assert answer.status_code == 303
    assert session_cookie(answer)


def test_a_session_in_use_lives_until_the_absolute_timeout(client):
    client.log_in()
    assert client.statuses("/api/me", 1, 2, 3, 4, 5) == [200] * 5
    client.after(6.2)
    assert ended(client.get("/api/me")) == (401, "absolute")


def test_an_idle_session_ends_and_another_log_in_begins_a_new_one(client):
    client.log_in()
    old = client.cookie
    client.after(3)
    page = client.visit("/account")
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2Faccount")
    assert removes(page)
    program = client.get("/api/me")
    assert (program.status_code, program.headers["content-type"]) == (401, "application/problem+json")
    assert "Session" in program.headers["www-authenticate"]
    assert program.headers["session-ended"] == "idle"
    public = client.visit("/")
    assert public.status_code == 200
    assert "Nobody is signed in" in public.text
    assert client.visit("/login").status_code == 200
    answer = client.post("/login", {"user": "ada"})
    assert answer.status_code == 303, "a log-in with the dead cookie succeeds"
    client.cookie = session_cookie(answer)
    assert client.cookie != old
    me = client.get("/api/me")
    assert (me.status_code, me.json()) == (200, {"remaining_seconds": IDLE, "user": "ada"})
    client.cookie = old
    assert client.get("/api/me").status_code == 401, "the old id does not come back"


def test_a_made_up_id_is_refused_and_creates_nothing(client):
    client.cookie = "sid=0123456789abcdef0123456789abcdef"
    for _ in range(2):
        assert ended(client.get("/api/me")) == (401, None), "without a reason"
    page = client.visit("/account")
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2Faccount")


def test_a_log_out_ends_the_session(client):
    client.log_in()
    assert client.get("/api/me").status_code == 200
    answer = client.post("/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert removes(answer)
    assert ended(client.get("/api/me")) == (401, "signed-out")


def test_a_log_in_over_a_session_ends_it(client):
    client.log_in()
    old = client.cookie
    client.cookie = session_cookie(client.post("/login", {"user": "grace"}))
    assert '"user":"grace"' in client.get("/api/me").text
    client.cookie = old
    assert client.get("/api/me").status_code == 401


def test_visitors_are_visitors(client):
    assert "Nobody is signed in" in client.visit("/").text
    refused = client.get("/api/me")
    assert refused.status_code == 401
    assert "Session" in refused.headers["www-authenticate"]
    assert client.get("/nothing").status_code == 404
    assert client.post("/login", {"user": ""}).status_code == 422, "a name is needed to log in"


def test_http_2_is_spoken(hyper):
    answer = Client(hyper.url, http2=True).get("/")
    assert (answer.http_version, answer.status_code) == ("HTTP/2", 200)
