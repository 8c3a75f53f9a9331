"""Each fault that can be asked for is done on the wire, as often as it was asked for."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from renderdrop.sandbox import Sandbox
from renderdrop.sandbox.faults import Faults, parse

Submit = Callable[..., Awaitable[httpx.Response]]
Ended = Callable[[httpx.Response], Awaitable[dict[str, Any]]]
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

STATUS = "/openapi/v1/workflow/cluster/all_active_clusters_status"


def firings(rule: dict[str, Any], calls: int = 12, call: str = "poll", seed: int = 1) -> list[bool]:
    faults = Faults(seed)
    faults.replace([rule], 0.0)
    return [faults.pick(call, float(at)) is not None for at in range(calls)]


def test_a_rule_without_more_fires_always() -> None:
    assert all(firings({"call": "poll", "do": "html"}))


def test_every_nth_call_is_the_nth_and_its_multiples() -> None:
    assert firings({"call": "any", "do": "html", "every": 3}, 7) == [False, False, True, False, False, True, False]


def test_a_count_ends_a_rule() -> None:
    assert firings({"call": "poll", "do": "html", "count": 2}, 4) == [True, True, False, False]


def test_a_time_ends_a_rule() -> None:
    assert firings({"call": "poll", "do": "html", "for": 2}, 4) == [True, True, False, False]


def test_a_chance_is_drawn_from_the_seed() -> None:
    rule = {"call": "poll", "do": "html", "chance": 0.5}
    assert 5 < sum(firings(rule, 40)) < 35
    assert firings(rule, 40) == firings(rule, 40)


def test_a_rule_leaves_other_calls_alone() -> None:
    assert not any(firings({"call": "poll", "do": "html"}, call="run"))
    assert not any(firings({"call": "any", "do": "cut"}, call="run"))


def test_the_first_rule_that_fires_is_the_one() -> None:
    faults = Faults(1)
    rules: list[dict[str, Any]] = [{"call": "poll", "do": "html", "count": 1}, {"call": "any", "do": "status"}]
    faults.replace(rules, 0.0)
    fired = [faults.pick("poll", 0.0), faults.pick("poll", 0.0)]
    assert [rule.do for rule in fired if rule] == ["html", "status"]


@pytest.mark.parametrize(
    "rule",
    [
        {"call": "poll", "do": "explode"},
        {"call": "uplaod", "do": "html"},
        {"call": "run", "do": "cut"},
        {"call": "poll", "do": "html", "evry": 3},
        {"call": "poll", "do": "html", "every": 0},
        {"call": "poll", "do": "html", "every": "3"},
        {"call": "poll", "do": "html", "count": True},
        {"call": "poll", "do": "html", "chance": 2},
        {"do": "html"},
        {},
    ],
)
def test_a_rule_that_could_never_be_meant_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="fault"):
        parse(rule)


async def test_rules_are_set_and_replaced_over_the_wire(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    rules = [{"call": "status", "do": "status", "status": 502}]
    assert (await client.post("/_sandbox/faults", json=rules)).status_code == 200
    assert (await client.get(STATUS)).status_code == 502
    assert (await client.post("/_sandbox/faults", json=[{"call": "status", "do": "x"}])).status_code == 400
    assert (await client.post("/_sandbox/faults", content=b"{")).status_code == 400
    assert (await client.get(STATUS)).status_code == 502
    assert (await client.post("/_sandbox/faults", json=[])).status_code == 200
    assert (await client.get(STATUS)).status_code == 200
    assert sandbox.ledger()["faults"] == {"status:status": 2}


async def test_a_status_comes_as_html_or_in_the_envelope(sandbox: Sandbox, submit: Submit) -> None:
    sandbox.faults = [
        {"call": "run", "do": "status", "status": 503, "retry_after": 7, "count": 1},
        {"call": "run", "do": "status", "status": 429, "envelope": True, "code": 42900, "msg": "太快"},
    ]
    first, second = await submit(), await submit()
    assert (first.status_code, first.headers["Retry-After"]) == (503, "7")
    assert first.headers["Content-Type"].startswith("text/html")
    assert (second.status_code, second.json()) == (429, {"code": 42900, "msg": "太快", "data": None})
    assert sandbox.ledger()["tasks"] == []


async def test_a_gateway_can_fail_after_the_task_was_accepted(sandbox: Sandbox, submit: Submit) -> None:
    sandbox.faults = [{"call": "run", "do": "status", "status": 504, "accept": True}]
    assert (await submit()).status_code == 504
    assert len(sandbox.ledger()["tasks"]) == 1


async def test_unauthorized_is_a_401_whatever_the_token(sandbox: Sandbox, submit: Submit) -> None:
    sandbox.faults = [{"call": "any", "do": "unauthorized"}]
    answer = await submit()
    assert (answer.status_code, answer.json()["code"]) == (401, 40100)


@pytest.mark.parametrize(("kind", "tasks"), [("reset_before", 0), ("reset_after", 1)])
async def test_a_reset_reaches_the_client_and_only_the_late_one_leaves_a_task(
    sandbox: Sandbox, submit: Submit, kind: str, tasks: int
) -> None:
    sandbox.faults = [{"call": "run", "do": kind}]
    with pytest.raises((httpx.ReadError, httpx.WriteError)):
        await submit()
    assert len(sandbox.ledger()["tasks"]) == tasks


async def test_the_peer_sees_a_reset_and_no_orderly_end(sandbox: Sandbox) -> None:
    sandbox.faults = [{"call": "status", "do": "reset_after"}]
    reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    writer.write(f"GET {STATUS} HTTP/1.1\r\nHost: s\r\n\r\n".encode())
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_a_login_page_comes_with_200(sandbox: Sandbox, submit: Submit) -> None:
    sandbox.faults = [{"call": "run", "do": "html"}]
    answer = await submit()
    assert (answer.status_code, answer.text[:9]) == (200, "<!DOCTYPE")
    assert sandbox.ledger()["tasks"] == []


async def test_garbage_is_the_true_answer_cut_in_half(sandbox: Sandbox, submit: Submit) -> None:
    sandbox.faults = [{"call": "run", "do": "garbage"}]
    answer = await submit()
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert len(sandbox.ledger()["tasks"]) == 1


async def test_progress_can_be_null(sandbox: Sandbox, client: httpx.AsyncClient, submit: Submit, ended: Ended) -> None:
    answer = await submit()
    await ended(answer)
    sandbox.faults = [{"call": "poll", "do": "null_progress"}]
    assert (await ended(answer))["progress"] is None


async def test_a_refusal_carries_its_code_and_message(sandbox: Sandbox, submit: Submit) -> None:
    sandbox.faults = [{"call": "run", "do": "refuse", "code": 51000, "msg": "余额不足"}]
    answer = await submit()
    assert (answer.status_code, answer.json()) == (200, {"code": 51000, "msg": "余额不足", "data": None})


async def test_a_slow_answer_is_the_right_one_later(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.faults = [{"call": "status", "do": "slow", "seconds": 0.3}]
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await client.get(STATUS)).json()["code"] == 0
    assert loop.time() - began >= 0.3


@pytest.mark.parametrize(("accept", "tasks"), [(False, 0), (True, 1)])
async def test_a_hanging_call_ends_when_the_client_gives_up(
    sandbox: Sandbox, client: httpx.AsyncClient, submit: Submit, eventually: Eventually, accept: bool, tasks: int
) -> None:
    sandbox.faults = [{"call": "run", "do": "hang", "accept": accept}]
    client.timeout = httpx.Timeout(20, read=0.5)
    with pytest.raises(httpx.ReadTimeout):
        await submit()
    await eventually(lambda: len(sandbox.ledger()["tasks"]) == tasks)


async def test_a_hanging_call_does_not_keep_the_sandbox_alive(sandbox: Sandbox, eventually: Eventually) -> None:
    sandbox.faults = [{"call": "status", "do": "hang"}]
    reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    writer.write(f"GET {STATUS} HTTP/1.1\r\nHost: s\r\n\r\n".encode())
    await eventually(lambda: sandbox.ledger()["faults"] == {"status:hang": 1})
    async with asyncio.timeout(5):
        await sandbox.stop()
        with pytest.raises(ConnectionResetError):
            await reader.read()
    writer.close()


async def test_a_task_can_be_made_to_fail(sandbox: Sandbox, submit: Submit, ended: Ended) -> None:
    sandbox.faults = [{"call": "run", "do": "fail_task", "msg": "节点离线", "count": 1}]
    data = await ended(await submit())
    assert data["status"] == "fail"
    assert [(row["error_type"], row["output"]) for row in data["outputs"]] == [("error", "节点离线")]
    assert (await ended(await submit()))["status"] == "success"


async def test_a_stuck_task_never_leaves_running(sandbox: Sandbox, client: httpx.AsyncClient, submit: Submit) -> None:
    sandbox.faults = [{"call": "run", "do": "stuck", "count": 1}]
    stuck = (await submit()).json()["data"]["task_id"]
    others = [await submit() for _ in range(3)]
    told = [(await client.get(f"/openapi/v1/workflow/apps/task/{stuck}")).json()["data"] for _ in range(3)]
    assert len(others) == 3
    assert {(data["status"], data["progress"]["total_progress"]) for data in told} == {("running", 0)}


async def media(submit: Submit, ended: Ended, body: bytes) -> str:
    answer = await submit("any", files={"input_file": ("a.bin", body, "application/octet-stream")})
    return str((await ended(answer))["outputs"][0]["output"])


async def download(client: httpx.AsyncClient, url: str) -> tuple[int, bytes]:
    """The declared length, and what came before the connection broke off."""
    got = bytearray()
    async with client.stream("GET", url) as answer:
        try:
            async for chunk in answer.aiter_raw():
                got += chunk
        except httpx.RemoteProtocolError:
            return int(answer.headers["Content-Length"]), bytes(got)
    raise AssertionError("the download did not break off")


async def test_a_cut_download_declares_its_whole_length(
    sandbox: Sandbox, client: httpx.AsyncClient, submit: Submit, ended: Ended
) -> None:
    body = bytes(range(256)) * 4096
    url = await media(submit, ended, body)
    sandbox.faults = [{"call": "view", "do": "cut", "count": 1}, {"call": "view", "do": "cut", "at": 1000, "count": 1}]
    for expected in (len(body) // 2, 1000):
        declared, got = await download(client, url)
        assert declared == len(body)
        assert got == body[:expected]
    assert (await client.get(url)).content == body


async def test_a_download_without_length_is_chunked(
    sandbox: Sandbox, client: httpx.AsyncClient, submit: Submit, ended: Ended
) -> None:
    url = await media(submit, ended, b"x" * 5000)
    sandbox.faults = [{"call": "view", "do": "no_length"}]
    answer = await client.get(url)
    assert "Content-Length" not in answer.headers
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.content == b"x" * 5000


async def test_a_wrong_range_is_of_other_bytes_and_only_befalls_range_requests(
    sandbox: Sandbox, client: httpx.AsyncClient, submit: Submit, ended: Ended
) -> None:
    url = await media(submit, ended, b"0123456789")
    sandbox.faults = [{"call": "view", "do": "wrong_range", "count": 1}]
    assert (await client.get(url)).content == b"0123456789"
    wrong = await client.get(url, headers={"Range": "bytes=4-"})
    assert (wrong.status_code, wrong.headers["Content-Range"], wrong.content) == (206, "bytes 3-9/10", b"3456789")
    right = await client.get(url, headers={"Range": "bytes=4-"})
    assert (right.headers["Content-Range"], right.content) == ("bytes 4-9/10", b"456789")
