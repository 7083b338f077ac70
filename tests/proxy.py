#!/usr/bin/env python3
"""Puts examples/proxy.rs before applications that hang, hang up and stream: tests/proxy.py"""

import contextlib
import http.client
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from apps import PACE, PATIENCE, PROXY, ROOT, Servers, ask, run

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


def start(servers, serve, *options):
    application = Application(serve)
    proxy = servers.start(
        PROXY,
        *("--listen", "127.0.0.1:0", "--upstream", f"http://{application.address}", "--cookie", "sid"),
        *("--idle", str(IDLE), *options),
    )
    return application, proxy


def an_application_that_hangs_is_not_waited_for(check, servers):
    def serve(application, connection):
        if application.read(connection) != "GET /hangs":
            answer(connection)
        else:
            time.sleep(PATIENCE)

    _, proxy = start(servers, serve, "--answer-timeout", str(ANSWER_TIMEOUT))
    began = time.monotonic()
    page = ask(proxy, "GET", "/hangs", {"Accept": "text/html"})
    lasted = time.monotonic() - began
    check.equal("it is answered instead", (page.status, page.text), (504, "The application takes too long to answer."))
    check(f"after {lasted:.2f} s", ANSWER_TIMEOUT <= lasted < PATIENCE / 2, ANSWER_TIMEOUT)
    check.equal("others are answered", ask(proxy, "GET", "/", {}).text, "hello")


def one_that_never_reads_a_request_is_not_waited_for_either(check, servers):
    _, proxy = start(servers, lambda *_: time.sleep(PATIENCE), "--answer-timeout", str(ANSWER_TIMEOUT))
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
    check("its answer comes though the upload stands still", b"HTTP/1.1 504" in connection.sock.recv(100))


def an_upload_may_take_longer_than_an_answer(check, servers):
    def serve(application, connection):
        application.read(connection)
        answer(connection)

    application, proxy = start(servers, serve, "--answer-timeout", str(ANSWER_TIMEOUT))
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
    check.equal(f"it arrives after {lasted:.1f} s", (page.status, application.requests), (200, ["POST /upload"]))
    check("which is longer than that", lasted > 2 * ANSWER_TIMEOUT, lasted)


def an_answer_that_has_begun_may_take_longer(check, servers):
    def serve(application, connection):
        application.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        time.sleep(2 * ANSWER_TIMEOUT)
        connection.sendall(b" half"[:5])

    _, proxy = start(servers, serve, "--answer-timeout", str(ANSWER_TIMEOUT))
    check.equal("all of it arrives", ask(proxy, "GET", "/", {}).text, "first half")


