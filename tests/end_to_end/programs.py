"""Programs that are started and stopped by the tests, and clients that ask them."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug/examples"
# How slow this machine is: what waits for a session's end multiplies its times by it.
PACE = int(os.environ.get("PACE") or subprocess.check_output(ROOT / "tests/pace"))
# What hangs, hangs no longer.
PATIENCE = 10 * PACE


class Program:
    """A server that says "listening on http://…" once it is ready."""

    def __init__(self, log, *command, env=None):
        self.log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | {"TMPDIR": str(log.parent)} | (env or {}),
            )
        ready = re.fullmatch(r"listening on (http://(127\.0\.0\.1:\d+))\n", self.process.stdout.readline())
        if not ready:
            self.end(signal.SIGKILL)
            raise RuntimeError(f"{command} does not start: {log.read_text()}")
        self.url, self.address = ready[1], ready[2]

    def end(self, by=signal.SIGKILL):
        """Ends it by this signal, and says with which status it did."""
        if self.process.poll() is None:
            self.process.send_signal(by)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process.stdout.close()


def run(program, *arguments):
    """An example that ends by itself."""
    return subprocess.run([EXAMPLES / program, *arguments], capture_output=True, text=True, timeout=PATIENCE)


class Client:
    """Sends the cookie it is given, follows no redirects, and keeps nothing by itself."""

    def __init__(self, url, http2=False):
        self.url = url
        self.cookie = ""
        self.http = httpx.Client(http1=not http2, http2=http2, timeout=PATIENCE, trust_env=False)
        self.began = 0.0

    def ask(self, method, path, headers=None, **more):
        headers = dict(headers or {})
        if self.cookie:
            headers["Cookie"] = self.cookie
        response = self.http.request(method, self.url + path, headers=headers, **more)
        self.http.cookies.clear()
        return response

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def post(self, path, data=None, **more):
        return self.ask("POST", path, data=data, **more)

    def visit(self, path, **more):
        """As a browser asks for a page."""
        return self.get(path, headers={"Accept": "text/html"}, **more)

    def log_in(self, user="ada", cookie="sid"):
        self.cookie = ""
        answer = self.post("/login", {"user": user})
        self.began = time.monotonic()
        assert answer.status_code == 303, answer.text
        self.cookie = session_cookie(answer, cookie)
        return answer

    def after(self, seconds):
        """Waits until so much time, at this pace, has passed since the log-in."""
        time.sleep(max(0.0, self.began + seconds * PACE - time.monotonic()))

    def passed(self):
        """Since the log-in, at this pace."""
        return (time.monotonic() - self.began) / PACE

    def statuses(self, path, *times):
        """Of the same request at each of these times after the log-in."""
        seen = []
        for seconds in times:
            self.after(seconds)
            seen.append(self.get(path).status_code)
        return seen


def set_cookies(answer):
    return answer.headers.get_list("set-cookie")


def session_cookie(answer, name="sid"):
    found = [match[0] for field in set_cookies(answer) if (match := re.match(rf"{name}=[0-9a-f]{{32}}", field))]
    assert len(found) == 1, set_cookies(answer)
    return found[0]


def removes(answer, name="sid"):
    return any(field.startswith(f"{name}=; ") for field in set_cookies(answer))


def ended(answer):
    """Its status, and why the session ended."""
    return answer.status_code, answer.headers.get("session-ended")
