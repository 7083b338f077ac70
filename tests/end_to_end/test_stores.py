"""The axum example on each of its stores, over restarts and crashes."""

import signal

from programs import Client, ended, run, set_cookies


def test_a_deploy_logs_nobody_out(start, tmp_path):
    folder = tmp_path / "snapshot"
    folder.mkdir()
    file = folder / "sessions"

    def restart():
        program = start("axum", "--snapshot", file)
        return program, Client(program.url)

    program, client = restart()
    client.log_in()
    gone = client.cookie
    client.post("/logout")
    client.log_in()
    assert program.end(signal.SIGTERM) == 0
    assert file.stat().st_mode & 0o777 == 0o600, "the sessions are in a file for its owner alone"
    assert client.cookie.removeprefix("sid=") not in file.read_text(), "that holds no id"

    program, next_client = restart()
    next_client.cookie = client.cookie
    assert next_client.get("/api/me").status_code == 200
    next_client.cookie = gone
    assert ended(next_client.get("/api/me")) == (401, "signed-out")
    next_client.log_in()
    kept = next_client.cookie
    assert program.end(signal.SIGINT) == 0
    assert file.stat().st_mode & 0o777 == 0o600, "Ctrl-C keeps them as well"

    program, client = restart()
    client.log_in()
    gone = client.cookie
    program.end(signal.SIGKILL)
    program, client = restart()
    client.cookie = gone
    assert client.get("/api/me").status_code == 401, "a process that is killed takes its own sessions with it"
    client.cookie = kept
    assert client.get("/api/me").status_code == 200, "and not those it had taken over"
    client.post("/logout")
    program.end(signal.SIGKILL)
    program, client = restart()
    client.cookie = kept
    assert ended(client.get("/api/me")) == (401, "signed-out"), "nor does a log-out go with it"
    assert program.end(signal.SIGINT) == 0
    assert [left.name for left in folder.iterdir()] == ["sessions"]

    file.write_text("nonsense")
    said = run("axum", "--snapshot", file)
    assert said.returncode != 0
    assert said.stderr.startswith("cannot take over the sessions: the file with the sessions is damaged")


def test_two_processes_share_a_redis(start, redis):
    url, kill = redis
    first, second = (Client(start("axum", "--store", url).url) for _ in range(2))
    first.log_in()
    second.cookie = first.cookie
    assert second.get("/api/me").status_code == 200
    assert "this one" in second.get("/account").text
    second.post("/logout")
    assert ended(first.get("/api/me")) == (401, "signed-out"), "what ended at one has ended at the other"
    second.log_in()
    kill()
    answer = second.get("/api/me")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert set_cookies(answer) == [], "the browser keeps its cookie"


def test_two_processes_share_a_file_and_their_sessions_outlive_a_crash(start, tmp_path):
    store = f"sqlite:{tmp_path}/sessions.db"
    programs = [start("axum", "--store", store) for _ in range(2)]
    first, second = (Client(program.url) for program in programs)
    first.log_in()
    second.cookie = first.cookie
    assert second.get("/api/me").status_code == 200
    for program in programs:
        program.end(signal.SIGKILL)
    third = Client(start("axum", "--store", store).url)
    third.cookie = first.cookie
    assert third.get("/api/me").status_code == 200, "after a crash it is there"
    assert "this one" in third.get("/account").text
    third.post("/logout")
    fourth = Client(start("axum", "--store", store).url)
    fourth.cookie = first.cookie
    assert ended(fourth.get("/api/me")) == (401, "signed-out")


def test_browsers_keep_their_sessions_themselves(start):
    def client(key):
        return Client(start("axum", "--store", "stateless", env={"SESSION_KEY": key}).url)

    key = "a-key-of-32-bytes-for-this-test--"
    first = client(key)
    answer = first.log_in()
    cookies = "; ".join(field.split(";")[0] for field in set_cookies(answer))
    second = client(key)
    second.cookie = cookies
    assert second.get("/api/me").status_code == 200, "a process that has never seen the session knows it"
    page = second.get("/account")
    assert (page.status_code, "this one" in page.text) == (200, False), "the account page has no list"
    other = client("another-key-of-32-bytes-for-this-test")
    other.cookie = cookies
    assert other.get("/api/me").status_code == 401
