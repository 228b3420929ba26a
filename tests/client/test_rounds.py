import json

import pytest

from pcv_config import places


@pytest.fixture
def daemon(root, listen, http):
    """A daemon with a recheck and a wait, which answers with the given status."""

    def start(answer, code=200):
        def reply(request):
            if "/v1/recheck" in request["line"]:
                return http(202, {"ticket": 5})
            return http(code, answer, X_Pcv_Exit="0")

        return listen(places.socket_path(root), reply)

    return start


def test_check_through_the_daemon(pcvctl, daemon, status, target):
    listener = daemon(status(target(), target("b.py:g", verdict="diverged", first_stage="hlo")))
    shown = pcvctl("check", "models/mlp.py:forward", "--timeout", "30")
    assert shown.returncode == 0  # of what was asked for
    assert "b.py:g" not in shown.stdout
    recheck, wait = listener.requests
    assert json.loads(recheck["body"]) == {"targets": ["models/mlp.py:forward"]}
    asked = json.loads(wait["body"])
    assert asked["ticket"] == 5
    assert 0 < asked["timeout_s"] <= 30
    assert pcvctl("check").returncode == 1
    assert json.loads(listener.requests[2]["body"]) == {"targets": None}


def test_recheck_and_wait_answer_in_json(pcvctl, daemon, status, target):
    whole = status(target(verdict="inconclusive", reason="no overlap"))
    listener = daemon(whole)
    for verb in ("recheck", "wait"):
        shown = pcvctl(verb, "--json")
        assert (shown.returncode, json.loads(shown.stdout)) == (3, whole)
    assert json.loads(listener.requests[-1]["body"])["ticket"] is None


@pytest.mark.parametrize("verb", ["wait", "recheck", "check"])
def test_timed_out_shows_how_things_stand(pcvctl, daemon, status, target, verb):
    daemon(status(target(fresh=False, state="building")), code=408)
    shown = pcvctl(verb, "--timeout", "0")
    assert shown.returncode == 6
    assert "building" in shown.stdout
    assert "within 0 s" in shown.stderr


def test_a_daemon_that_says_408_early_is_asked_again(pcvctl, root, listen, http, status, target):
    answers = [http(408, status(target(fresh=False))), http(200, status(target()))]
    listener = listen(places.socket_path(root), lambda request: answers.pop(0))
    assert pcvctl("wait", "--timeout", "3600").returncode == 0
    assert len(listener.requests) == 2


def test_no_wait_is_busy(pcvctl, daemon, status):
    listener = daemon(status())
    for verb in ("check", "recheck"):
        shown = pcvctl(verb, "--no-wait", "--json")
        assert (shown.returncode, json.loads(shown.stdout)) == (4, {"ticket": 5})
    assert all("/v1/recheck" in request["line"] for request in listener.requests)


def test_an_unknown_target_is_refused(pcvctl, root, listen, http):
    listen(
        places.socket_path(root),
        lambda request: http(404, {"error": {"message": "no target 'x'", "hint": None}}),
    )
    shown = pcvctl("check", "x")
    assert (shown.returncode, shown.stdout, shown.stderr) == (2, "", "pcvctl: no target 'x'\n")


@pytest.mark.parametrize("body", [b"junk", b"[]", b"{}"])
def test_a_recheck_without_a_ticket_is_trouble(pcvctl, root, listen, http, body):
    listen(places.socket_path(root), lambda request: http(202, body))
    assert pcvctl("recheck").returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [["recheck"], ["wait"], ["check", "--no-wait"], ["stop"], ["check", "--no-wait", "--no-daemon"]],
)
def test_without_a_daemon(pcvctl, arguments):
    shown = pcvctl(*arguments)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "daemon" in shown.stderr


def test_check_without_a_daemon(pcvctl, standin, status, target):
    whole = status(target(), daemon={"pid": None, "state": "down"})
    shown = pcvctl("check", "b.py:g", path=[standin.path], STANDIN_STATUS=json.dumps(whole))
    assert shown.returncode == 0
    assert "models/mlp.py:forward  agree" in shown.stdout
    argv = standin("check")["argv"]
    assert (argv[0], argv[1], argv[3:]) == ("check", "--root", ["--json", "--", "b.py:g"])
    for flag in ("--json", "--quiet"):
        pcvctl("check", flag, path=[standin.path], STANDIN_STATUS=json.dumps(whole))
        assert standin("check")["argv"][3:5] == ["--json", "--quiet"]


def test_what_is_wrong_with_a_round_is_told_in_the_clients_words(pcvctl, standin):
    error = {"message": "unknown key", "file": "pcv.toml", "line": 3, "hint": "leave it out"}
    answer = json.dumps({"schema": 1, "error": error})
    shown = pcvctl("check", path=[standin.path], STANDIN_STATUS=answer, STANDIN_CODE="2")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr == "pcvctl: pcv.toml:3: unknown key\n  leave it out\n"
    shown = pcvctl("check", "--json", path=[standin.path], STANDIN_STATUS=answer, STANDIN_CODE="2")
    assert (shown.returncode, json.loads(shown.stdout)) == (2, {"schema": 1, "error": error})
    assert shown.stderr == "pcvctl: pcv.toml:3: unknown key\n  leave it out\n"


def test_check_no_daemon_leaves_a_running_one_alone(pcvctl, daemon, standin, status, target):
    listener = daemon(status())
    whole = json.dumps(status(target()))
    shown = pcvctl("check", "--no-daemon", "--json", path=[standin.path], STANDIN_STATUS=whole)
    assert (shown.returncode, json.loads(shown.stdout)) == (0, status(target()))
    assert listener.requests == []


@pytest.mark.parametrize(
    ("mode", "code", "said"),
    [
        ("dies", 2, "pcv.toml:3"),
        ("junk", 2, "no verdict (exit code 0)"),
        ("crashes", 2, "a bug"),
        ("killed", 137, "signal 9"),
    ],
)
def test_a_round_that_comes_to_nothing_is_never_a_verdict(pcvctl, standin, mode, code, said):
    shown = pcvctl("check", path=[standin.path], STANDIN=mode)
    assert (shown.returncode, shown.stdout) == (code, "")
    assert said in shown.stderr
    shown = pcvctl("check", "--json", path=[standin.path], STANDIN=mode)
    assert shown.returncode == code
    assert json.loads(shown.stdout)["error"]["message"] in shown.stderr


def test_an_exit_code_of_0_does_not_outweigh_what_the_status_says(pcvctl, standin, status, target):
    whole = json.dumps(status(target(verdict="diverged", first_stage="hlo")))
    assert pcvctl("check", path=[standin.path], STANDIN_STATUS=whole).returncode == 1


def test_a_round_that_takes_too_long_is_ended(pcvctl, standin):
    shown = pcvctl("check", "--timeout", "2", path=[standin.path], STANDIN="hangs")
    assert (shown.returncode, shown.stdout) == (6, "")
    assert "was ended" in shown.stderr
    shown = pcvctl("check", "--timeout", "0", "--json", path=[standin.path], STANDIN="hangs")
    assert shown.returncode == 6
    assert "was ended" in json.loads(shown.stdout)["error"]["message"]
