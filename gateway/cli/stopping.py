"""How a command that runs until it is told to stop comes to its end: always, and within a stated time.

Ctrl-C, the service manager's SIGTERM, or the end of its time asks the command to stop, and it ends what it has begun in
its order (the agent seals its log first). What does not end by itself is left behind and named: a task that takes no
cancellation, a thread in a call of the system that does not return. Should the command itself hang, as on a disk
that answers no more or on an output that nobody reads, a thread beside it ends the process when the time is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from gateway.clock import SECOND_US, SystemClock
from gateway.supervision import begun, ended
from gateway.words import phrase

WITHIN_S: Final = (
    20.0  # from being asked to stop to the end of the process; TimeoutStopSec= in deploy/ is longer
)
_THREADS_S: Final = 2.0  # of these, for threads to come back
_ENDED_S: Final = 5.0  # for what a command does to end what it has begun
SERVED_S: Final = 7.0  # for the requests under way of a server
_TASKS_S: Final = 1.0  # and for tasks that the command did not end itself, each of two times
_WORKERS: Final = 32  # threads: a name server that is away holds one for each host that is looked up
_ROOM_MS: Final = 200  # for whom we talk to to make room
_ROOM: Final = 4096  # bytes that a pipe takes at once, if it takes any

T = TypeVar("T")


class Stopping:
    """The wish that a command ends. ``verdict`` is the exit code if it has to be left behind."""

    def __init__(self, loop: asyncio.AbstractEventLoop, verdict: Callable[[], int], within_s: float) -> None:
        self._loop, self._verdict, self._within_s = loop, verdict, within_s
        self._asked = asyncio.Event()
        self._calls: list[Callable[[], object]] = []
        self._heard, self._told = os.pipe()
        for end in (self._heard, self._told):
            os.set_blocking(end, False)
        self._over = threading.Event()
        self._clock = SystemClock()
        self.leave: Callable[[int], object] = os._exit

    def ask(self) -> None:
        """Stop. From any thread of the process, and any number of times."""
        with contextlib.suppress(BlockingIOError):  # full of wishes
            os.write(self._told, b"\0")

    async def wait(self) -> None:
        """Until it is asked for."""
        await self._asked.wait()

    def calls(self, stop: Callable[[], object]) -> None:
        """Call this, in the loop, when it is asked for."""
        self._calls.append(stop)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Within, SIGINT and SIGTERM ask to stop, and the time that this may take is watched over."""
        # A thread reads what the interpreter's handler wrote: it hears also while the loop is held up, as by an output
        # that nobody reads.
        watching = threading.Thread(target=self._watch, name="stopping", daemon=True)
        watching.start()
        former: dict[int, Any] = {}
        wakeup = -1
        try:
            with contextlib.suppress(ValueError):  # signals are the main thread's
                wakeup = signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
                for asks in (signal.SIGINT, signal.SIGTERM):
                    former[asks] = signal.signal(asks, _heard)
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
            if former:
                signal.set_wakeup_fd(wakeup)
            self._over.set()
            self.ask()
            watching.join()
            os.close(self._heard)
            os.close(self._told)

    def _watch(self) -> None:
        until_us: int | None = None
        poll = select.poll()
        poll.register(self._heard, select.POLLIN)
        while True:
            left_us = None if until_us is None else until_us - self._clock.now().boot_us
            if left_us is not None and left_us <= 0:
                break
            poll.poll(None if left_us is None else left_us // 1000 + 1)
            with contextlib.suppress(BlockingIOError):
                os.read(self._heard, _ROOM)
            if self._over.is_set():
                return
            if until_us is None:
                until_us = self._clock.now().boot_us + round(self._within_s * SECOND_US)
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    self._loop.call_soon_threadsafe(self._stop)
        said = phrase("stopping.forced", seconds=f"{self._within_s:g}", what="; ".join(_held(self._loop)))
        say_at_once(said)
        self.leave(self._verdict())

    def _stop(self) -> None:
        self._asked.set()
        for call in self._calls:
            call()


def until_stopped(
    work: Callable[[Stopping], Coroutine[Any, Any, T]],
    verdict: Callable[[], int] = lambda: 0,
    within_s: float = WITHIN_S,
) -> T:
    """Run a command's work in a loop of its own, until it has ended; its result, or what it raised.

    ``verdict`` says the exit code of a process that has to be ended after ``within_s``: 0 if nothing that was promised
    is lost by that.
    """
    logging.getLogger("uvicorn.error").addFilter(_no_cut_request)
    loop = asyncio.new_event_loop()
    threads = ThreadPoolExecutor(_WORKERS, "worker")
    loop.set_default_executor(threads)
    try:
        asyncio.set_event_loop(loop)
        stopping = Stopping(loop, verdict, within_s)
        with stopping.listening():
            try:
                return loop.run_until_complete(work(stopping))
            finally:
                stopping.ask()  # the end is watched over, whatever led to it
                loop.run_until_complete(_rest())
                threads.shutdown(wait=False, cancel_futures=True)
                _returned(_THREADS_S)
    finally:
        logging.getLogger("uvicorn.error").removeFilter(_no_cut_request)
        asyncio.set_event_loop(None)
        loop.set_exception_handler(lambda *_: None)  # what is left was named
        loop.close()


async def until(
    stopping: Stopping,
    first: Coroutine[Any, Any, None],
    *beside: Coroutine[Any, Any, None],
    grace_s: float = 0.0,
) -> None:
    """Do work until the first of it ends, any of it fails, or a stop is asked for; raises what it failed with.

    ``grace_s``: how long the first work may take to end by itself when it is asked to. Then all is cancelled, and what
    takes no cancellation is left.
    """
    waiting = begun(stopping.wait())
    tasks = [begun(work) for work in (first, *beside)]
    try:
        while not (waiting.done() or tasks[0].done() or _errors(tasks)):
            pending = [task for task in (waiting, *tasks) if not task.done()]
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done() and grace_s:
            await asyncio.wait(tasks[:1], timeout=grace_s)
    finally:
        await ended((waiting, *tasks), _ENDED_S, 1)  # once: what is being stored is not cut off
    for error in _errors(tasks):
        raise error


def _errors(tasks: Iterable[asyncio.Task[None]]) -> list[BaseException]:
    return [error for t in tasks if t.done() and not t.cancelled() and (error := t.exception()) is not None]


async def _rest() -> None:
    """End what is still under way in the loop."""
    own = asyncio.current_task()
    left = await ended([task for task in asyncio.all_tasks() if task is not own], _TASKS_S, 2)
    for task in left:
        say_at_once(phrase("stopping.left", what=_task(task)))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_TASKS_S):
            await asyncio.get_running_loop().shutdown_asyncgens()


