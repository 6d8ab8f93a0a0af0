"""Two serial devices with a wire between them: two pseudo terminals in one process. Says "ready NAME NAME"."""

from __future__ import annotations

import os
import select
import tty


def main() -> None:
    ends = [os.openpty(), os.openpty()]
    for _, device in ends:
        tty.setraw(device)
    masters = [master for master, _ in ends]
    print("ready", *(os.ttyname(device) for _, device in ends), flush=True)
    while True:
        for master in select.select(masters, [], [])[0]:
            os.write(masters[1 - masters.index(master)], os.read(master, 4096))


if __name__ == "__main__":
    main()
