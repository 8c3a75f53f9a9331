"""Durations and sizes: what is written is what is meant, and anything else is refused with the right form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.model.units import seconds, size, spoken, spoken_size


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (0, 0.0), (90, 90.0), (0.5, 0.5), ("90", 90.0), ("90s", 90.0), ("10m", 600.0), ("2h", 7200.0), ("1d", 86400.0),
        ("250ms", 0.25), ("1.5h", 5400.0), (" 10 M ", 600.0), ("0", 0.0),
    ],
)  # fmt: skip
def test_a_duration_is_seconds_or_a_number_with_its_unit(written: object, meant: float) -> None:
    assert seconds(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (0, 0), (512, 512), ("512", 512), ("512B", 512), ("8GB", 8 * 10**9), ("8GiB", 8 * 2**30), ("1.5 kB", 1500),
        ("800mb", 800 * 10**6), ("2TiB", 2 * 2**40),
    ],
)  # fmt: skip
def test_a_size_is_bytes_or_a_number_with_its_unit(written: object, meant: int) -> None:
    assert size(written) == meant


WRONG: list[object] = ["", "soon", "10 x", "-1s", "1e3s", "5 minutes", "10m 5s", None, True, [], -1, "9" * 400]


@pytest.mark.parametrize("written", [*WRONG, float("inf"), float("nan"), "10MB"], ids=ascii)
def test_what_is_no_duration_is_refused_with_the_right_form(written: object) -> None:
    with pytest.raises(ValueError, match='"10m"'):
        seconds(written)


@pytest.mark.parametrize("written", [*WRONG, 1.5, "10 m", "8 G"], ids=ascii)
def test_what_is_no_size_is_refused_with_the_right_form(written: object) -> None:
    with pytest.raises(ValueError, match='"8GB"'):
        size(written)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none()))
def test_whatever_is_written_gives_a_number_or_one_kind_of_error(written: object) -> None:
    for read in (seconds, size):
        try:
            assert 0 <= read(written) < float("inf")
        except ValueError:
            pass


@pytest.mark.parametrize(
    ("duration", "words"),
    [(0, "0 s"), (8.4, "8 s"), (89, "89 s"), (90, "2 min"), (720, "12 min"), (5400, "1 h 30 min"), (7200, "2 h")],
)
def test_a_duration_is_spoken_in_the_unit_that_fits(duration: float, words: str) -> None:
    assert spoken(duration) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (812, "812 B"), (3_400_000, "3.4 MB"), (8e9, "8.0 GB"), (10**12, "1.0 TB"), (5 * 10**15, "5000.0 TB")],
)
def test_a_size_is_spoken_in_the_unit_that_fits(count: float, words: str) -> None:
    assert spoken_size(count) == words
