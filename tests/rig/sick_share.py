"""A share that falls ill when told to: a FUSE pass-through over a real folder, with faults and hangs.

`SickShare` is the test's side. The file system itself runs in a process of its own (this file, as a script), because
a test that touched a file system of its own process could wait for itself. It is steered over the pipes to that
process, which ends, and takes its mount away, when the test's process does. Every request of the kernel may hang
without standing in the way of another; nothing is cached, so that each call of the daemon arrives here.

The mount is of the type `fuse.sick`: to the daemon a network share, swept and with `settle_network`.
"""

import errno
import fnmatch
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

OPERATIONS: Final = frozenset({
    "getattr", "readlink", "opendir", "readdir", "fsyncdir", "open", "open_write", "create", "read", "write",
    "truncate", "fsync", "rename", "link", "symlink", "unlink", "mkdir", "rmdir", "chmod", "chown", "utimens", "statfs",
})  # fmt: skip
"""What rules can name. `open` is for reading, `open_write` for writing, `create` makes the file as well; `getattr` is
every look at a name, also the one that the kernel takes by itself on the way to another operation."""

GROUPS: Final[Mapping[str, Iterable[str]]] = {
    "any": OPERATIONS,
    "change": OPERATIONS - {"getattr", "readlink", "opendir", "readdir", "open", "read", "statfs", "fsync", "fsyncdir"},
    "space": ("create", "write", "mkdir", "rename", "link", "symlink"),
}
"""Names for several: all of them; those that a read-only file system refuses; those that need room on the disk."""

_WITHIN: Final = 20.0
"""Seconds until a mount that does not come up, or an order that is not answered, fails its test."""
_FUSE_THREADS: Final = 200
"""As many requests can hang at once: the daemon has fewer threads."""
_NOW, _OMIT = (1 << 30) - 1, (1 << 30) - 2
"""UTIME_NOW and UTIME_OMIT of utimensat(2)."""


