"""Mistakes on the command line are explained."""

import pytest
import programs


def run(program, *arguments):
    ended = programs.run(program, *arguments)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("program", ["axum", "hyper"])
@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        (["--ilde", "5"], ["--ilde"]),
        (["--idle", "soon"], ["soon"]),
        (["--idle"], ["--idle", "value"]),
        (["--idle", "9", "--absolute", "3"], ["the idle timeout of 9s is longer"]),
    ],
)
def test_a_mistake_is_named(program, arguments, problems):
    status, said = run(program, *arguments)
    assert status == 2, said
    assert all(problem in said for problem in problems), said


def test_an_unknown_store_is_refused():
    status, said = run("axum", "--store", "nowhere")
    assert status == 2, said
    assert "nowhere" in said


def test_the_example_explains_itself():
    status, said = run("axum", "--help")
    assert status == 0
    assert "Usage: axum" in said


def test_a_snapshot_of_what_is_not_in_memory_is_refused():
    status, said = run("axum", "--store", "stateless", "--snapshot", "sessions")
    assert status == 2, said
    assert "--snapshot is for --store memory" in said


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--idle", "30"], "--warn is 2 minutes, and has to be less than --idle, which is 30 seconds"),
        (["--idle", "20"], "--idle is 20 seconds, and a warning comes 20 seconds or more before the end"),
        (["--warn", "5"], "--warn is 5 seconds, and nobody can react in less than 20 seconds"),
    ],
)
def test_where_pages_do_not_warn_the_reason_is_told(arguments, reason):
    # It ends by itself, where it cannot listen.
    status, said = run("axum", "--listen", "nowhere", *arguments)
    assert status == 1, said
    assert f"pages give no warning: {reason}" in said