def threads_left() -> list[str]:
    """What the process would wait for before it ends: threads in a call that does not return."""
    return [_thread(thread) for thread in _waited_for()]


def say_left(names: list[str]) -> None:
    """Name what is left behind."""
    for name in names:
        say_at_once(phrase("stopping.left", what=name))


def _waited_for() -> list[threading.Thread]:
    this = threading.current_thread()
    return [t for t in threading.enumerate() if t not in (this, threading.main_thread()) and not t.daemon]


def _returned(within_s: float) -> None:
    """Give threads time to come back from what they do."""
    clock = SystemClock()
    until_us = clock.now().boot_us + round(within_s * SECOND_US)
    for thread in _waited_for():
        thread.join(max(0.0, (until_us - clock.now().boot_us) / SECOND_US))


def _held(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    """What has not ended, as seen from another thread."""
    yield f"main thread in {_place(threading.main_thread(), inner=True)}"
    for thread in _waited_for():
        yield _thread(thread)
    with contextlib.suppress(RuntimeError):  # it changes under our eyes
        for task in asyncio.all_tasks(loop):
            yield _task(task)


def _task(task: asyncio.Task[Any]) -> str:
    return f"task {task.get_name()} in {getattr(task.get_coro(), '__qualname__', '?')}"


def _thread(thread: threading.Thread) -> str:
    return f"thread {thread.name} in {_place(thread, inner=False)}"


def _place(thread: threading.Thread, *, inner: bool) -> str:
    """The function that a thread is in: the innermost, or the one that it was given to do."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - the documented way, its name notwithstanding
    place = "?"
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.endswith(("/threading.py", "/concurrent/futures/thread.py")):
            place = f"{frame.f_code.co_qualname} ({file.rpartition('/')[2]}:{frame.f_lineno})"
            if inner:
                break
        frame = frame.f_back
    return place


def say_at_once(text: str) -> None:
    """Talk, unless nobody reads: then nobody is waited for."""
    try:
        talk = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # it is no file: a test's, or closed
        print(text, file=sys.stderr)
        return
    poll = select.poll()
    poll.register(talk, select.POLLOUT)
    with contextlib.suppress(OSError):
        if any(event & select.POLLOUT for _, event in poll.poll(_ROOM_MS)):
            os.write(talk, f"{text}\n".encode()[:_ROOM])


def _no_cut_request(record: logging.LogRecord) -> bool:
    """A request that is cut off because the server ends is no error: the library would show a trace for it."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, asyncio.CancelledError)


def _heard(_number: int, _frame: object) -> None:
    """The thread beside us reads of it."""
