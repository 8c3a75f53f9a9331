"""Whatever is dropped, or lies on a share and is read again, becomes a value that can be sent, or one sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st
from tests.torture.fuzzing import ODD, bent, examples, fuzz, long, texts, torn, values
from tests.torture.table import Tally

from renderdrop.cli.earlier import Earlier, changes, read_earlier
from renderdrop.intake.text import LONGEST_ADDRESS, MOST_BYTES, read_link, read_text
from renderdrop.intake.ticket import apply, read_ticket, spread
from renderdrop.model import sidecar
from renderdrop.model.errors import Fault
from renderdrop.model.job import Job, Level, Outcome, Output, Remark, Source, Submission, Times
from renderdrop.model.lifecycle import State
from renderdrop.model.names import shown
from renderdrop.model.route import Input, Model, Route
from renderdrop.model.wishes import TICKET, Wishes, label, params_of
from renderdrop.platform.graph_json import read_graph, with_values

Count = Callable[[str], Tally]

_COMMON: Final[dict[str, Any]] = {
    "inbox": Path("/i"), "outbox": Path("/o"), "done": Path("/d"), "failed": Path("/f"), "version_id": None,
    "after": "move", "priority": 0, "attempts": 3, "silence": 1.0, "on_unknown_submit": "hold",
    "output_name": "{stem}", "max_output": 10,
}  # fmt: skip
APP: Final = Route(
    name="app", kind="app", workflow_id="1", clusters=("GPU-4090", "GPU-A800"), inputs=(Input("input_image", "image"),),
    params={"prompt": "oil", "strength": 0.5, "seed": 1, "tiled": True}, matrix={"style": ("ink", "oil")},
    params_allowed=("prompt", "strength", "seed", "tiled", "style", "free"), **_COMMON,
)  # fmt: skip
MODEL: Final = Route(
    name="model", kind="model", workflow_id="g/m", clusters=(), inputs=(Input("images", "image"), Input("prompt",
    "text")),
    params={"config": {"size": [1, 2]}, "n": None}, params_allowed=("config", "n", "prompt", "images"),
    model=Model("google", "m", "image2image"), **_COMMON,
)  # fmt: skip

TICKETS: Final = (
    {"params": {"prompt": "ink", "strength": 1, "seed": 42, "tiled": False, "style": "oil"}, "priority": 10},
    {"clusters": ["GPU-A800"], "version_id": 7, "params": {"free": "x"}},
    {"params": {"config": {"size": [3, 4]}, "images": ["https://a.example.com/x.png"], "prompt": "水墨"}},
)
_TOML: Final = (
    'clusters = ["GPU-A800"]\nversion_id = 7\n[params]\nprompt = "ink"\nseed = 42\n',
    '[params]\nconfig.size = [1, 2]\nimages = "https://a.example.com/x.png"\n',
    "priority = -3\nparams = { prompt = '''\na\n''', strength = 1e3, tiled = true }\n",
)
_LINES: Final = (
    "[params]", "[[params]]", "[params.a]", "prompt = ", "seed = ", "= 1", "9" * 5000, "0x" + "f" * 5000, "1e999",
    "nan",
    "2026-11-22T14:18:00Z", "25:61:61", '"""', "'''", '"\\ud800"', '"\\U00110000"', "[" * 300, "{a=" * 300,
    "a." * 300 + "a = 1",
    '"a.b" = 1', "# \x00", "\x7f", "priority = 1e6", "clusters = [[]]", "params = []", "\r", "version_id = true",
)  # fmt: skip
_toml: Final = st.builds(
    lambda lines, tail: "\n".join([*lines, tail]).encode("utf-8", "replace"),
    st.lists(st.one_of(st.sampled_from(_TOML), st.sampled_from(_LINES), texts), max_size=5),
    st.sampled_from(["", *_TOML]),
)


def _wishes_of(data: bytes, name: str, route: Route) -> tuple[Wishes, ...]:
    wishes, _ = apply(route, [(TICKET, name, read_ticket(name, data))])
    return spread(route, wishes)


def check_wishes(given: Any, found: tuple[Wishes, ...]) -> None:
    """All of it can be kept, sent and told."""
    for wishes in found:
        kept = Wishes.of_json(json.loads(json.dumps(wishes.as_json(), allow_nan=False)))
        assert kept.params == wishes.params
        json.dumps(params_of(APP, wishes)[0], ensure_ascii=False, allow_nan=False).encode()
        assert set(wishes.clusters) <= {"GPU-4090", "GPU-A800"}
        assert "/" not in wishes.label


def test_any_ticket_is_wishes_that_can_be_sent_or_one_sentence(tally: Count) -> None:
    as_json = bent(TICKETS).map(lambda found: json.dumps(found).encode())
    fuzz(
        tally("fuzz: tickets"),
        st.tuples(torn(st.one_of(as_json, _toml)), st.sampled_from(["a.png.job.json", "a.png.job.toml"]),
                  st.sampled_from([APP, MODEL])),
        lambda one: _wishes_of(*one),
        examples(200, 5000),
        check_wishes,
    )  # fmt: skip


def test_a_ticket_as_long_as_is_taken_is_read_in_time(tally: Count) -> None:
    pieces = ["a.", '"a".', "'a'. ", "[", "]", "{a=", "}", ",", "\n", "a=1\n", "[a]\n", "[[a]]\n", "[a.b]\n", '"',
    '"""', "'", "'''",
              "\\", "#", "0", " ", "=", "a", "_", "\\n", "{", '"a":', "1,"]  # fmt: skip
    fuzz(
        tally("fuzz: tickets"),
        st.tuples(
            long(pieces, MOST_BYTES - 40).map(str.encode), st.sampled_from(["a.png.job.json", "a.png.job.toml"]),
            st.just(APP),
        ),
        lambda one: _wishes_of(*one),
        examples(15, 250),
        check_wishes,
    )  # fmt: skip


def test_any_text_is_plain_text_and_any_link_one_web_address_or_it_is_one_sentence(tally: Count) -> None:
    def check(_: bytes, found: tuple[str, str | None]) -> None:
        text, note = found
        text.encode()
        assert text == text.rstrip()
        assert "\0" not in text
        assert "\r" not in text
        assert note is None or note.startswith("a.txt")

    def check_link(_: bytes, url: str) -> None:
        assert url.isascii() or url.encode()
        assert len(url) <= LONGEST_ADDRESS
        assert url.lower().startswith(("http://", "https://"))
        assert not any(char.isspace() for char in url)

    texts_of_all_kinds = st.one_of(
        st.binary(max_size=60), torn(texts.map(lambda t: t.encode("utf-8", "replace"))),
        torn(st.sampled_from(["画一只猫,水墨风格。\r\n再来一只", "a cat", "한국어", "Ünïcödé"]).map(str.encode)),
        long(["猫", "a", " ", "\r\n", "\x00", "é"], 60_000).map(lambda t: t.encode("gbk", "replace")),
    )  # fmt: skip
    fuzz(tally("fuzz: texts and links"), texts_of_all_kinds, lambda data: read_text("a.txt", data),
         examples(100, 2500), check)  # fmt: skip
    pieces = [
        "[InternetShortcut]\r\n",
        "URL=",
        "url =",
        " ",
        "\t",
        "=",
        "https://a.example.com/x.png",
        "\n",
        "[",
        "x",
        "\x85",
        "://",
        *ODD,
    ]
    links = st.lists(st.sampled_from(pieces), max_size=6).map("".join)
    fuzz(
        tally("fuzz: texts and links"),
        st.one_of(torn(links.map(lambda t: t.encode("utf-8", "replace"))),
                  long(pieces[:11], 60_000).map(lambda t: ("[InternetShortcut]\nURL=" + t).encode())),
        lambda data: read_link("a.url", data),
        examples(100, 2500),
        check_link,
    )  # fmt: skip


SIDECAR: Final = json.loads(
    sidecar.write(
        Job(
            "0abcdefghjkmnpqr", "app", "app", State.DELIVERED, 0, 0, "1", None, {"prompt": "oil", "seed": 7},
            "GPU-4090", "230",
            True, "success", 100.0, None, None, "a", "2026-11-22T14:18:00.000Z", "2026-11-22T14:18:00.000Z",
            Times("2026-11-22T14:18:00.000Z"),
            (Source("input_image", "sub/a.png", 3, 5, "0" * 64),),
            (Output(0, "9", "Save", "https://x/a.png", "a.png", 3, "0" * 64, "image/png", True),),
            (Remark(Level.WARNING, "w", "9", "Save"),),
            (Submission(1, "2026-11-22T14:18:00.000Z", "GPU-4090", "230", Outcome.ACCEPTED, "", True),),
        ),
        success=True,
    )
)  # fmt: skip


def test_any_sidecar_that_comes_back_is_an_earlier_job_or_one_sentence(tally: Count) -> None:
    def read(one: tuple[bytes, list[str]]) -> Earlier:
        data, wanted = one
        belongs = sidecar.belongs_to(data)
        assert belongs is None or isinstance(belongs, str)
        told = sidecar.notice_of(data)
        assert told is None or told == belongs
        earlier = read_earlier("a.json", data)
        changes(earlier.params, wanted, {"input_image": "it is a file"})
        return earlier

    def check(_: Any, found: Earlier) -> None:
        json.dumps(found.params, ensure_ascii=False, allow_nan=False).encode()
        assert found.sources

    documents = bent([SIDECAR], most=3).map(lambda found: json.dumps(found).encode())
    sets = st.lists(
        st.one_of(texts, st.builds("{}={}".format, st.sampled_from(["seed", "prompt", "new"]), texts)), max_size=2
    )
    fuzz(tally("fuzz: sidecars"), st.tuples(torn(documents), sets), read, examples(100, 2500), check)
    pieces = ['{"a":', "[", "]", "}", '"params":{', "1,", '"', "\\ud800", " "]
    big = long(pieces, examples(100_000, 4_000_000)).map(lambda t: f'{{"schema":"{sidecar.SCHEMA}",{t}'.encode())
    fuzz(tally("fuzz: sidecars"), st.tuples(big, st.just([])), read, examples(5, 50), check)


_GRAPH: Final = {
    "73": {"class_type": "LoadImage", "inputs": {"image": "a.png", "images.image0": 1}, "_meta": {"title": "图"}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["73", 0]}},
}


