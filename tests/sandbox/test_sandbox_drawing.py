"""Pictures that are drawn from words, and pictures that show what they were made with."""

import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from renderdrop.sandbox import Sandbox
from renderdrop.sandbox.farm import Farm
from renderdrop.sandbox.render import drawn, painted

Submit = Callable[..., Awaitable[httpx.Response]]
Ended = Callable[[httpx.Response], Awaitable[dict[str, Any]]]


@pytest.mark.parametrize(("form", "known"), [("png", "PNG"), ("gif", "GIF")])
def test_words_alone_give_a_picture_of_their_own(tmp_path: Path, form: str, known: str) -> None:
    for name, prompt in (("1", "猫"), ("again", "猫"), ("2", "犬"), ("none", "")):
        drawn(tmp_path / name, form, {"prompt": prompt} if prompt else {})
    made = {name: (tmp_path / name).read_bytes() for name in ("1", "again", "2", "none")}
    assert made["1"] == made["again"]
    assert len(set(made.values())) == 3
    assert Image.open(io.BytesIO(made["1"])).format == known


def test_many_parameters_are_printed_in_several_lines(tmp_path: Path) -> None:
    def bar(parameters: dict[str, str]) -> int:
        drawn(tmp_path / "a", "png", parameters)
        with Image.open(tmp_path / "a") as picture:
            column = [picture.getpixel((0, y)) for y in range(picture.height)]
        return column.count((0, 0, 0))

    few, many = bar({"seed": "1"}), bar({f"{number}.input": "a long value" for number in range(30)})
    endless = bar({"prompt": "word " * 9999})
    assert 0 < few < many <= endless < 384


def test_a_long_text_fits_a_tiny_picture(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "a.png")
    painted(str(tmp_path / "a.png"), tmp_path / "out", "png", {"prompt": "word\n" * 999})
    with Image.open(tmp_path / "out") as made:
        assert made.size == (1, 1)


async def test_the_text_app_takes_a_prompt_and_no_file(
    sandbox: Sandbox, client: httpx.AsyncClient, submit: Submit, ended: Ended
) -> None:
    form = {key: (None, value) for key, value in (("workflow_id", "text"), ("cluster_name", "GPU-A800"))}
    run = "/openapi/v1/workflow/apps/run"
    assert (await client.post(run, files=form)).json()["code"] == 40017
    answer = await client.post(run, files={**form, "prompt": (None, "一只猫")})
    (row,) = (await ended(answer))["outputs"]
    assert Image.open(io.BytesIO((await client.get(row["output"])).content)).format == "PNG"
    (task,) = sandbox.ledger()["tasks"]
    assert (task["kind"], task["fields"], task["files"]) == ("app", {"prompt": "一只猫"}, [])


async def test_the_styled_app_shows_which_style_it_was_given(
    client: httpx.AsyncClient, submit: Submit, ended: Ended, picture: bytes
) -> None:
    made = []
    for colour in ("red", "red", "blue"):
        style = io.BytesIO()
        Image.new("RGB", (8, 8), colour).save(style, "PNG")
        image = ("a.png", picture, "image/png")
        files = {"input_image": image, "style": ("style.png", style.getvalue(), "image/png")}
        data = await ended(await submit("styled", files=files))
        made.append((await client.get(data["outputs"][0]["output"])).content)
    assert made[0] == made[1] != made[2]
    assert (await submit("styled", files={"input_image": image})).json()["code"] == 40017
    assert (await submit("styled", files={**files, "mask": image})).json()["code"] == 0


def test_work_apart_from_the_clusters_runs_at_once_and_ends_in_its_time() -> None:
    farm = Farm(now=0.0, render_seconds=(10.0, 10.0))
    apart, stuck = farm.accept_apart(230, 1.0), farm.accept_apart(231, 1.0, stuck=True)
    assert (apart.cluster, apart.started_at) == ("", 1.0)
    assert farm.advance(10.9) == []
    assert apart.done(6.0) == pytest.approx(0.5)
    assert farm.advance(11.0) == [apart]
    assert (apart.ended_at, stuck.done(1e4)) == (11.0, 0.0)
    assert farm.advance(1e4) == []
