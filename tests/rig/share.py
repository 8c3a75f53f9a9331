"""A route's four folders, from the side of the people who use them: what they do there, what they must find there."""

import io
import json
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jsonschema
from PIL import Image
from tests.rig.platform import Platform, digest

from renderdrop.model.sidecar import sidecar_schema

_SCHEMA: Final = jsonschema.Draft202012Validator(sidecar_schema())


class Share:
    """A route's four folders, from the side of the people who use them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inbox, self.outbox = folder / "inbox", folder / "outbox"
        self.done, self.failed = folder / "done", folder / "failed"
        self._pictures = 0

    def picture(self, form: str = "PNG", size: tuple[int, int] = (40, 30)) -> bytes:
        """A small picture that is like no other of this test."""
        self._pictures += 1
        image = Image.linear_gradient("L").resize(size).convert("RGB")
        image.putpixel((0, 0), (self._pictures % 256, self._pictures // 256, 200))
        out = io.BytesIO()
        image.save(out, form)
        return out.getvalue() + self._pictures.to_bytes(4)  # trailing bytes: no two alike, whatever the format loses

    digest = staticmethod(digest)

    def drop(self, path: str, data: bytes | None = None) -> bytes:
        """Put a file into the inbox as a careful program does, by a rename; returns its bytes."""
        data = self.picture("JPEG" if path.lower().endswith((".jpg", ".jpeg")) else "PNG") if data is None else data
        target = self.inbox / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # The name beside the share is fixed: a name as long as a name may be leaves no room for more.
        temporary = self.folder.parent / f".dropping-{threading.get_ident()}"
        temporary.write_bytes(data)
        os.replace(temporary, target)
        return data

    def files(self, root: Path) -> dict[str, Path]:
        """What people see below a folder, by its path there: everything but the daemon's own hidden helpers."""
        found = (Path(at, name) for at, _, names in os.walk(root) for name in names)
        below = {os.path.relpath(path, root): path for path in found}
        return {path: at for path, at in below.items() if not path.startswith(".renderdrop")}

    def staging(self) -> list[str]:
        """What is left of deliveries under way. A probe that a killed daemon left is tidied up an hour later."""
        hidden = self.outbox / ".renderdrop"
        return sorted(name for name in os.listdir(hidden) if "probe" not in name) if hidden.is_dir() else []

    def sidecars(self) -> list[dict[str, Any]]:
        """Every sidecar in the outbox, each checked against the schema; `at` (beside the schema) is its folder."""
        found = []
        for path, at in self.files(self.outbox).items():
            if path.endswith(".json"):
                sidecar = json.loads(at.read_bytes())
                _SCHEMA.validate(sidecar)
                found.append({**sidecar, "at": at.parent, "base": at.name.removesuffix(".json")})
        return found

    def sidecar(self, source: str) -> dict[str, Any]:
        """The one sidecar of the source of this path."""
        [sidecar] = [s for s in self.sidecars() if s["sources"][0]["path"] == source]
        return sidecar

    def told(self, failed: str) -> tuple[str, dict[str, Any]]:
        """What is said in failed/ of what lies there under this path: the text, and the sidecar, checked."""
        sidecar = json.loads((self.failed / f"{failed}.error.json").read_bytes())
        _SCHEMA.validate(sidecar)
        assert (sidecar["status"], sidecar["outputs"]) == ("fail", [])
        return (self.failed / f"{failed}.error.txt").read_text(), sidecar

    def at_rest(self, done: int, failed: int = 0) -> bool:
        """Whether so many sources lie in done/ and failed/, none in the inbox, and nothing is under way."""
        told = [path for path in self.files(self.failed) if path.endswith(".error.txt")]
        return (
            len(self.files(self.done)) == done
            and len(told) == failed
            and not self.files(self.inbox)
            and not self.staging()
        )

    def check_whole(self, platform: Platform) -> None:
        """Nothing under a final name is partial or unexplained: every file is what the platform rendered, byte for
        byte, and is told by exactly one sidecar."""
        rendered = {out["sha256"] for task in platform.tasks() for out in task["outputs"]}
        told: dict[Path, dict[str, Any]] = {}
        for sidecar in self.sidecars():
            told[sidecar["at"] / f"{sidecar['base']}.json"] = {}
            for output in sidecar["outputs"]:
                path = sidecar["at"] / _as_told(output["file"])
                assert path not in told
                told[path] = output
        assert set(self.files(self.outbox).values()) == told.keys()
        for path, output in told.items():
            if output:
                assert (digest(path), path.stat().st_size) == (output["sha256"], output["size"])
                assert output["sha256"] in rendered

    def check_unbroken(self, platform: Platform) -> None:
        """In the middle of everything: what bears a final name is a whole sidecar or exactly what was rendered."""
        rendered = {out["sha256"] for task in platform.tasks() for out in task["outputs"]}
        self.sidecars()
        for path, at in self.files(self.outbox).items():
            assert path.endswith(".json") or digest(at) in rendered

    def check_delivered(self, platform: Platform, dropped: Mapping[str, bytes]) -> None:
        """Each of these was rendered from its very bytes, its result and sidecar are in the outbox in its folder, its
        bytes are in done/, and that is all there is."""
        self.check_whole(platform)
        sidecars = {sidecar["sources"][0]["path"]: sidecar for sidecar in self.sidecars()}
        assert sidecars.keys() == dropped.keys()
        tasks = {task["task_id"]: task for task in platform.tasks()}
        for path, data in dropped.items():
            sidecar = sidecars[path]
            task = tasks[sidecar["task_id"]]
            assert (sidecar["status"], sidecar["sources"][0]["sha256"]) == ("success", digest(data))
            assert sidecar["at"] == (self.outbox / path).parent
            assert task["files"][0]["sha256"] == digest(data)
            assert [out["sha256"] for out in sidecar["outputs"]] == [out["sha256"] for out in task["outputs"]]
            # A short task may be over before it was ever seen running.
            assert all(at for moment, at in sidecar["times"].items() if moment != "started")
        kept = sorted(digest(path) for path in self.files(self.done).values())
        assert kept == sorted(digest(data) for data in dropped.values())
        assert not self.files(self.inbox)
        assert not self.staging()


def _as_told(name: str) -> str:
    """The name of a file out of a sidecar, where bytes that are no UTF-8 are written as \\udcXX."""
    return re.sub(r"\\u(dc[0-9a-f]{2})", lambda m: chr(int(m[1], 16)), name)
