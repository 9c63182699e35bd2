"""A reader's own study: the list in its order, one sheet after the other."""

from __future__ import annotations

from pages.parts.access.guard import page
from pages.parts.study import case, context, worklist

with page("Study", "study.see"):
    seat = context.choose()
    if seat is not None:
        place = context.open_place(seat)
        if place is None:
            worklist.draw(seat)
        else:
            case.draw(seat, place)
