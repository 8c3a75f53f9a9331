"""The hours of the day: over midnight, in the nights in which the clocks change, and wherever the wall is."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderdrop.model.hours import Hours, Wall, hours, next_day, opening, spoken

BERLIN, SHANGHAI = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Shanghai")
ZONES = (BERLIN, SHANGHAI, ZoneInfo("America/Havana"), ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Asia/Kathmandu"))


def wall(zone: ZoneInfo) -> Wall:
    return lambda at: at.astimezone(zone)


def at(local: str, zone: ZoneInfo, fold: int = 0) -> datetime:
    return datetime.fromisoformat(local).replace(tzinfo=zone, fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("22:00-08:00", Hours(1320, 480)),
        (" 9:05 - 17:30 ", Hours(545, 1050)),
        ("00:00-24:00", Hours(0, 1440)),
        ("18:00-24:00", Hours(1080, 1440)),
        ("22:00\N{EN DASH}08:00", Hours(1320, 480)),
    ],
)
def test_hours_are_read_as_people_write_them(text: str, found: Hours) -> None:
    assert hours(text) == found
    assert hours(str(found)) == found


@pytest.mark.parametrize(
    "text",
    ["", "22:00", "25:00-08:00", "22:60-08:00", "24:00-08:00", "08:00-24:01", "8-17", "22:00-22:00", 22, None, []],
)
def test_what_names_no_hours_is_refused_with_the_right_form(text: object) -> None:
    with pytest.raises(ValueError, match=r"22:00-08:00|two times that differ"):
        hours(text)


@pytest.mark.parametrize(
    ("now", "when", "opens"),
    [
        ("2026-11-22 21:59:59", "22:00-08:00", "2026-11-22 22:00"),
        ("2026-11-22 22:00:00", "22:00-08:00", None),
        ("2026-11-23 00:00:00", "22:00-08:00", None),
        ("2026-11-23 07:59:59", "22:00-08:00", None),
        ("2026-11-23 08:00:00", "22:00-08:00", "2026-11-23 22:00"),
        ("2026-11-22 08:59:30", "09:00-17:00", "2026-11-22 09:00"),
        ("2026-11-22 17:00:00", "09:00-17:00", "2026-11-23 09:00"),
        ("2026-11-22 23:59:59", "18:00-24:00", None),
        ("2026-11-23 00:00:00", "18:00-24:00", "2026-11-23 18:00"),
        # 29 March: the clocks go from 02:00 to 03:00.
        ("2026-03-29 01:59:00", "02:30-05:00", "2026-03-29 03:00"),
        ("2026-03-29 01:00:00", "02:00-03:00", "2026-03-30 02:00"),
        ("2026-03-29 01:59:00", "03:01-03:02", "2026-03-29 03:01"),
        ("2026-03-29 03:00:00", "22:00-02:30", "2026-03-29 22:00"),
    ],
)
def test_they_open_when_the_clock_on_the_wall_says_so(now: str, when: str, opens: str | None) -> None:
    found = opening(at(now, BERLIN), [hours(when)], wall(BERLIN))
    assert found == (None if opens is None else at(opens, BERLIN))


def test_an_hour_that_the_night_has_twice_counts_twice() -> None:
    when = [hours("02:30-02:45")]
    first, second = (at("2026-10-25 02:30", BERLIN, fold) for fold in (0, 1))
    assert second - first == timedelta(hours=1)
    assert opening(at("2026-10-25 01:00", BERLIN), when, wall(BERLIN)) == first
    assert opening(first + timedelta(minutes=15), when, wall(BERLIN)) == second
    assert opening(second + timedelta(minutes=15), when, wall(BERLIN)) == at("2026-10-26 02:30", BERLIN)


def test_of_several_the_next_counts_and_none_means_always() -> None:
    now = at("2026-11-22 13:00", SHANGHAI)
    assert opening(now, [hours("22:00-08:00"), hours("15:07-15:30")], wall(SHANGHAI)) == at(
        "2026-11-22 15:07", SHANGHAI
    )
    assert opening(now, [hours("22:00-08:00"), hours("12:00-14:00")], wall(SHANGHAI)) is None
    assert opening(now, [], wall(SHANGHAI)) is None


minutes = st.integers(0, 24 * 60 - 1)
moments = st.integers(0, 2 * 365 * 86400).map(lambda s: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=s))
some_hours = st.lists(st.builds(Hours, minutes, minutes).filter(lambda one: one.opens != one.closes), max_size=3)


@given(moments, some_hours, st.sampled_from(ZONES))
def test_nothing_opens_before_and_everything_at_that_moment(now: datetime, when: list[Hours], zone: ZoneInfo) -> None:
    def is_open(moment: datetime) -> bool:
        return not when or any(one.hold(moment.astimezone(zone).time()) for one in when)

    found = opening(now, when, wall(zone))
    assert (found is None) == is_open(now)
    if found is not None:
        assert is_open(found)
        assert now < found <= now + timedelta(hours=50)
        minute = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        while minute < found:
            assert not is_open(minute)
            minute += timedelta(minutes=1)


@given(moments, st.sampled_from(ZONES))
def test_the_next_day_begins_when_the_wall_shows_its_date_first(now: datetime, zone: ZoneInfo) -> None:
    found = next_day(now, wall(zone))
    assert found.astimezone(zone).date() > now.astimezone(zone).date()
    assert (found - timedelta(seconds=1)).astimezone(zone).date() == now.astimezone(zone).date()


@pytest.mark.parametrize(
    ("ahead", "said"),
    [(timedelta(hours=9), "22:00"), (timedelta(hours=24), "13:00"), (timedelta(hours=25), "2026-11-23 14:00")],
)
def test_a_moment_is_said_as_people_say_it(ahead: timedelta, said: str) -> None:
    now = at("2026-11-22 13:00", SHANGHAI)
    assert spoken(now + ahead, now, wall(SHANGHAI)) == said


def test_a_zone_of_odd_seconds_is_a_zone_too() -> None:
    from datetime import timezone

    odd: Callable[[datetime], datetime] = lambda moment: moment.astimezone(timezone(timedelta(hours=3, seconds=17)))  # noqa: E731
    now = datetime(2026, 11, 22, 18, 59, 40, tzinfo=UTC)
    assert opening(now, [hours("22:00-08:00")], odd) == datetime(2026, 11, 22, 18, 59, 43, tzinfo=UTC)
