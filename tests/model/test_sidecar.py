"""The sidecar: every job, however strange its names and texts, becomes JSON that its published schema takes."""

import dataclasses
import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.model import sidecar
from renderdrop.model.job import (
    Constant,
    Job,
    Level,
    Outcome,
    Output,
    Place,
    Remark,
    Role,
    Sent,
    Source,
    Submission,
    Times,
)
from renderdrop.model.lifecycle import State
from renderdrop.model.route import Kind, Model
from renderdrop.model.wishes import Wishes

AT = "2026-11-22T14:18:00.123Z"
JOB = Job(
    id="01kabcdefghjkmnp",
    route="portrait",
    kind="app",
    state=State.RENDERED,
    priority=0,
    attempts=1,
    workflow_id="1234",
    version_id="7",
    params={"prompt": "oil", "steps": 20, "hires": True, "cfg": 7.5},
    cluster="GPU-4090",
    task_id="230",
    paid=True,
    status="success",
    progress=94.0,
    node=None,
    error=None,
    base="猫",
    created=AT,
    updated=AT,
    times=Times(AT, AT, AT, AT, AT, None),
    sources=(Source("input_image", "sub/猫.png", 12, 99, "ab" * 32, Place.INBOX),),
    outputs=(
        Output(
            0, "9", "Save 🎥", "https://platform/api/view?filename=x.png", "猫.png", 34, "cd" * 32, "image/png", True
        ),
    ),
    remarks=(Remark(Level.WARNING, "cropped", "40", "Scale"), Remark(Level.ERROR, "no face", "55", "Face")),
    submissions=(
        Submission(1, AT, "GPU-4090", None, Outcome.UNKNOWN, "silence", True),
        Submission(2, AT, "GPU-4090", "230", Outcome.ACCEPTED, "", True),
        Submission(3, AT, "GPU-4090", None, None, "", False),
    ),
)
VALIDATOR = jsonschema.Draft202012Validator(sidecar.sidecar_schema())


def test_the_published_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(sidecar.sidecar_schema())
    assert sidecar.sidecar_schema()["$id"] == "renderdrop/sidecar/1"


def test_a_delivered_job_says_all_that_the_design_lists() -> None:
    told = json.loads(sidecar.write(JOB, success=True, delivered=AT))
    VALIDATOR.validate(told)
    assert list(told) == [
        "schema",
        "job_id",
        "route",
        "kind",
        "status",
        "sources",
        "workflow_id",
        "version_id",
        "cluster",
        "task_id",
        "params",
        "params_from",
        "tickets",
        "constants",
        "graph",
        "model",
        "outputs",
        "warnings",
        "errors",
        "times",
        "submissions",
        "derived_from",
        "duplicate_of",
        "version",
    ]
    assert (told["schema"], told["status"], told["task_id"]) == ("renderdrop/sidecar/1", "success", 230)
    assert told["sources"] == [
        {"input": "input_image", "name": "猫.png", "path": "sub/猫.png", "size": 12, "sha256": "ab" * 32}
    ]
    assert [o["file"] for o in told["outputs"]] == ["猫.png"]
    assert told["params"] == {"prompt": "oil", "steps": 20, "hires": True, "cfg": 7.5}
    assert told["params_from"] == dict.fromkeys(told["params"], "route")
    assert told["warnings"] == ["cropped"]
    assert told["errors"] == [{"message": "no face", "node_id": "55", "title": "Face"}]
    assert told["times"]["delivered"] == AT
    # A try that may be paid for is told; one that was never answered because it is still asked is not.
    assert [(s["outcome"], s["task_id"]) for s in told["submissions"]] == [("unknown", None), ("accepted", 230)]


def test_where_everything_came_from_is_told() -> None:
    job = dataclasses.replace(
        JOB,
        wishes=Wishes({"steps": 20}, {"steps": "ticket"}, notes=("read as GBK",)),
        sources=(
            *JOB.sources,
            Source("prompt", "sub/猫.txt", 5, 1, "cd" * 32, role=Role.TEXT),
            Source("", "sub/猫.png.job.toml", 9, 1, role=Role.TICKET),
        ),
        sent=Sent(None, (Constant("style", "style.png", 7, "ef" * 32),)),
        derived_from="sub/猫.json",
        duplicate_of="01kabcdefghjkmnq",
    )
    told = json.loads(sidecar.write(job, success=True, delivered=AT))
    VALIDATOR.validate(told)
    assert told["params_from"] == {"prompt": "route", "steps": "ticket", "hires": "route", "cfg": "route"}
    assert [s["input"] for s in told["sources"]] == ["input_image", "prompt"]
    assert told["tickets"] == [{"name": "猫.png.job.toml", "path": "sub/猫.png.job.toml", "size": 9}]
    assert told["constants"] == [{"input": "style", "name": "style.png", "size": 7, "sha256": "ef" * 32}]
    assert told["warnings"] == ["read as GBK", "cropped"]
    assert (told["derived_from"], told["duplicate_of"]) == ("sub/猫.json", "01kabcdefghjkmnq")
    assert (told["graph"], told["model"]) == (None, None)


