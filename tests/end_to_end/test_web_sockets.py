"""Web sockets through the proxy example: they last as long as their session."""

import contextlib
import http.client
import threading
import time

import httpx
import pytest
from programs import PACE, PATIENCE
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve

IDLE = 2.0 * PACE
# Of an end that comes by no clock: `Session::ended`.
TOLD_WITHIN = 30


class Application:
    """Echoes what comes through a web socket; `/login` begins a session, `/bye` ends it, `/forbidden` opens no socket."""

    def __init__(self):
        self.paths, self.fields = [], {}
        self.closed = threading.Event()
        self.server = serve(
            self.echo,
            "127.0.0.1",
            0,
            process_request=self.answer,
            select_subprotocol=lambda _, offered: offered[0] if offered else None,
        )
        self.url = f"http://127.0.0.1:{self.server.socket.getsockname()[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, connection, request):
        self.paths.append(request.path)
        self.fields = request.headers
        if request.path == "/forbidden":
            return connection.respond(403, "no socket here")
        if "Upgrade" in request.headers:
            return None
        answer = connection.respond(200, "hello")
        cookie = {"/login": "sid=a-session-of-ada", "/bye": "sid=; Max-Age=0"}.get(request.path)
        if cookie:
            answer.headers["Set-Cookie"] = cookie
        return answer

    def echo(self, connection):
        with contextlib.suppress(ConnectionClosed):
            for message in connection:
                connection.send(message)
        self.closed.set()


@pytest.fixture
def application():
    application = Application()
    yield application
    application.server.shutdown()


@pytest.fixture
def proxy(start, application):
    return start("proxy", "--upstream", application.url, "--cookie", "sid", "--idle", IDLE)


COOKIE = {"Cookie": "sid=a-session-of-ada"}


def get(proxy, path, headers=None):
    return httpx.get(proxy.url + path, headers=headers, trust_env=False, timeout=PATIENCE)


def open_socket(proxy, path="/socket", **more):
    url = f"ws://{proxy.address}{path}"
    return connect(url, proxy=None, open_timeout=PATIENCE, close_timeout=PATIENCE, **more)


def log_in(proxy):
    assert get(proxy, "/login").status_code == 200


def closed_after(socket):
    began = time.monotonic()
    with pytest.raises(ConnectionClosed):
        socket.recv(TOLD_WITHIN + PATIENCE)
    return time.monotonic() - began


def test_messages_go_both_ways(proxy, application):
    with open_socket(proxy, subprotocols=["chat"]) as socket:
        assert socket.subprotocol == "chat"
        for message in ["hello", b"\x00\xff", "x" * 1_000_000]:
            socket.send(message)
            assert socket.recv(PATIENCE) == message
    assert application.closed.wait(PATIENCE), "the application hears that the client has closed it"


def test_a_socket_is_closed_when_its_session_has_been_idle(proxy, application):
    log_in(proxy)
    with open_socket(proxy, additional_headers=COOKIE) as socket:
        socket.send("hello")
        assert socket.recv(PATIENCE) == "hello"
        lasted = closed_after(socket)
    assert 0.8 * IDLE <= lasted < PATIENCE, lasted
    assert application.closed.wait(PATIENCE), "at the application, too"


def test_a_socket_is_closed_by_a_log_out_and_another_users_is_not(start, application):
    proxy = start("proxy", "--upstream", application.url, "--cookie", "sid", "--idle", 900)
    log_in(proxy)
    with open_socket(proxy, additional_headers=COOKIE) as socket, open_socket(proxy) as visitors:
        assert "sid=" in get(proxy, "/bye", COOKIE).headers["set-cookie"]
        assert closed_after(socket) < TOLD_WITHIN + PATIENCE / 2
        visitors.send("hello")
        assert visitors.recv(PATIENCE) == "hello"


def test_requests_meanwhile_keep_a_socket_open(proxy):
    log_in(proxy)
    with open_socket(proxy, additional_headers=COOKIE) as socket:
        for _ in range(8):
            time.sleep(IDLE / 4)
            assert get(proxy, "/", COOKIE).status_code == 200
        socket.send("hello")
        assert socket.recv(PATIENCE) == "hello"


def test_no_socket_opens_without_a_live_session_of_its_cookie(proxy, application):
    with pytest.raises(InvalidStatus) as refused:
        open_socket(proxy, additional_headers={"Cookie": "sid=made-up"})
    assert refused.value.response.status_code == 401
    assert application.paths == []


def test_an_application_may_refuse_a_socket(proxy):
    with pytest.raises(InvalidStatus) as refused:
        open_socket(proxy, "/forbidden")
    assert refused.value.response.status_code == 403
    assert refused.value.response.body == b"no socket here"


@pytest.mark.parametrize(
    "fields",
    [
        {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA"},
        {"Upgrade": "websocket, h2c", "Connection": "Upgrade"},
        {"Upgrade": "websocket"},
    ],
    ids=["h2c", "either", "no_connection"],
)
def test_no_other_protocol_is_asked_for(proxy, application, fields):
    answer = get(proxy, "/page", fields)
    assert answer.text == "hello"
    assert application.paths == ["/page"]
    assert not {"Upgrade", "HTTP2-Settings"} & set(application.fields)


def test_a_refused_handshake_leaves_no_tunnel(proxy, application):
    """What comes after it on the connection is a request like any other."""
    connection = http.client.HTTPConnection(proxy.address, timeout=PATIENCE)
    wrong = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "777", "Sec-WebSocket-Key": "x"}
    connection.request("GET", "/socket", headers=wrong)
    answer = connection.getresponse()
    assert answer.status in {400, 426}
    answer.read()
    connection.request("GET", "/page", headers={"Cookie": "sid=made-up"})
    assert connection.getresponse().status == 401
    assert "/page" not in application.paths
