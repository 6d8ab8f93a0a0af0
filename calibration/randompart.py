"""Whose random part a value holds, so that none enters a result twice as if it were two.

A random part is an identity; an array's is one identity with numbered elements, independent of each other. A
total over one axis of a table is a new array, with the elements that it was summed up from as its ancestors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias


class SharedRandomPartError(ValueError):
    """Two values hold the same unnamed random part: name it (``promote``) before the value is used twice."""


SHARED = (
    "these values hold the same random part: adding its variance twice would be wrong. "
    "Promote it to a named source (value.promote) before the value is used twice"
)


class RandomPart:
    """Whose random part a value holds: an identity, with the identities that it was summed up from."""

    __slots__ = ("ancestors", "shape")

    def __init__(self, shape: tuple[int, ...], ancestors: Parts | None = None) -> None:
        self.shape = shape
        self.ancestors: Parts = ancestors or {}


class Seen:
    """Random parts that a running total holds; a second entry of the same one is refused."""

    __slots__ = ("ancestors", "parts")

    def __init__(self) -> None:
        self.parts: Parts = {}
        self.ancestors: Parts = {}

    def add(self, parts: Parts) -> None:
        """Take note of the random parts of one more value.

        Raises:
            SharedRandomPartError: one of them is in the total already.
        """
        for part, elements in parts.items():
            if part in self.parts:
                if meet(self.parts[part], elements):
                    raise SharedRandomPartError(SHARED)
            elif (
                clash({part: elements}, self.ancestors)
                or clash(part.ancestors, self.ancestors)
                or clash(part.ancestors, self.parts)
            ):
                raise SharedRandomPartError(SHARED)
            include(self.parts, part, elements)
            for ancestor, some in part.ancestors.items():
                include(self.ancestors, ancestor, some)


Parts: TypeAlias = dict[RandomPart, "frozenset[int] | None"]  # which elements of it; None: all
NO_PARTS: Parts = {}
_NOTHING: frozenset[int] = frozenset()


def meet(a: frozenset[int] | None, b: frozenset[int] | None) -> bool:
    """Whether two sets of elements of one random part share any (None: all of them)."""
    return a is None or b is None or not a.isdisjoint(b)


def clash(a: Parts, b: Parts) -> bool:
    """Whether both hold the same element of a random part, whatever these were summed up from."""
    return any(part in b and meet(elements, b[part]) for part, elements in a.items())


def include(parts: Parts, part: RandomPart, elements: frozenset[int] | None) -> None:
    """Add elements of a random part to the parts."""
    before = parts.get(part, _NOTHING)
    parts[part] = None if before is None or elements is None else before | elements


def family(parts: Parts, without: Iterable[RandomPart] = ()) -> Parts:
    """The parts and all that they descend from, except these and what they descend from."""
    family: Parts = {}
    for part, elements in parts.items():
        if part not in without:
            include(family, part, elements)
            for ancestor, some in part.ancestors.items():
                include(family, ancestor, some)
    return family


def overlap(a: Parts, b: Parts) -> bool:
    """Whether two values share any random part, directly or through what they were summed up from."""
    if not a or not b:
        return False
    # Different parts may still descend from the same one (a daily total and one of its readings). Elements of
    # one part that are not the same are independent, whatever it descends from.
    return clash(a, b) or clash(family(a, without=b), family(b, without=a))


def joined(a: Parts, b: Parts) -> Parts:
    """The random parts of a value made from two others.

    Raises:
        SharedRandomPartError: they share one.
    """
    if not a:
        return b
    if overlap(a, b):
        raise SharedRandomPartError(SHARED)
    result = dict(a)
    for part, elements in b.items():
        include(result, part, elements)
    return result
