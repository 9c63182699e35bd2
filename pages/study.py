"""A reader's own study: the list in its order, one sheet after the other."""

from __future__ import annotations

from pages.parts.access.guard import page
from pages.parts.study import case, context, worklist

with page("Study", "study.see"):
    reading = context.choose()
    if reading is not None:
        place = context.open_place(reading)
        if place is None:
            worklist.draw(reading)
        else:
            case.draw(reading, place)
