"""Whatever a thing is called, what it is called by us is a bare name that every share takes and that nobody has."""

import unicodedata
from collections.abc import Callable
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, Final

from hypothesis import strategies as st
from tests.torture.fuzzing import ODD, ended, examples, fuzz, long, texts
from tests.torture.table import Tally

from renderdrop.delivery.naming import alike, base_name, free_to_store, output_extension, plan
from renderdrop.model.media import extension, media_type, takes
from renderdrop.model.names import clean, cut, fold, harmless, notices, numbered, shown, split_ext, ticket_of
from renderdrop.platform.multipart import FilePart, Multipart

Count = Callable[[str], Tally]

_RESERVED: Final = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in "123456789¹²³")}
_UGLY: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_PIECES: Final = (
    "a", ".", " ", "..", "/", "\\", "\0", "\n", "\u202e", "\u200b", "\u200d", "\ufeff", "\u3000", "\x85", "con",
    "COM1", "lpt¹",
    "nul", ".png", ".tar.gz", "图", "e\u0301", "𝕏", "~", ":", "*", "?", '"', "<", ">", "|", "-2", ".job.toml",
    "." * 70, "x" * 260,
    "\ud800", "\udcff",
)  # fmt: skip
names: Final = st.one_of(texts, st.lists(st.sampled_from(_PIECES), max_size=8).map("".join), st.sampled_from(ODD))
dropped: Final = st.one_of(
    st.binary(min_size=1, max_size=255).map(lambda b: b.replace(b"/", b"_").replace(b"\0", b"0")),
    names.map(lambda n: n.encode("utf-8", "replace").replace(b"/", b"_").replace(b"\0", b"0")[:255] or b"x"),
).map(lambda b: b.decode("utf-8", "surrogateescape")).filter(lambda n: n not in (".", ".."))  # fmt: skip
"""Bare names that a file system can hold, byte for byte: what people drop."""


def length(name: str) -> int:
    return len(name.encode("utf-8", "surrogateescape"))


def is_bare(name: str) -> bool:
    return bool(name) and name not in (".", "..") and not {"/", "\0"} & set(name) and length(name) <= 255


def check_clean(_: Any, name: str) -> None:
    assert is_bare(name)
    name.encode()
    assert not any(unicodedata.category(c) in _UGLY and c != "\u200d" for c in name)
    assert not set(name) & set('\\:*?"<>|')
    assert name == name.strip()
    assert not name.startswith(".")
    assert not name.endswith(".")
    assert name.split(".")[0].strip().casefold() not in _RESERVED


def test_a_cleaned_name_is_bare_and_safe_on_every_system(tally: Count) -> None:
    count = tally("fuzz: names")
    fuzz(count, names, clean, examples(200, 8000), check_clean)
    pieces = [" ", ".", "\u3000", "a", "\u202e", "/", ". ", "图", "\n", "con"]
    fuzz(count, long(pieces, examples(50_000, 1_000_000)), clean, examples(10, 60), check_clean)


def test_what_is_shown_is_one_plain_line(tally: Count) -> None:
    def check(_: str, found: str) -> None:
        found.encode()
        assert not any(unicodedata.category(c) in _UGLY and c != "\u200d" for c in found)
        assert len(found.splitlines()) <= 1

    fuzz(tally("fuzz: names"), names, shown, examples(60, 1000), check)
    fuzz(tally("fuzz: names"), names, harmless, examples(20, 400))


def test_numbered_and_cut_names_and_their_notices_fit_and_differ(tally: Count) -> None:
    def read(one: tuple[str, int, str]) -> tuple[str, ...]:
        name, n, _ = one
        assert takes(("*.png", "[!a]*"), name) in (True, False)
        assert media_type(name)
        assert fold(fold(name)) == fold(name)
        assert "".join(split_ext(name)) == name
        ticket_of(name)
        return (numbered(name, n), *notices(name), cut(name, ".json"))

    def check(one: tuple[str, int, str], found: tuple[str, ...]) -> None:
        assert all(is_bare(name) for name in found)
        assert len(set(found[1:3])) == 2
        assert one[1] < 2 or found[0] != numbered(one[0], one[1] + 1)

    fuzz(tally("fuzz: names"), st.tuples(dropped, st.integers(1, 10_000), dropped), read, examples(100, 2000), check)


