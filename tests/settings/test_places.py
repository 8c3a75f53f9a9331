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


def test_an_outbox_that_is_anothers_inbox_is_a_chain(place: Place) -> None:
    (place.root / "link").symlink_to("portrait")
    text = (
        place.ROUTE + route("b", folder="dance", inbox="link/outbox") + route("c", folder="home", outbox="link/outbox")
    )
    first, second, third = place.load(text).routes
    assert (first.feeds, first.fed_by) == ("b", ())
    assert (second.feeds, second.fed_by) == (None, ("portrait", "c"))
    assert (third.feeds, third.fed_by) == ("b", ())


def test_the_inbox_in_a_chain_may_be_missing_where_people_drop_it_may_not(place: Place) -> None:
    fed = route("a", folder="portrait", outbox="dance/new") + route("b", folder="home", inbox="dance/new")
    assert len(place.load(fed).routes) == 2
    assert "dance/new does not exist" in str(place.problems(route("b", folder="home", inbox="dance/new")))
    parent = fed.replace("dance/new", "nowhere/new")
    assert set(place.problems(parent)) == {"routes.a.outbox", "routes.b.inbox"}


def test_a_route_that_is_not_enabled_is_in_no_chain(place: Place) -> None:
    text = place.ROUTE + route("b", folder="dance", inbox="portrait/outbox") + "enabled = false\n"
    assert place.load(text).routes[0].feeds is None


def test_an_outbox_around_or_within_anothers_inbox_is_no_chain(place: Place) -> None:
    around = place.problems(route("a", folder="portrait", outbox="dance") + route("b", folder="dance"))
    assert 'lies inside the outbox folder of route "a"; to chain the routes' in around["routes.b.folder"]
    within = place.problems(route("a", folder="portrait", outbox="dance/inbox/x") + route("b", folder="dance"))
    assert 'holds the outbox folder of route "a"; to chain the routes' in within["routes.b.folder"]


def test_a_cycle_of_routes_is_told_once_and_names_them_all(place: Place) -> None:
    for name in ("v", "x", "y", "z"):
        (place.root / name).mkdir()
    text = (
        route("d", folder="home", inbox="v", outbox="y")
        + route("a", folder="portrait", inbox="x", outbox="y")
        + route("b", folder="dance", inbox="y", outbox="z")
        + route("c", folder="home", inbox="z", outbox="x")
    )
    [(key, message)] = place.problems(text).items()
    assert key == "routes.b.inbox"
    assert "the routes b → c → a → b are a cycle" in message
    assert "another outbox" in message
    assert len(place.load(text.replace('outbox = "x"', 'outbox = "home/x"')).routes) == 4


def test_two_cycles_are_two_problems(place: Place) -> None:
    for name in ("w", "x", "y", "z"):
        (place.root / name).mkdir()
    pairs = (("a", "w", "x"), ("b", "x", "w"), ("c", "y", "z"), ("d", "z", "y"))
    text = "".join(route(name, folder="home", inbox=inbox, outbox=outbox) for name, inbox, outbox in pairs)
    assert set(place.problems(text)) == {"routes.a.inbox", "routes.c.inbox"}


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
