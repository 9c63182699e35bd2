"""For the administrator: who may sign in, and as what."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import pandas as pd
import streamlit as st

from bmcore.review import accounts, invitations
from bmcore.review.access import Role
from pages.parts import loaders
from pages.parts.access import guard
from pages.parts.access.guard import page
from pages.parts.words import escaped, when

ROLE_WORDS = {
    Role.READER: "Reader: reads cases and votes, sees no one else's answers",
    Role.INVESTIGATOR: "Investigator: also adds cases, runs studies, sees results",
    Role.ADMINISTRATOR: "Administrator: also manages the accounts",
}


def draw_list(found: list[accounts.Account]) -> None:
    rows = {
        "Name": [a.name for a in found],
        "Role": [a.role.capitalize() for a in found],
        "State": ["shut" if a.disabled else "open" for a in found],
        "Since": [when(a.created_at) for a in found],
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True)


def draw_new() -> None:
    """Invite somebody by a one-time link; the person sets the own password."""
    with st.form("invite", clear_on_submit=True):
        name = st.text_input("Name", max_chars=80, help="As in the study's plan")
        role = st.radio("Role", list(Role), index=None, format_func=ROLE_WORDS.__getitem__)
        sent = st.form_submit_button("Create the link", type="primary")
    if sent:
        guard.check("accounts.manage")
        if role is None:
            st.error("Choose a role.")
            return
        made, token = invitations.invite(loaders.store(), name, role, guard.user().name)
        st.session_state["invited"] = (made, token)
    if "invited" in st.session_state:
        made, token = st.session_state.pop("invited")
        st.success(
            escaped(
                f"Send this link to {made.name}. It works once, until {when(made.expires_at)}."
            ),
            icon=":material/link:",
        )
        st.code(invitation_link(token), language=None, wrap_lines=True)
        st.caption("It is shown only once. Anyone who has it can set the password.")


def invitation_link(token: str) -> str:
    """The whole address of an invitation, as this browser reaches the server."""
    here = urlsplit(str(st.context.url or ""))
    base = here.path.rsplit("/accounts", 1)[0].rstrip("/")
    return urlunsplit((here.scheme, here.netloc, f"{base}/invite", f"token={token}", ""))


def draw_open() -> None:
    """Invitations that still work, and the way to end one."""
    found = invitations.open_ones(loaders.store())
    if not found:
        return
    rows = {
        "Invited": [i.name for i in found],
        "Role": [i.role.capitalize() for i in found],
        "By": [i.made_by for i in found],
        "Until": [when(i.expires_at) for i in found],
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    name = st.selectbox(
        "Withdraw an invitation",
        [i.name for i in found],
        index=None,
        placeholder="Choose",
        width=320,
    )
    if name is not None and st.button("Withdraw it"):
        guard.check("accounts.manage")
        invitations.withdraw(loaders.store(), name)
        told(f"The invitation of {name} is withdrawn.")


def draw_change(found: list[accounts.Account]) -> None:
    """Another role, a new password, or shut; open sessions of the account end."""
    account = st.selectbox(
        "Account", found, index=None, format_func=lambda a: a.name, placeholder="Choose"
    )
    if account is None:
        return
    role = st.selectbox(
        "Role", list(Role), index=list(Role).index(account.role), key=f"role {account.name}"
    )
    password = st.text_input(
        "New password", type="password", autocomplete="new-password", key=f"new {account.name}"
    )
    shut = "Enable the account" if account.disabled else "Disable the account"
    left, middle, right = st.columns(3)
    if left.button("Change the role", disabled=role is account.role) and role is not None:
        guard.check("accounts.manage")
        accounts.set_role(loaders.store(), account.name, role)
        told(f"{account.name} is now {role}.")
    if middle.button("Set the password", disabled=not password):
        guard.check("accounts.manage")
        accounts.set_password(loaders.store(), account.name, password)
        told(f"{account.name} has a new password.")
    if right.button(shut):
        guard.check("accounts.manage")
        accounts.set_disabled(loaders.store(), account.name, not account.disabled)
        told(f"{account.name}: {'open again' if account.disabled else 'shut'}.")


def told(words: str) -> None:
    st.session_state["account told"] = words
    st.rerun()


with page("Accounts", "accounts.manage"):
    st.header("Accounts", anchor=False)
    words = st.session_state.pop("account told", None)
    if words:
        st.success(escaped(words), icon=":material/check:")
    listed = accounts.listed(loaders.store())
    if guard.user().local:
        st.info(
            "There are no accounts: this computer is used by one person, without a password. The "
            "first account is made on the command line; from then on everybody signs in. A server "
            "that others can reach prints a code for its first administrator when it starts."
        )
        st.code("python -m bmcore account add NAME --role administrator", language="shell")
    else:
        draw_list(listed)
        with st.expander("Change an account", icon=":material/manage_accounts:"):
            draw_change(listed)
        st.subheader("Invite somebody", anchor=False)
        draw_new()
        draw_open()