@pytest.mark.parametrize("kind", ["graph", "model"])
def test_the_other_kinds_name_their_graph_or_model_instead_of_a_workflow(kind: Kind) -> None:
    job = dataclasses.replace(JOB, kind=kind, workflow_id="up.json", sent=Sent("ab" * 32), cluster="")
    model = Model("google", "gemini", "text2image")
    told = json.loads(sidecar.write(job, success=True, delivered=AT, model=model))
    VALIDATOR.validate(told)
    assert (told["workflow_id"], told["cluster"]) == (None, None)
    if kind == "graph":
        assert (told["graph"], told["model"]) == ({"name": "up.json", "sha256": "ab" * 32}, None)
    else:
        assert (told["graph"], told["model"]) == (
            None,
            {"provider": "google", "model": "gemini", "type": "text2image"},
        )


def test_a_result_that_came_inside_the_answer_is_not_told_twice() -> None:
    assert sidecar.short("data:image/png;base64,AAAA") == "data:image/png;base64,…"
    assert sidecar.short("https://h/a?x=data:,b") == "https://h/a?x=data:,b"


def test_a_failed_job_says_its_own_failure_first_and_names_no_outputs() -> None:
    told = json.loads(sidecar.write(dataclasses.replace(JOB, error="it did not work"), success=False))
    VALIDATOR.validate(told)
    assert told["status"] == "fail"
    assert told["outputs"] == []
    assert [e["message"] for e in told["errors"]] == ["it did not work", "no face"]
    assert told["times"]["delivered"] is None


def test_a_job_that_never_left_the_inbox_has_a_sidecar_too() -> None:
    bare = dataclasses.replace(
        JOB,
        version_id=None,
        cluster=None,
        task_id=None,
        params={},
        outputs=(),
        remarks=(),
        submissions=(),
        times=Times(),
        error=None,
        sources=(Source("input_image", "a.txt", 1, 1),),
    )
    VALIDATOR.validate(json.loads(sidecar.write(bare, success=False)))


@pytest.mark.parametrize("success", [True, False])
@given(text=st.text(st.characters(), min_size=1))
def test_no_text_of_a_stranger_breaks_the_sidecar(text: str, success: bool) -> None:
    strange = dataclasses.replace(
        JOB, error=text, node=text, task_id=text, params={text: text}, base=text,
        sources=(Source("input_image", text, 1, 1),),
        outputs=(Output(0, text, text, text, text, 1, None, text, True),),
        remarks=(Remark(Level.WARNING, text, text, text), Remark(Level.ERROR, text, text, text)),
        submissions=(Submission(1, AT, text, text, Outcome.ACCEPTED, text, True),),
    )  # fmt: skip
    told = json.loads(sidecar.write(strange, success=success))
    VALIDATOR.validate(told)
    assert sidecar.belongs_to(sidecar.write(strange, success=success)) == JOB.id


def test_a_name_that_is_no_utf_8_can_be_read_back() -> None:
    told = json.loads(
        sidecar.write(dataclasses.replace(JOB, sources=(Source("i", "caf\udce9.png", 1, 1),)), success=True)
    )
    assert told["sources"][0]["name"] == "caf\\udce9.png"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("230", 230), ("0", 0), ("007", "007"), ("-5", "-5"), ("a1", "a1"), ("", ""), (None, None), ("٣", "٣"),
        ("²", "²"), ("1" * 5000, "1" * 5000),
    ],
    ids=lambda value: ascii(value)[:12],
)  # fmt: skip
def test_a_tasks_id_is_a_number_where_the_platform_said_one(text: str | None, meant: int | str | None) -> None:
    assert sidecar.task_id(text) == meant


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"[]", b"{}", b'"x"', b'{"schema": "other", "job_id": "x"}', b'{"schema": "renderdrop/sidecar/1"}',
     b'{"schema": "renderdrop/sidecar/1", "job_id": 5}', b"[" * 100_000],
    ids=lambda data: ascii(data[:40]),
)  # fmt: skip
def test_what_is_no_sidecar_belongs_to_nobody(data: bytes) -> None:
    assert sidecar.belongs_to(data) is None
