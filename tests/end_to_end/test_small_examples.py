"""The examples of one file: what their first lines say."""

import pytest
from programs import EXAMPLES, Client, ended, removes, set_cookies
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect


def cookie(answer):
    (field,) = set_cookies(answer)
    return field.partition(";")[0]


def test_processes_share_sessions_through_redis(start, redis):
    url, _ = redis
    one, other = (Client(start(EXAMPLES / "redis", "127.0.0.1:0", url).url) for _ in range(2))
    assert one.get("/").status_code == 401
    one.cookie = other.cookie = cookie(one.post("/login"))
    assert other.get("/").text.startswith("Signed in ")
    assert other.post("/logout").text == "You are signed out, everywhere.\n"
    assert ended(one.get("/")) == (401, "signed-out")


def test_a_web_socket_closes_when_its_user_signs_out(start):
    program = start(EXAMPLES / "websocket", "127.0.0.1:0")
    url = f"ws://{program.address}/echo"
    with pytest.raises(InvalidStatus) as refused:
        connect(url, proxy=None)
    assert refused.value.response.status_code == 401

    client = Client(program.url)
    client.cookie = cookie(client.post("/login"))
    with connect(url, additional_headers={"Cookie": client.cookie}, proxy=None) as socket:
        socket.send("hello")
        assert socket.recv(timeout=10) == "hello"
        assert client.post("/writing").status_code == 204
        client.post("/logout")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=30)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "session ended: signed-out")


def test_a_basket_of_tower_sessions_is_kept_through_a_log_in_and_gone_after_a_log_out(start):
    client = Client(start(EXAMPLES / "tower_sessions", "127.0.0.1:0").url)
    account = client.visit("/account")
    assert (account.status_code, account.headers["location"]) == (303, "/login?next=%2Faccount")
    client.cookie = cookie(client.post("/basket"))
    answer = client.post("/login", {"user": "ada", "next": "/account"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    assert client.cookie != cookie(answer)
    client.cookie = cookie(answer)
    account = client.visit("/account").text
    assert "ada's account" in account
    assert "1 in the basket" in account
    assert removes(client.post("/logout"))
    assert "0 in the basket" in client.visit("/").text
    assert ended(client.get("/account")) == (401, "signed-out")