def test_what_a_delivery_is_called_is_free_and_fits(tally: Count) -> None:
    def read(one: dict[str, Any]) -> tuple[Any, list[str], set[str]]:
        base = base_name(one["pattern"], stem=split_ext(one["name"])[0], route="portrait", job="0" * 16,
        task=one["task"],
                         date="2026-11-22", workflow=one["workflow"], label=one["label"])  # fmt: skip
        extensions = [output_extension(url, media) for url, media in one["outputs"]]
        first = plan(base, extensions, outbox=(), done=())
        taken = [*one["taken"], *first.files, first.sidecar, one["name"]][: one["crowd"]]
        assert {fold(n) for n in alike(base, taken)} <= {fold(n) for n in taken}
        made = plan(
            base, extensions, sources=[one["name"]], outbox=taken, done=taken, reserved=[first.base][: one["crowd"]]
        )
        stored = free_to_store([one["name"]], taken)
        return made, stored, {fold(n) for n in taken}

    def check(one: Any, found: tuple[Any, list[str], set[str]]) -> None:
        made, stored, taken = found
        every = [*made.files, made.sidecar]
        assert all(is_bare(name) for name in [*every, *stored])
        assert len({fold(name) for name in every}) == len(every)
        assert not {fold(name) for name in [*every, *stored, *(n for s in stored for n in notices(s))]} & taken

    outputs = st.lists(
        st.tuples(
            st.one_of(texts.map("https://x/api/view?filename={}".format), texts, names.map("https://x/{}".format)),
            st.one_of(st.none(), st.sampled_from(["image/png", "application/json", "x/y"]), texts),
        ),
        max_size=4,
    )
    fuzz(
        tally("fuzz: names"),
        st.fixed_dictionaries(
            {
                "pattern": st.sampled_from(["{stem}", "{stem}_{task}", "{workflow}-{date}", "{route}", "{task}",
                "x.{job}"]),
                "name": dropped, "task": names, "workflow": names, "label": st.sampled_from(["", "seed-1", "s" * 40]),
                "outputs": outputs, "taken": st.lists(dropped, max_size=4), "crowd": st.integers(0, 9),
            }
        ),
        read,
        examples(60, 1600),
        check,
    )  # fmt: skip


def test_an_extension_comes_from_a_list_of_ours_or_is_short_and_plain(tally: Count) -> None:
    def check(_: Any, found: str) -> None:
        assert found == "" or (found[0] == "." and found[1:].isascii() and found[1:].isalnum() and len(found) < 12)

    urls = st.one_of(
        st.tuples(names.map("https://x/api/view?type=output&filename={}".format), texts),
        st.tuples(long(["a", "&filename=", "%", ".", "/", "=", ";", "%2e"], 8000), st.none()),
    )
    fuzz(tally("fuzz: names"), urls, lambda one: output_extension(*one), examples(50, 1000), check)
    fuzz(tally("fuzz: names"), texts, extension, examples(20, 400), check)


def test_a_name_in_a_multipart_form_begins_no_line_and_ends_no_value(tally: Count) -> None:
    async def body(form: Multipart) -> bytes:
        return b"".join([chunk async for chunk in form.body()])

    async def nothing() -> None:
        pass

    async def chunks() -> Any:
        yield b"abc"

    def read(one: tuple[str, str, str]) -> tuple[dict[str, str], bytes]:
        field, value, name = one
        form = Multipart({field: value}, [FilePart(field, name, media_type(name), 3, chunks)], nothing)
        return form.headers, ended(body(form))

    def check(one: tuple[str, str, str], found: tuple[dict[str, str], bytes]) -> None:
        headers, data = found
        assert len(data) == int(headers["Content-Length"])
        head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
        message: Any = BytesParser(policy=HTTP).parsebytes(head + data)
        first, second = message.get_payload()
        assert first.get_payload(decode=True).rstrip(b"\r\n") == one[1].encode().rstrip(b"\r\n")
        assert second.get_payload(decode=True).rstrip(b"\r\n") == b"abc"
        assert data.count(b"Content-Disposition: form-data; name=") == 2 + (one[0] + one[1]).count(
            "Content-Disposition: form-data; name="
        )

    plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    fuzz(
        tally("fuzz: names"),
        st.tuples(
            st.one_of(plain.filter(bool), st.sampled_from(['a"b', "a\r\nX-Y: z", "é", "\\"])),
            st.one_of(plain, st.sampled_from(["--renderdrop", "\r\n\r\n", "\0"])), dropped,
        ),
        read,
        examples(50, 1000),
        check,
    )  # fmt: skip