def an_application_that_hangs_up_after_each_answer_loses_nobody(check, servers):
    """Without `Connection: close`: the proxy takes the connection for one to use again."""

    def serve(application, connection):
        if application.read(connection):
            answer(connection)

    application, proxy = start(servers, serve)
    visits = [(method, f"/{n}") for n in range(40) for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        statuses = list(threads.map(lambda visit: ask(proxy, *visit, {}).status, visits))
    failed = [(visit, status) for visit, status in zip(visits, statuses) if status != 200]
    check(f"none of {len(visits)} requests fails", not failed, failed)
    check.equal("nor is one heard of twice", sorted(application.requests), sorted(map(" ".join, visits)))


def hang_up_on_the_second(answered):
    """An application whose connections are closed as their second request arrives, as by a keep-alive timeout."""

    def serve(application, connection):
        if application.read(connection):
            answer(connection)
            answered.release()
            application.read(connection)

    return serve


def a_request_that_meets_a_closing_connection_is_asked_again(check, servers):
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        answered = threading.Semaphore(0)
        application, proxy = start(servers, hang_up_on_the_second(answered))
        check.equal(f"{method}: the first is answered", ask(proxy, "GET", "/1", {}).status, 200)
        check.equal(f"{method}: the second as well", ask(proxy, method, "/2", {}).status, 200)
        check.equal(f"{method}: on a new connection", application.requests, ["GET /1", f"{method} /2", f"{method} /2"])


def all_connections_may_be_closing(check, servers):
    answered = threading.Semaphore(0)
    application, proxy = start(servers, hang_up_on_the_second(answered))
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in range(5):
            statuses = list(threads.map(lambda n: ask(proxy, "GET", f"/{n}", {}).status, range(AT_ONCE)))
            check.equal(f"all {AT_ONCE} are answered", statuses, [200] * AT_ONCE)


def what_must_not_be_done_twice_is_not_asked_again(check, servers):
    for method, body, headers in [
        ("POST", None, {"Content-Length": "0"}),
        ("PATCH", None, {"Content-Length": "0"}),
        ("POST", "a=1", {}),
        # Its body was read by then.
        ("PUT", "a=1", {}),
    ]:
        answered = threading.Semaphore(0)
        application, proxy = start(servers, hang_up_on_the_second(answered))
        ask(proxy, "GET", "/1", {})
        status = ask(proxy, method, "/2", headers, body).status
        what = f"{method} with {len(body or '')} bytes"
        check.equal(f"{what} fails", status, 502)
        check.equal(f"{what} is heard of once", application.requests, ["GET /1", f"{method} /2"])


def what_is_closed_again_is_not_asked_a_third_time(check, servers):
    application, proxy = start(servers, lambda application, connection: application.read(connection))
    check.equal("it fails", ask(proxy, "GET", "/", {}).status, 502)
    check.equal("after two times", application.requests, ["GET /", "GET /"])


def a_stream_ends_with_its_session(check, servers):
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
    _, proxy = start(servers, serve, *types)
    ask(proxy, "POST", "/login", {"Content-Length": "0"})

    def lasts(path):
        began = time.monotonic()
        page = ask(proxy, "GET", path, {"Cookie": "sid=0123456789abcdef"})
        return page.status, time.monotonic() - began

    with ThreadPoolExecutor(3) as threads:
        (*ended, (_, other)) = threads.map(lasts, ["/events", "/lines", "/other"])
    for path, (status, lasted) in zip(["/events", "/lines"], ended):
        check(f"{path} after {lasted:.1f} s", status == 200 and 0.9 * IDLE <= lasted < 1.7 * IDLE, status)
    check(f"/other goes on for {other:.1f} s", other >= 1.9 * IDLE)


def what_the_layer_has_not_seen_as_a_field_does_not_arrive_as_one(check, servers):
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

    _, proxy = start(servers, serve)
    host, port = proxy.split(":")
    with socket.create_connection((host, port), PATIENCE) as connection:
        connection.sendall(
            b"POST /transfer HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n"
            b"TE: trailers\r\nTrailer: Cookie, X-Trailer\r\nConnection: close, TE, Host, Content-Length\r\n\r\n"
            b"3\r\nabc\r\n0\r\nCookie: sid=ended\r\nX-Trailer: 1\r\n\r\n"
        )
        seen = b"".join(iter(lambda: connection.recv(65536), b""))
    check("its answer arrives", seen.startswith(b"HTTP/1.1 200") and b"\r\nhello\r\n" in seen, seen)
    check("without its trailers", b"late" not in seen.lower() and b"trailer:" not in seen.lower(), seen)
    check.equal("the application hears once", len(arrived), 1)
    for head, trailers in arrived:
        check.equal("no trailers", trailers, [])
        names = {field.partition(b":")[0].lower() for field in head}
        check("nor of any", not names & {b"trailer", b"cookie", b"te"}, head)
        check("and of the host that was asked for", b"host: example.com\r\n" in head, head)


def mistakes_are_explained(check, _):
    needed = ["--upstream", "http://127.0.0.1:1", "--cookie", "sid"]
    for arguments, problem in [
        (["--answer-timeout", "0"], "an answer timeout of 0 leaves no time for an answer"),
        (["--answer-timeout", "-1"], '"-1" is no number of seconds'),
        (["--answer-timeout"], "--answer-timeout needs a value"),
        (["--end-streams", "events"], '"events" is no media type'),
        (["--end-streams", "text/event-stream; charset=utf-8"], '"text/event-stream; charset=utf-8" is no media type'),
    ]:
        ended = subprocess.run([PROXY, *needed, *arguments], capture_output=True, text=True, timeout=PATIENCE)
        check(problem, ended.returncode == 2 and ended.stderr.startswith(problem), ended)


def a_very_long_answer_timeout_is_none(check, servers):
    def serve(application, connection):
        application.read(connection)
        answer(connection)

    _, proxy = start(servers, serve, "--answer-timeout", "10000000000000000000")
    check.equal("it is answered", ask(proxy, "GET", "/", {}).status, 200)


SCENARIOS = [
    an_application_that_hangs_is_not_waited_for,
    one_that_never_reads_a_request_is_not_waited_for_either,
    an_upload_may_take_longer_than_an_answer,
    an_answer_that_has_begun_may_take_longer,
    an_application_that_hangs_up_after_each_answer_loses_nobody,
    a_request_that_meets_a_closing_connection_is_asked_again,
    all_connections_may_be_closing,
    what_must_not_be_done_twice_is_not_asked_again,
    what_is_closed_again_is_not_asked_a_third_time,
    a_stream_ends_with_its_session,
    what_the_layer_has_not_seen_as_a_field_does_not_arrive_as_one,
    a_very_long_answer_timeout_is_none,
    mistakes_are_explained,
]


def main():
    build = ["cargo", "build", "--quiet", "--locked", "--all-features", "--example", "proxy"]
    if subprocess.run(build, cwd=ROOT).returncode:
        return True
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(max_workers=len(SCENARIOS)) as threads:
        servers = Servers(work)
        try:
            failures = list(threads.map(lambda scenario: run(scenario, "proxy", servers), SCENARIOS))
        finally:
            servers.stop()
    failed = sum(failures_of_one > 0 for failures_of_one in failures)
    print(f"{len(failures)} scenarios, {failed} of them failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
