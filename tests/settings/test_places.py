"""Folders: an inbox stands apart from every other folder, and a share that was there before is only offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.settings.conftest import Place


def route(name: str, **folders: str) -> str:
    keys = "".join(f'{key} = "{value}"\n' for key, value in folders.items())
    return f'[routes.{name}]\n{keys}workflow_id = "1"\nclusters = ["A"]\ninputs = {{ a = "any" }}\n'


def test_an_inbox_is_compared_where_its_links_lead(place: Place) -> None:
    (place.root / "link").symlink_to("portrait")
    problems = place.problems(place.ROUTE + route("b", folder="link"))
    assert list(problems) == ["routes.b.folder"]
    assert "is also the inbox" in problems["routes.b.folder"]


def test_an_outbox_that_is_anothers_inbox_is_a_chain_and_chains_are_not_built(place: Place) -> None:
    (place.root / "portrait/outbox").mkdir()
    [(key, message)] = place.problems(place.ROUTE + route("b", folder="dance", inbox="portrait/outbox")).items()
    assert key == "routes.b.inbox"
    assert 'is also the outbox folder of route "portrait"' in message
    assert "chained routes are not supported by this version" in message
    assert "cycle" not in message


def test_a_cycle_of_routes_says_so(place: Place) -> None:
    for name in ("x", "y", "z"):
        (place.root / name).mkdir()
    text = (
        route("a", folder="portrait", inbox="x", outbox="y")
        + route("b", folder="dance", inbox="y", outbox="z")
        + route("c", folder="home", inbox="z", outbox="x")
    )
    problems = place.problems(text)
    assert set(problems) == {"routes.a.inbox", "routes.b.inbox", "routes.c.inbox"}
    assert all("is a cycle" in message for message in problems.values())
    assert "b → c → a → b is a cycle" in problems["routes.b.inbox"]


def test_an_inbox_that_is_its_own_outbox_is_a_cycle(place: Place) -> None:
    [(key, message)] = place.problems(route("a", folder="portrait", inbox="dance", outbox="dance")).items()
    assert key == "routes.a.inbox"
    assert "is also its own outbox" in message
    assert "cycle" in message


def test_nested_folders_are_refused_both_ways(place: Place) -> None:
    inside = place.problems(place.ROUTE + route("b", folder="portrait/inbox"))
    assert 'the inbox folder of route "b"' in inside["routes.portrait.folder"]
    holds = place.problems(route("a", folder="portrait", inbox="portrait"))
    assert "holds its own outbox" in holds["routes.a.inbox"]
    (place.root / "portrait/done").mkdir()
    done = place.problems(place.ROUTE + route("b", folder="dance", inbox="portrait/done"))
    assert 'is also the done folder of route "portrait"' in done["routes.b.inbox"]


def test_routes_may_share_an_outbox(place: Place) -> None:
    both = route("a", folder="portrait", outbox="home") + route("b", folder="dance", outbox="home")
    assert len(place.load(both).routes) == 2


def test_a_neighbour_whose_name_begins_alike_is_no_nested_folder(place: Place) -> None:
    (place.root / "portrait/inbox2").mkdir()
    assert len(place.load(place.ROUTE + route("b", folder="dance", inbox="portrait/inbox2")).routes) == 2


def test_an_inbox_that_was_there_before_is_offline_and_no_problem(place: Place) -> None:
    text = place.ROUTE + route("b", folder="nas/b") + route("c", folder="nas/c")
    asked: list[Path] = []

    def known(state_dir: Path) -> list[Path]:
        asked.append(state_dir)
        return [place.root / "nas/b/inbox"]

    assert set(place.problems(text, known_inboxes=known)) == {"routes.c.folder"}
    assert len(place.load(place.ROUTE + route("b", folder="nas/b"), known_inboxes=known).routes) == 2
    assert {state_dir.name for state_dir in asked} == {"renderdrop"}


def test_a_link_that_leads_in_a_circle_is_told(place: Place) -> None:
    (place.root / "loop").symlink_to("loop")
    assert "cannot be reached" in place.problems(route("a", folder="loop"))["routes.a.folder"]
