"""Tasks end when the agent ends, also one that took its cancellation for something else."""

import asyncio
import contextlib
import socket

import pytest

from drivers.codec import Counts
from gateway.clock import SystemClock
from gateway.notify import Notifier
from gateway.pushed import PushLine
from gateway.supervision import ended, supervise, together


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again():
    swallowed = 0
    begun = asyncio.Event()

    async def connecting() -> None:
        nonlocal swallowed
        while True:
            try:
                begun.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if swallowed == 2:
                    raise
                swallowed += 1

    async with asyncio.TaskGroup() as group:
        task = group.create_task(connecting())
        await begun.wait()
        await ended([task], again_s=0.01)
    assert task.cancelled()
    assert swallowed == 2


async def test_what_a_task_raised_is_left_to_who_looks():
    begun = asyncio.Event()

    async def failing() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            raise OSError("gone")

    with pytest.raises(ExceptionGroup) as failed:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(failing())
            await begun.wait()
            await ended([task])
            await ended([])
    assert [str(error) for error in failed.value.exceptions] == ["gone"]


class Stubborn:
    """A source that takes its first cancellation for its own time-out, as a library does that is just connecting."""

    counts = Counts()

    def __init__(self):
        self.begun = asyncio.Event()
        self.swallowed = 0

    def describe(self):
        return "tcp://stubborn"

    async def run(self, _deliver):
        while True:
            try:
                self.begun.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if self.swallowed:
                    raise
                self.swallowed += 1


async def test_a_line_ends_although_the_library_within_it_swallows_a_cancellation():
    source = Stubborn()
    line = PushLine("hall", source, {}, SystemClock(), None, None)
    task = asyncio.get_running_loop().create_task(supervise(line, SystemClock(), lambda *_: None))
    await source.begun.wait()
    assert await ended([task], again_s=0.01, times=1000) == ()
    assert task.cancelled()
    assert source.swallowed == 1


async def test_a_task_that_takes_no_cancellation_is_left_and_named():
    begun, released = asyncio.Event(), asyncio.Event()

    async def deaf():
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                begun.set()
                await released.wait()

    task = asyncio.get_running_loop().create_task(deaf(), name="deaf")
    await begun.wait()
    assert [left.get_name() for left in await ended([task], again_s=0.01)] == ["deaf"]
    released.set()
    await task


async def test_a_cancellation_is_not_lost_when_a_task_beside_fails_in_the_same_moment():
    begun = asyncio.Event()

    async def failing():
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            raise OSError("the broker is gone")

    task = asyncio.get_running_loop().create_task(together(failing(), asyncio.Event().wait()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_first_that_fails_ends_the_others_and_is_what_is_told():
    ends = []

    async def waiting():
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("ended")

    async def failing():
        await asyncio.sleep(0)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await together(waiting(), failing())
    assert ends == ["ended"]


def test_systemd_is_not_told_that_it_stops_while_another_agent_follows_in_the_process(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(10)
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        notifier.staying = True
        notifier.send("STOPPING=1")  # systemd would end a service that says so
        notifier.send("WATCHDOG=1")
        assert systemd.recv(100) == b"WATCHDOG=1"
        notifier.staying = False
        notifier.send("STOPPING=1")
        assert systemd.recv(100) == b"STOPPING=1"