def test_any_graph_can_be_filled_and_sent_or_it_is_one_sentence(tally: Count) -> None:
    def read(one: tuple[bytes, str, Any]) -> dict[str, Any]:
        data, key, value = one
        try:
            graph = read_graph(data)
            return with_values(graph, {key: value})
        except ValueError as error:  # the sentence of this room, which its callers make a fault of their own
            raise Fault(str(error)) from None

    def check(_: Any, found: dict[str, Any]) -> None:
        json.dumps(found)

    documents = bent([_GRAPH, {"prompt": _GRAPH}, {"nodes": [], "links": []}]).map(
        lambda found: json.dumps(found).encode()
    )
    keys = st.one_of(st.sampled_from(["73.image", "73.images.image0", "9.images", "73", ".", "73.", "..image"]), texts)
    fuzz(tally("fuzz: graphs"), st.tuples(torn(documents), keys, values), read, examples(100, 2500), check)
    big = long(['{"1":', "[", "]", "}", '{"class_type":"x","inputs":{}}', ",", "."], examples(100_000, 4_000_000)).map(
        str.encode
    )
    fuzz(tally("fuzz: graphs"), st.tuples(big, st.just("1.a"), st.none()), read, examples(5, 50), check)


def test_any_combination_has_a_label_that_can_stand_in_a_name(tally: Count) -> None:
    def check(_: Any, found: str) -> None:
        assert "/" not in found
        assert shown(found) == found

    scalars = st.one_of(texts, st.integers(), st.floats(), st.booleans())
    fuzz(tally("fuzz: names"), st.dictionaries(texts, scalars, max_size=3), label, examples(60, 1250), check)