class SickShare:
    """`real`, seen through `mount` for as long as the `with` lasts: both are existing folders.

    What lies in `real` can be looked at and changed beside all faults: people at other machines.
    """

    def __init__(self, real: Path, mount: Path) -> None:
        self.real, self.mount = real, mount
        self._server: subprocess.Popen[str] | None = None
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> Self:
        self.revive()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    def fault(
        self, op: str, error: str, *, path: str = "*", when: int = 1, count: int | None = None, after: bool = False
    ) -> None:
        """From the `when`-th such request on, `count` of them (None: all, until `heal`) fail with this errno's name.

        `op`: names of OPERATIONS or GROUPS with "|" between them. `path`: a pattern of fnmatch ("*" reaches across
        slashes) for the path below the mount, "" the root; of a rename or a link, one of both names. `after`: the
        request is carried out all the same, and only its answer is the error.
        """
        getattr(errno, error)
        self._order(do="rule", op=op, error=error, path=path, when=when, count=count, after=after)

    def hang(self, op: str = "any", *, path: str = "*", when: int = 1, count: int | None = None) -> None:
        """From the `when`-th such request on they wait for `heal`, and are carried out then."""
        self._order(do="rule", op=op, error=None, path=path, when=when, count=count, after=False)

    def heal(self) -> None:
        """No rule any more; what hangs goes on."""
        self._order(do="heal")

    def hanging(self) -> int:
        """How many requests wait for `heal` now."""
        return int(self._order(do="tell")["hanging"])

    def struck(self) -> int:
        """How many requests the present rules failed or held up so far."""
        return int(self._order(do="tell")["struck"])

    def seen(self) -> list[tuple[str, str]]:
        """Operation and path of every request since the last call of this."""
        return [(op, path) for op, path in self._order(do="seen")["seen"]]

    def die(self) -> None:
        """The server is gone: what was hanging fails, the mount point is an ordinary folder again."""
        self.cut_off()
        # Lazily: who still has a file open there must not keep the mount.
        subprocess.run(["fusermount3", "-u", "-z", "-q", str(self.mount)], check=False, stderr=subprocess.DEVNULL)

    def cut_off(self) -> None:
        """The server is gone and its mount is not: everything is ENOTCONN, until `die` or `revive`."""
        server, self._server = self._server, None
        if server is None:
            return
        server.kill()
        server.wait()
        for pipe in (server.stdin, server.stdout):
            assert pipe is not None
            pipe.close()

    def revive(self) -> None:
        """Mount it (again), in good health. Returns when it can be used."""
        self.die()
        self._server = subprocess.Popen(
            [sys.executable, "-P", __file__, str(self.real), str(self.mount)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + _WITHIN
        while not os.path.ismount(self.mount):
            assert self._server.poll() is None, "the sick share's server ended"
            assert time.monotonic() < deadline, f"{self.mount} was not mounted"
            time.sleep(0.01)

    def _order(self, **order: Any) -> dict[str, Any]:
        with self._one_at_a_time:
            assert self._server is not None, "the sick share has no server"
            orders, answers = self._server.stdin, self._server.stdout
            assert orders is not None
            assert answers is not None
            orders.write(json.dumps(order) + "\n")
            orders.flush()
            answer: dict[str, Any] = json.loads(answers.readline())
            return answer


@dataclass
class _Rule:
    """One fault, or a hang where there is no `error`."""

    op: str
    path: str
    error: str | None
    when: int
    count: int | None
    after: bool
    met: int = 0
    healed: threading.Event = field(default_factory=threading.Event)

    def meets(self, op: str, paths: tuple[str, ...]) -> bool:
        """Whether this request is struck; counts it."""
        wanted = {one for name in self.op.split("|") for one in GROUPS.get(name, (name,))}
        if op not in wanted or not any(fnmatch.fnmatchcase(path, self.path) for path in paths):
            return False
        self.met += 1
        return self.met >= self.when and (self.count is None or self.met < self.when + self.count)


class _Illness:
    """The rules, and what has passed before them. Many threads ask it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self._seen: list[tuple[str, str]] = []
        self._hanging = 0
        self._struck = 0

    def strike(self, op: str, *paths: str) -> int:
        """Let a request pass, hang it, or raise its error; returns an errno for after it was carried out, or 0."""
        below = tuple(path.lstrip("/") for path in paths)
        with self._lock:
            self._seen.append((op, below[0]))
            met = [rule for rule in self._rules if rule.meets(op, below)]
            self._struck += bool(met)
            self._hanging += sum(rule.error is None for rule in met)
        later = 0
        for rule in met:
            if rule.error is None:
                rule.healed.wait()
                with self._lock:
                    self._hanging -= 1
                continue
            number = getattr(errno, rule.error)
            if not rule.after:
                raise OSError(number, os.strerror(number))
            later = number
        return later

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out an order of the test's side; returns the answer."""
        do = order.pop("do")
        with self._lock:
            if do == "rule":
                self._rules.append(_Rule(**order))
            elif do == "heal":
                rules, self._rules, self._struck = self._rules, [], 0
                for rule in rules:
                    rule.healed.set()
            elif do == "seen":
                seen, self._seen = self._seen, []
                return {"seen": seen}
            return {"hanging": self._hanging, "struck": self._struck}


def _serve(real: str, mount: str) -> None:
    """Be the file system, until it is unmounted or the test's process is gone."""
    import mfusepy

    mfusepy.log.disabled = True  # it tells every error that we make
    illness = _Illness()

    def passing(op: str, paths: tuple[str, ...], act: Callable[[], Any]) -> Any:
        later = illness.strike(op, *paths)
        result = act()
        if later:
            raise OSError(later, os.strerror(later))
        return result

    class Passing(mfusepy.Operations):  # type: ignore[misc]
        """Every request goes to the folder beneath, if it may."""

        use_ns = True

        def init_with_config(self, conn_info: Any, config_3: Any) -> None:
            config_3.direct_io = 1
            config_3.use_ino = 1
            config_3.attr_timeout = config_3.entry_timeout = config_3.negative_timeout = 0.0

        def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
            def act() -> dict[str, Any]:
                now = os.lstat(real + path) if fh is None else os.fstat(fh)
                times = {f"st_{one}time": getattr(now, f"st_{one}time_ns") for one in "amc"}
                names = ("mode", "nlink", "uid", "gid", "size", "ino", "blocks", "rdev")
                return {**{f"st_{name}": getattr(now, f"st_{name}") for name in names}, **times}

            return passing("getattr", (path,), act)  # type: ignore[no-any-return]

        def readlink(self, path: str) -> str:
            return passing("readlink", (path,), lambda: os.readlink(real + path))  # type: ignore[no-any-return]

        def opendir(self, path: str) -> int:
            flags = os.O_RDONLY | os.O_DIRECTORY
            return passing("opendir", (path,), lambda: os.open(real + path, flags))  # type: ignore[no-any-return]

        def readdir(self, path: str, fh: int) -> list[tuple[str, dict[str, int], int]]:
            def act() -> list[tuple[str, dict[str, int], int]]:
                with os.scandir(fh) as listing:
                    looks = {item.name: item.stat(follow_symlinks=False) for item in listing}
                looks |= dict.fromkeys((".", ".."), os.fstat(fh))
                return [(name, {"st_mode": at.st_mode, "st_ino": at.st_ino}, 0) for name, at in looks.items()]

            return passing("readdir", (path,), act)  # type: ignore[no-any-return]

        def releasedir(self, path: str, fh: int) -> None:
            os.close(fh)

        def fsyncdir(self, path: str, datasync: int, fh: int) -> None:
            passing("fsyncdir", (path,), lambda: os.fsync(fh))

        def open(self, path: str, flags: int) -> int:
            op = "open_write" if flags & os.O_ACCMODE else "open"
            return passing(op, (path,), lambda: os.open(real + path, flags))  # type: ignore[no-any-return]

        def create(self, path: str, mode: int, fi: int = 0) -> int:
            flags = fi | os.O_CREAT
            return passing("create", (path,), lambda: os.open(real + path, flags, mode))  # type: ignore[no-any-return]

        def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
            return passing("read", (path,), lambda: os.pread(fh, size, offset))  # type: ignore[no-any-return]

        def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
            return passing("write", (path,), lambda: os.pwrite(fh, data, offset))  # type: ignore[no-any-return]

        def truncate(self, path: str, length: int, fh: int | None = None) -> None:
            passing("truncate", (path,), lambda: os.truncate(real + path if fh is None else fh, length))

        def release(self, path: str, fh: int) -> None:
            os.close(fh)

        def fsync(self, path: str, datasync: int, fh: int) -> None:
            passing("fsync", (path,), lambda: os.fsync(fh))

        def rename_noreplace(self, old: str, new: str) -> None:
            def act() -> None:
                # Nobody else makes files under these names between the look and the rename but the tests.
                if os.path.lexists(real + new):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
                os.rename(real + old, real + new)

            passing("rename", (old, new), act)

        def rename(self, old: str, new: str) -> None:
            passing("rename", (old, new), lambda: os.rename(real + old, real + new))

        def link(self, target: str, source: str) -> None:
            passing("link", (target, source), lambda: os.link(real + source, real + target, follow_symlinks=False))

        def symlink(self, target: str, source: str) -> None:
            passing("symlink", (target,), lambda: os.symlink(source, real + target))

        def unlink(self, path: str) -> None:
            passing("unlink", (path,), lambda: os.unlink(real + path))

        def mkdir(self, path: str, mode: int) -> None:
            passing("mkdir", (path,), lambda: os.mkdir(real + path, mode))

        def rmdir(self, path: str) -> None:
            passing("rmdir", (path,), lambda: os.rmdir(real + path))

        def chmod(self, path: str, mode: int) -> None:
            passing("chmod", (path,), lambda: os.chmod(real + path, mode))

        def chown(self, path: str, uid: int, gid: int) -> None:
            passing("chown", (path,), lambda: os.lchown(real + path, uid, gid))

        def utimens(self, path: str, times: tuple[int, int]) -> None:
            def act() -> None:
                now, kept = time.time_ns(), os.lstat(real + path)
                given = zip(times, (kept.st_atime_ns, kept.st_mtime_ns), strict=True)
                atime, mtime = ({_NOW: now, _OMIT: old}.get(at, at) for at, old in given)
                os.utime(real + path, ns=(atime, mtime), follow_symlinks=False)

            passing("utimens", (path,), act)

        def statfs(self, path: str) -> dict[str, int]:
            def act() -> dict[str, int]:
                now = os.statvfs(real + path)
                return {name: getattr(now, name) for name in dir(now) if name.startswith("f_")}

            return passing("statfs", (path,), act)  # type: ignore[no-any-return]

    class Mount(mfusepy.FUSE):  # type: ignore[misc]
        """The library's, but RENAME_NOREPLACE is not swallowed."""

        def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> int:
            if flags > 1:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            names = (os.fsdecode(old), os.fsdecode(new))
            (self.operations.rename_noreplace if flags else self.operations.rename)(*names)
            return 0

    def listen() -> None:
        for line in sys.stdin:
            print(json.dumps(illness.obey(json.loads(line))), flush=True)
        # The test's process is gone without a good-bye.
        subprocess.run(["fusermount3", "-u", "-z", "-q", mount], check=False)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    Mount(
        Passing(), mount, foreground=True, fsname="sick", subtype="sick", max_threads=_FUSE_THREADS,
        allow_other=os.geteuid() == 0,
    )  # fmt: skip


if __name__ == "__main__":
    os.umask(0)
    _serve(*sys.argv[1:])
