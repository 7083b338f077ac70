"""The proxy example before applications that hang, hang up and stream."""

import contextlib
import http.client
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from plain_http import ask
from programs import PACE, PATIENCE, run

ANSWER_TIMEOUT = 1.0 * PACE
IDLE = 2.0 * PACE
AT_ONCE = 8


class Application:
    """Serves each connection by `serve(connection)`, which reads requests and answers them as it likes."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.serve = serve
        self.requests = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve_one, args=[connection], daemon=True).start()

    def serve_one(self, connection):
        # The other side may have left.
        with connection, contextlib.suppress(OSError):
            self.serve(self, connection)

    def read(self, connection):
        """The first line of the next request, whose body is read as well; None at the end of the connection."""
        reader = connection.makefile("rb", buffering=0)
        line = b""
        while not line.endswith(b"\n"):
            byte = reader.read(1)
            if not byte:
                return None
            line += byte
        length = 0
        while (header := reader.readline()) not in (b"\r\n", b""):
            name, _, value = header.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while length > 0:
            piece = reader.read(length)
            if not piece:
                return None
            length -= len(piece)
        self.requests.append(line.decode().rsplit(" ", 1)[0])
        return self.requests[-1]


def answer(connection, text="hello", *fields):
    head = ["HTTP/1.1 200 OK", f"Content-Length: {len(text)}", *fields]
    connection.sendall(("\r\n".join(head) + "\r\n\r\n" + text).encode())


@pytest.fixture
def proxied(start):
    """An application that serves its connections like this, and the proxy before it."""

    def proxied(serve, *options):
        application = Application(serve)
        upstream = f"http://{application.address}"
        proxy = start("proxy", "--upstream", upstream, "--cookie", "sid", "--idle", IDLE, *options)
        return application, proxy.address

    return proxied


def test_an_application_that_hangs_is_not_waited_for(proxied):
    def serve(application, connection):
        if application.read(connection) != "GET /hangs":
            answer(connection)
        else:
            time.sleep(PATIENCE)

    _, proxy = proxied(serve, "--answer-timeout", ANSWER_TIMEOUT)
    began = time.monotonic()
    page = ask(proxy, "GET", "/hangs", {"Accept": "text/html"})
    lasted = time.monotonic() - began
    assert (page.status, page.text) == (504, "The application takes too long to answer."), "it is answered instead"
    assert ANSWER_TIMEOUT <= lasted < PATIENCE / 2, (f"after {lasted:.2f} s", ANSWER_TIMEOUT)
    assert ask(proxy, "GET", "/", {}).text == "hello", "others are answered"


def test_one_that_never_reads_a_request_is_not_waited_for_either(proxied):
    _, proxy = proxied(lambda *_: time.sleep(PATIENCE), "--answer-timeout", ANSWER_TIMEOUT)
    # More than the buffers on the way take.
    connection = http.client.HTTPConnection(proxy, timeout=PATIENCE)
    connection.putrequest("POST", "/upload")
    connection.putheader("Content-Length", str(100_000_000))
    connection.endheaders()
    connection.sock.settimeout(0.2 * PACE)
    try:
        while True:
            connection.sock.send(bytes(65536))
    except OSError:
        pass
    connection.sock.settimeout(PATIENCE)
    assert b"HTTP/1.1 504" in connection.sock.recv(100), "its answer comes though the upload stands still"


def test_an_upload_may_take_longer_than_an_answer(proxied):
    def serve(application, connection):
        application.read(connection)
        answer(connection)

    application, proxy = proxied(serve, "--answer-timeout", ANSWER_TIMEOUT)
    connection = http.client.HTTPConnection(proxy, timeout=PATIENCE)
    connection.putrequest("POST", "/upload")
    connection.putheader("Content-Length", "8")
    connection.endheaders()
    began = time.monotonic()
    for _ in range(8):
        time.sleep(0.3 * ANSWER_TIMEOUT)
        connection.send(b"x")
    page = connection.getresponse()
    lasted = time.monotonic() - began
    assert (page.status, application.requests) == (200, ["POST /upload"]), f"it arrives after {lasted:.1f} s"
    assert lasted > 2 * ANSWER_TIMEOUT, ("which is longer than that", lasted)


def test_an_answer_that_has_begun_may_take_longer(proxied):
    def serve(application, connection):
        application.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        time.sleep(2 * ANSWER_TIMEOUT)
        connection.sendall(b" half"[:5])

    _, proxy = proxied(serve, "--answer-timeout", ANSWER_TIMEOUT)
    assert ask(proxy, "GET", "/", {}).text == "first half", "all of it arrives"


def test_an_application_that_hangs_up_after_each_answer_loses_nobody(proxied):
    """Without `Connection: close`: the proxy takes the connection for one to use again."""

    def serve(application, connection):
        if application.read(connection):
            answer(connection)

    application, proxy = proxied(serve)
    visits = [(method, f"/{n}") for n in range(40) for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        statuses = list(threads.map(lambda visit: ask(proxy, *visit, {}).status, visits))
    failed = [(visit, status) for visit, status in zip(visits, statuses, strict=True) if status != 200]
    assert not failed, (f"none of {len(visits)} requests fails", failed)
    assert sorted(application.requests) == sorted(map(" ".join, visits)), "nor is one heard of twice"


def hang_up_on_the_second(answered):
    """An application whose connections are closed as their second request arrives, as by a keep-alive timeout."""

    def serve(application, connection):
        if application.read(connection):
            answer(connection)
            answered.release()
            application.read(connection)

    return serve


def test_a_request_that_meets_a_closing_connection_is_asked_again(proxied):
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        answered = threading.Semaphore(0)
        application, proxy = proxied(hang_up_on_the_second(answered))
        assert ask(proxy, "GET", "/1", {}).status == 200, f"{method}: the first is answered"
        assert ask(proxy, method, "/2", {}).status == 200, f"{method}: the second as well"
        assert application.requests == ["GET /1", f"{method} /2", f"{method} /2"], f"{method}: on a new connection"


def test_all_connections_may_be_closing(proxied):
    answered = threading.Semaphore(0)
    application, proxy = proxied(hang_up_on_the_second(answered))
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in range(5):
            statuses = list(threads.map(lambda n: ask(proxy, "GET", f"/{n}", {}).status, range(AT_ONCE)))
            assert statuses == [200] * AT_ONCE, f"all {AT_ONCE} are answered"


def test_what_must_not_be_done_twice_is_not_asked_again(proxied):
    for method, body, headers in [
        ("POST", None, {"Content-Length": "0"}),
        ("PATCH", None, {"Content-Length": "0"}),
        ("POST", "a=1", {}),
        # Its body was read by then.
        ("PUT", "a=1", {}),
    ]:
        answered = threading.Semaphore(0)
        application, proxy = proxied(hang_up_on_the_second(answered))
        ask(proxy, "GET", "/1", {})
        status = ask(proxy, method, "/2", headers, body).status
        what = f"{method} with {len(body or '')} bytes"
        assert status == 502, f"{what} fails"
        assert application.requests == ["GET /1", f"{method} /2"], f"{what} is heard of once"


def test_what_is_closed_again_is_not_asked_a_third_time(proxied):
    application, proxy = proxied(lambda application, connection: application.read(connection))
    assert ask(proxy, "GET", "/", {}).status == 502, "it fails"
    assert application.requests == ["GET /", "GET /"], "after two times"


def test_a_stream_ends_with_its_session(proxied):
    """Of the types that were named; the others go on."""

    def serve(application, connection):
        kind = {"GET /events": "text/event-stream", "GET /lines": "application/x-ndjson", "GET /other": "text/plain"}
        while request := application.read(connection):
            if request == "POST /login":
                answer(connection, "welcome", "Set-Cookie: sid=0123456789abcdef; Path=/")
                continue
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind[request]}\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.sendall(head.encode())
            for _ in range(int(2 * IDLE / 0.1)):
                connection.sendall(b"3\r\n.\r\n\r\n")
                time.sleep(0.1)
            connection.sendall(b"0\r\n\r\n")

    types = ("--end-streams", "text/event-stream", "--end-streams", "application/x-ndjson")
    _, proxy = proxied(serve, *types)
    ask(proxy, "POST", "/login", {"Content-Length": "0"})

    def lasts(path):
        began = time.monotonic()
        page = ask(proxy, "GET", path, {"Cookie": "sid=0123456789abcdef"})
        return page.status, time.monotonic() - began

    with ThreadPoolExecutor(3) as threads:
        (*ended, (_, other)) = threads.map(lasts, ["/events", "/lines", "/other"])
    for path, (status, lasted) in zip(["/events", "/lines"], ended, strict=True):
        assert status == 200 and 0.9 * IDLE <= lasted < 1.7 * IDLE, (f"{path} after {lasted:.1f} s", status)
    assert other >= 1.9 * IDLE, f"/other goes on for {other:.1f} s"


def test_what_the_layer_has_not_seen_as_a_field_does_not_arrive_as_one(proxied):
    """Servers put trailers among the fields of a request (uvicorn), where a cookie would be a session."""
    arrived = []

    def serve(application, connection):
        reader = connection.makefile("rb", buffering=0)
        while line := reader.readline():
            head = [line, *iter(reader.readline, b"\r\n")]
            trailers = []
            while any(b"chunked" in field for field in head) and (length := int(reader.readline(), 16)) >= 0:
                if length == 0:
                    trailers = list(iter(reader.readline, b"\r\n"))
                    break
                reader.read(length + 2)
            arrived.append((head, trailers))
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Set-Cookie, X-Late\r\n\r\n"
                b"5\r\nhello\r\n0\r\nSet-Cookie: sid=late; Path=/\r\nX-Late: 1\r\n\r\n"
            )

    _, proxy = proxied(serve)
    host, port = proxy.split(":")
    with socket.create_connection((host, port), PATIENCE) as connection:
        connection.sendall(
            b"POST /transfer HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n"
            b"TE: trailers\r\nTrailer: Cookie, X-Trailer\r\nConnection: close, TE, Host, Content-Length\r\n\r\n"
            b"3\r\nabc\r\n0\r\nCookie: sid=ended\r\nX-Trailer: 1\r\n\r\n"
        )
        seen = b"".join(iter(lambda: connection.recv(65536), b""))
    assert seen.startswith(b"HTTP/1.1 200") and b"\r\nhello\r\n" in seen, ("its answer arrives", seen)
    assert b"late" not in seen.lower() and b"trailer:" not in seen.lower(), ("without its trailers", seen)
    assert len(arrived) == 1, "the application hears once"
    for head, trailers in arrived:
        assert trailers == [], "no trailers"
        names = {field.partition(b":")[0].lower() for field in head}
        assert not names & {b"trailer", b"cookie", b"te"}, ("nor of any", head)
        assert b"host: example.com\r\n" in head, ("and of the host that was asked for", head)


def test_mistakes_are_explained():
    needed = ["--upstream", "http://127.0.0.1:1", "--cookie", "sid"]
    for arguments, problem in [
        (["--answer-timeout", "0"], "that leaves no time for an answer"),
        (["--answer-timeout=-1"], "this is no number of seconds"),
        (["--answer-timeout"], "a value is required for '--answer-timeout <SECONDS>'"),
        (["--end-streams", "events"], "this is no media type"),
        (["--end-streams", "text/event-stream; charset=utf-8"], "this is no media type"),
    ]:
        ended = run("proxy", *needed, *arguments)
        assert ended.returncode == 2 and problem in ended.stderr, (problem, ended)


def test_a_very_long_answer_timeout_is_none(proxied):
    def serve(application, connection):
        application.read(connection)
        answer(connection)

    _, proxy = proxied(serve, "--answer-timeout", "10000000000000000000")
    assert ask(proxy, "GET", "/", {}).status == 200, "it is answered"


def test_a_body_goes_on_with_any_method_whether_its_length_is_told_or_not(proxied):
    seen = []

    def serve(application, connection):
        data = b""
        while b"0\r\n\r\n" not in data and not data.endswith(b"a body"):
            data += connection.recv(65536)
        seen.append(data)
        answer(connection, "hello", "Connection: close")

    _, proxy = proxied(serve)
    for method in ["GET", "DELETE", "POST"]:
        for body in [b"a body", iter([b"a body"])]:
            connection = http.client.HTTPConnection(proxy, timeout=PATIENCE)
            connection.request(method, "/", body=body)
            assert connection.getresponse().read() == b"hello"
            assert b"a body" in seen[-1], (method, seen[-1])
