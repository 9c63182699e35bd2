"""Which list in a study waits for a reader: where the own day goes on."""

from __future__ import annotations

from bmcore.review import plan
from bmcore.review.access import Role, User
from bmcore.review.reading_session import ReadingSession
from bmcore.review.store import Store
from bmcore.review.votes import Reader


def first_waiting(store: Store, user: User | None) -> str | None:
    """The first list of a reader with a sheet that can be read now, as "study/id of the reader".

    None for who has none, for who leads studies, and for the local user, who may be anybody.
    """
    if user is None or user.local or user.role is not Role.READER:
        return None
    for name in plan.studies(store):
        session = ReadingSession(store, name)
        for reader in session.version.study.readers:
            if Reader(reader.name, "other").key != user.key:
                continue
            following = next((w for w in session.work(reader.id) if not w.done), None)
            if following is not None and following.not_before is None:
                return f"{name}/{reader.id}"
    return None
