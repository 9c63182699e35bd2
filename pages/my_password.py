"""Whoever is signed in changes the own password here."""

from __future__ import annotations

import streamlit as st

from bmcore.review import accounts
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.access.guard import page
from pages.parts.words import escaped


def draw_form(name: str) -> None:
    """The old password and the new one twice; afterwards one signs in again."""
    with st.form("own password"):
        old = st.text_input("Current password", type="password", autocomplete="current-password")
        new, again = (
            st.text_input(
                label,
                type="password",
                autocomplete="new-password",
                max_chars=accounts.LONGEST,
                key=f"own {label}",
            )
            for label in (
                f"New password, {accounts.SHORTEST} characters or more",
                "Repeat the new password",
            )
        )
        sent = st.form_submit_button("Change the password", type="primary")
    if not sent:
        return
    guard.check("password.own")
    if new != again:
        st.error("The two new passwords do not match.")
        return
    accounts.change_own_password(loaders.store(), name, old, new)
    st.success("Changed. Sign in with the new password.")


with page("My password", "password.own"):
    st.header("My password", anchor=False)
    if guard.user().local:
        st.info("There are no accounts here, so there is no password.")
    else:
        st.caption(escaped(f"Of {guard.user().name}. Every window of yours signs in again then."))
        draw_form(guard.user().name)
