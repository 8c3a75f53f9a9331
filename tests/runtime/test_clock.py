"""How an instant is written."""

from datetime import UTC, datetime, timedelta, timezone

from renderdrop.runtime.clock import Clock, written


def test_an_instant_is_written_as_utc_to_the_millisecond_whatever_zone_it_is_told_in() -> None:
    noon = datetime(2026, 11, 22, 12, 0, 0, 5999, UTC)
    assert written(noon) == "2026-11-22T12:00:00.005Z"
    assert written(noon.astimezone(timezone(timedelta(hours=8)))) == "2026-11-22T12:00:00.005Z"


def test_what_the_clock_writes_is_read_back_as_the_same_instant() -> None:
    now = datetime.fromisoformat(Clock().text())
    assert written(now) == written(datetime.fromisoformat(written(now)))
    assert abs(Clock().now() - now) < timedelta(minutes=1)
