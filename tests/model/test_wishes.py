"""What a job asks for beyond its route: precedence, origins, the combinations of a matrix."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.model.route import Input, Route, Scalar
from renderdrop.model.wishes import BATCH, MATRIX, TICKET, Wishes, combinations, label, params_of

HERE = Path("/srv/portrait")
ROUTE = Route(
    name="portrait", kind="app", inbox=HERE, outbox=HERE, done=HERE, failed=HERE, workflow_id="1", version_id=None,
    clusters=("a",), inputs=(Input("i", "image"),), params={"prompt": "oil", "steps": 20}, after="move", priority=0,
    attempts=3, silence=60, on_unknown_submit="hold", output_name="{stem}", max_output=1,
)  # fmt: skip


def test_what_comes_nearer_to_the_file_wins_and_says_where_it_came_from() -> None:
    wishes = Wishes().over({"seed": 1}, MATRIX).over({"seed": 2, "steps": 30}, BATCH).over({"seed": 3}, TICKET)
    assert params_of(ROUTE, wishes) == (
        {"prompt": "oil", "steps": 30, "seed": 3},
        {"prompt": "route", "steps": "batch", "seed": "ticket"},
    )


def test_a_rerun_sends_what_it_says_and_nothing_of_the_route() -> None:
    wishes = Wishes({"seed": 7}, {"seed": "rerun"}, whole=True)
    assert params_of(ROUTE, wishes) == ({"seed": 7}, {"seed": "rerun"})


def test_mended_settings_count_for_a_job_that_still_waits() -> None:
    wishes = Wishes().over({"seed": 1}, TICKET)
    mended = dataclasses.replace(ROUTE, params={"prompt": "ink"})
    assert params_of(mended, wishes)[0] == {"prompt": "ink", "seed": 1}


def test_a_matrix_is_every_combination_in_the_order_of_the_settings() -> None:
    matrix: dict[str, tuple[Scalar, ...]] = {"seed": (1, 2), "style": ("oil", "ink")}
    assert combinations(matrix, {}) == [
        {"seed": 1, "style": "oil"}, {"seed": 1, "style": "ink"},
        {"seed": 2, "style": "oil"}, {"seed": 2, "style": "ink"},
    ]  # fmt: skip
    assert combinations(matrix, {"seed": 9}) == [{"style": "oil"}, {"style": "ink"}]
    assert combinations({}, {}) == [{}]


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"seed": 1}, "seed-1"),
        ({"3.seed": 1, "hires": True}, "seed-1_hires-true"),
        ({"style": "a/b"}, "style-a_b"),
        ({"style": "x" * 99}, "style-" + "x" * 34),
        ({}, ""),
    ],
)
def test_a_combination_is_told_in_a_name(chosen: dict[str, int | str | bool], told: str) -> None:
    assert label(chosen) == told


@given(
    st.dictionaries(st.text(), st.text() | st.integers() | st.booleans()),
    st.lists(st.text()), st.none() | st.text(min_size=1), st.booleans(),
)  # fmt: skip
def test_wishes_survive_the_ledger(
    params: dict[str, str | int | bool], notes: list[str], version: str | None, whole: bool
) -> None:
    wishes = Wishes(params, dict.fromkeys(params, TICKET), ("a",), None, version, whole, "l", tuple(notes))
    assert Wishes.of_json(json.loads(json.dumps(wishes.as_json()))) == wishes
    assert Wishes.of_json(None) == Wishes()
