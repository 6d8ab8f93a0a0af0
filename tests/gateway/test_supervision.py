"""Tasks end when the agent ends, also one that took its cancellation for something else."""

import asyncio

import pytest

from gateway.supervision import ended


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
