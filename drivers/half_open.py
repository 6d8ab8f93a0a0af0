"""Whether a connection is half open: nobody has hung up, and nothing comes any more. Pure.

The other side may have forgotten the connection, or serves it no longer. A dead meter is silent too, so it is the
silence of all that tells: nothing has come in some exchanges, and everybody who was ever heard on this connection has
been asked meanwhile. Where all meters are dead a new connection does no harm, and is made ever more seldom: after 3, 6,
12 … 48 silent exchanges. Whatever comes, an echo, noise or a late answer, shows that the connection lives.
"""

from __future__ import annotations

_FIRST, _MOST = 3, 48  # exchanges


class Silence:
    """The silence of one connection, meter by meter."""

    __slots__ = ("_enough", "_living", "_run", "_silent")

    def __init__(self) -> None:
        self._living: set[str] = (
            set()
        )  # addresses that were heard, and have not been silent among others that were not
        self._silent: set[str] = set()  # addresses asked since anything came
        self._run = 0
        self._enough = _FIRST

    def broken(self) -> None:
        """Something came."""
        if self._run:
            self._living -= self._silent
            self._silent.clear()
            self._run, self._enough = 0, _FIRST

    def heard(self, address: str) -> None:
        """An exchange with ``address`` in which something came."""
        self.broken()
        self._living.add(address)

    def went_on(self, address: str) -> bool:
        """An exchange with ``address`` in which nothing came; whether the connection is to be made anew."""
        self._run += 1
        self._silent.add(address)
        if self._run < self._enough or not self._living <= self._silent:
            return False
        self._run, self._enough = 0, min(2 * self._enough, _MOST)
        self._silent.clear()
        return True
