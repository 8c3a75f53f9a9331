"""The rig as fixtures: `platform`, `share`, `daemon`, `store`, and a failed test shows the end of the daemon's log."""

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.rig.daemon import Daemon
from tests.rig.platform import Platform
from tests.rig.share import Share
from tests.rig.store import Store

__all__ = ["build", "daemon", "new_share", "platform", "pytest_runtest_makereport", "share", "store"]

_DAEMON = pytest.StashKey[Daemon]()


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., Platform]]:
    """Makes a platform with these options of the sandbox."""
    made: list[Platform] = []

    def make(**options: Any) -> Platform:
        made.append(Platform(tmp_path / "platform", **options))
        return made[-1]

    yield make
    for platform in made:
        platform.stop()


@pytest.fixture
def platform(build: Callable[..., Platform], request: pytest.FixtureRequest) -> Platform:
    """A quick platform; `@pytest.mark.parametrize("platform", [{…}], indirect=True)` gives it other options."""
    return build(**getattr(request, "param", {}))


@pytest.fixture
def share(tmp_path: Path) -> Share:
    """The one route's folders, not made yet but for the one above them."""
    made = Share(tmp_path / "share" / "portrait")
    made.folder.mkdir(parents=True)
    return made


@pytest.fixture
def new_share(tmp_path: Path) -> Callable[[str], Share]:
    """Makes the folders' root of a further route."""

    def make(name: str) -> Share:
        made = Share(tmp_path / "share" / name)
        made.folder.mkdir(parents=True)
        return made

    return make


@pytest.fixture
def daemon(tmp_path: Path, platform: Platform, share: Share, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """The daemon, not started yet."""
    made = Daemon(tmp_path, share, platform.base_url)
    request.node.stash[_DAEMON] = made
    yield made
    made.put_away()


@pytest.fixture
def store(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An S3 server; the daemon's environment has the credentials, and nothing of this machine's own."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    made = Store()
    daemon.environ.update(AWS_ACCESS_KEY_ID=made.key_id, AWS_SECRET_ACCESS_KEY=made.secret)
    yield made
    made.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the end of the daemon's log."""
    report = yield
    if report.failed and (daemon := item.stash.get(_DAEMON, None)) is not None:
        report.sections.append(("the daemon's log", daemon.tail()))
    return report
