"""A reader's own study: the list in its order, one sheet after the other."""

from __future__ import annotations

from pages.parts import study_case, study_list, study_seat
from pages.parts.guard import page

with page("Study", "study.see"):
    seat = study_seat.choose()
    if seat is not None:
        place = study_seat.open_place(seat)
        if place is None:
            study_list.draw(seat)
        else:
            study_case.draw(seat, place)
