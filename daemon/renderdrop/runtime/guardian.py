"""Two processes where one would do, so that the daemon can always be ended.

A thread that sleeps in the kernel because a share's server is away keeps its whole process alive, even after SIGKILL.
So what the service manager or a person starts stays small and touches no share: the guardian. It starts the daemon
proper as its child, hands on signals to it and its words to the service manager, and ends as it ends. What is asked to
end and does not is killed and left to the kernel, which lets it die before it runs one more instruction. When the
guardian dies, however it dies, the daemon dies with it.

Owns the fork and the way between the two. It imports next to nothing: whatever it holds, it holds for as long as the
daemon runs.
"""

import atexit
import os
import select
import signal
import socket
import sys
from types import FrameType
from typing import Final, NoReturn

from renderdrop.runtime import systemd

END_WITHIN: Final = 9
"""Seconds that the daemon has to end once it was asked; DESIGN 6 allows ten for all of it."""
_GONE_WITHIN: Final = 0.5
"""Seconds that a daemon which has said its last word has to be gone; longer takes only one that hangs in the kernel."""
_HANDED_ON: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_LAST_WORD: Final = b"EXIT="
_PR_SET_PDEATHSIG: Final = 1
_LONGEST: Final = 65536
"""Bytes of one message."""

_to_guardian: socket.socket | None = None
_guardian: int | None = None


def guard() -> None:
    """Go on as the daemon proper, in a child; the caller's process becomes its guardian and never returns from here.

    To be called before any thread is started and before anything heavy is imported."""
    global _to_guardian, _guardian
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    guardian = os.getpid()
    child = os.fork()
    if child:
        theirs.close()
        _Guardian(child, ours).run()
    ours.close()
    _die_with(guardian)
    atexit.register(theirs.close)
    _to_guardian, _guardian = theirs, guardian
    systemd.speak_through(theirs)
    if os.environ.get("WATCHDOG_PID") == str(guardian):
        os.environ["WATCHDOG_PID"] = str(os.getpid())


def is_guarded() -> bool:
    """Whether this process is the one that works, with a guardian."""
    return _guardian is not None


def known_as() -> int:
    """The process that a person or a service manager knows the daemon by."""
    return os.getpid() if _guardian is None else _guardian


def leave(code: int) -> NoReturn:
    """End at once, whatever threads are still in the kernel. Everything must be put away: nothing is cleaned up."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    # Whoever reads our output waits for its end: it must not have to wait for the kernel.
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    if _to_guardian is not None:
        try:
            _to_guardian.send(_LAST_WORD + str(code).encode())
        except OSError:
            pass
    os._exit(code)


def _die_with(guardian: int) -> None:
    import ctypes  # only the daemon needs it

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != guardian:
        os._exit(1)  # it was quicker


class _Guardian:
    """The outer process, in whose place nothing else happens."""

    def __init__(self, child: int, from_daemon: socket.socket) -> None:
        self._child = child
        self._from_daemon = from_daemon
        self._asked = False

    def run(self) -> NoReturn:
        for number in _HANDED_ON:
            signal.signal(number, self._hand_on)
        signal.signal(signal.SIGALRM, self._too_late)
        while message := self._from_daemon.recv(_LONGEST):
            if message.startswith(_LAST_WORD):
                self._end(int(message[len(_LAST_WORD) :]))
            systemd.send(message)
        self._end_as_it_did()

    def _hand_on(self, number: int, _: FrameType | None) -> None:
        try:
            os.kill(self._child, number)
        except ProcessLookupError:
            pass
        if number in (signal.SIGTERM, signal.SIGINT) and not self._asked:
            self._asked = True
            signal.alarm(END_WITHIN)

    def _too_late(self, _: int, __: FrameType | None) -> None:
        os.kill(self._child, signal.SIGKILL)
        while select.select([self._from_daemon], [], [], _GONE_WITHIN)[0]:
            message = self._from_daemon.recv(_LONGEST)
            if not message:
                self._end_as_it_did()
            if message.startswith(_LAST_WORD):
                self._end(int(message[len(_LAST_WORD) :]))
        os.write(2, b"renderdrop: the daemon hangs in the kernel, which lets it die when it can; nothing is lost\n")
        os._exit(1)

    def _end(self, code: int) -> NoReturn:
        """The daemon has put everything away. It should be gone in a moment, but a share that hangs may hold it."""
        select.select([self._from_daemon], [], [], _GONE_WITHIN)
        os._exit(code)

    def _end_as_it_did(self) -> NoReturn:
        _, status = os.waitpid(self._child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            if -code != signal.SIGKILL:
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code)
