"""One rendering: what it has written, and how much it may still do.

Everything that a template can make large is bounded: steps, output, nesting of calls, the size of a value.  Work on large values counts as
many steps, so that a bound of steps is one of time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from groundplane.core.gotemplate.mistakes import Exhausted, Unfinished

MAX_STEPS = 1_000_000
MAX_OUTPUT = 4 << 20  # characters of the output, and of any text on the way
PAUSE_STEPS = 1_000  # of a rendering that gives way, between two pauses
BRIEF_STEPS = 10_000  # of a rendering that others wait for: about ten milliseconds
BRIEF_OUTPUT = 64 << 10  # characters
MAX_CALLS = 1_000  # templates in one another
MAX_ITEMS = 250_000  # of one list
MAX_DEPTH = 200  # of a value that is looked through

_SMALL = 1_000  # what costs no more than a step
_PER_STEP = 128  # characters or items that are as much work as a step


class Run:
    """The state of one rendering; the first thing in every frame."""

    __slots__ = ("_more", "_pause", "depth", "include", "is_brief", "left", "now", "out", "random", "room", "valueless")

    def __init__(
        self,
        now: Callable[[], datetime],
        random: Callable[[int], bytes],
        *,
        is_brief: bool = False,
        pause: Callable[[], None] | None = None,
    ) -> None:
        """`is_brief`: what takes long raises Unfinished.  `pause` is called again and again: it lets others work."""
        self.now = now
        self.random = random
        self.is_brief = is_brief
        self.left = BRIEF_STEPS if is_brief else MAX_STEPS  # until something is to be done about it
        self._pause, self._more = pause, 0  # steps beyond these
        if pause is not None and not is_brief:
            self.left, self._more = PAUSE_STEPS, MAX_STEPS - PAUSE_STEPS
        self.room = BRIEF_OUTPUT if is_brief else MAX_OUTPUT
        self.valueless: dict[int, str] = {}  # actions that wrote <no value>, by their positions
        self.depth = 0
        self.out: list[str] = []
        self.include: Callable[[Run, str, Any], str] | None = None

    def write(self, text: str) -> None:
        self.room -= len(text)
        if self.room < 0:
            if self.is_brief:
                raise Unfinished
            raise Exhausted(
                f"the output would have more than {MAX_OUTPUT >> 20} MiB",
                "let it make less: no API server takes that much",
            )
        self.out.append(text)

    def charge(self, steps: int) -> None:
        self.left -= steps
        while self.left < 0 < self._more and self._pause is not None:
            taken = min(PAUSE_STEPS, self._more)
            self._more -= taken
            self.left += taken
            self._pause()
        if self.left < 0:
            if self.is_brief:
                raise Unfinished
            raise Exhausted(
                f"it takes more than {MAX_STEPS} steps",
                "look for a loop in a loop, or for large values that are worked on again and again",
            )

    def weigh(self, value: Any) -> None:
        """Count the work on something that has a length."""
        size = len(value)
        if size > _SMALL:
            if size > MAX_ITEMS and not isinstance(value, str | bytes):
                raise Exhausted(f"a list or map of more than {MAX_ITEMS} entries", "let it make less")
            if size > MAX_OUTPUT:
                raise too_long()
            self.charge(size // _PER_STEP)

    def weigh_all(self, value: Any, per_step: int = 2) -> None:
        """Count all that is in a value, the same thing twice if it is there twice."""
        count = 0
        waiting = [(value, 0)]
        while waiting:
            item, depth = waiting.pop()
            count += 1
            if isinstance(item, str):
                count += len(item) >> 6
            elif isinstance(item, dict | list):
                if depth > MAX_DEPTH:
                    raise Exhausted(
                        f"a value is nested more than {MAX_DEPTH} levels deep",
                        "make it flatter; mind what contains itself",
                    )
                waiting.extend([(each, depth + 1) for each in (item.values() if isinstance(item, dict) else item)])
            if count >= 4096:
                self.charge(count // per_step)
                count = 0
        self.charge(count // per_step)


def too_long() -> Exhausted:
    return Exhausted(f"a text of more than {MAX_OUTPUT >> 20} MiB", "let it make less")


def check_length(characters: int) -> None:
    """Before a text of that length is made."""
    if characters > MAX_OUTPUT:
        raise too_long()


def check_items(count: int) -> None:
    """Before a list of that length is made."""
    if count > MAX_ITEMS:
        raise Exhausted(f"a list of more than {MAX_ITEMS} entries", "let it make less")
