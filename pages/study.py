"""A reader's own study: the list in its order, one sheet after the other."""

from __future__ import annotations

from pages.parts.access.guard import page
from pages.parts.study import case, context, practice, preference, worklist

with page("Study", "study.see"):
    reading = context.choose()
    if reading is not None:
        context.draw_refused(reading)
        if context.halted(reading):
            context.close(reading)
        practising = practice.of(reading)
        place = None if practising is not None else context.open_place(reading)
        if practising is not None and context.is_reading():
            practice.draw(practising)
        elif preference.is_open(reading) and not context.halted(reading):
            preference.draw(reading)
        elif place is None:
            worklist.draw(reading)
        else:
            case.draw(reading, place)
