"""What a browser sends over the websocket: which messages are allowed, and which a person caused.

Streamlit repeats fragments by itself and the clock of a sheet tells the time: neither is a sign
that somebody is there.
"""

from __future__ import annotations

import hashlib
from typing import Any

# The others are for developers, for instance to empty the caches of all.
_ALLOWED = {
    "rerun_script",
    "stop_script",
    "app_heartbeat",
    "file_urls_request",
    "backend_operation_request",
}
_TRIGGERS = {"trigger_value", "string_trigger_value", "json_trigger_value", "chat_input_value"}
_BY_ITSELF = ("clock ", "window_memory")  # keys of the components that talk without a person


class Activity:
    """Of one connection. page, query: where the window stands, as the browser told last."""

    def __init__(self) -> None:
        self._last: bytes | None = None
        self._script = ""
        self.page = self.query = ""

    def see(self, message: bytes) -> tuple[bool, bool]:
        """(may be handled, a person did something). What cannot be read Streamlit refuses."""
        from google.protobuf.message import DecodeError
        from streamlit.proto.BackMsg_pb2 import BackMsg

        told = BackMsg()
        try:
            told.ParseFromString(message)
        except DecodeError:
            return True, False
        kind = told.WhichOneof("type")
        if kind != "rerun_script":
            return kind in _ALLOWED, kind in ("stop_script", "file_urls_request")
        return True, self._is_by_hand(told.rerun_script)

    def _is_by_hand(self, state: Any) -> bool:
        """The first message of a connection is sent by the page itself."""
        self.query = state.query_string
        script = state.page_script_hash
        if state.page_name or (script and self._script and script != self._script):
            self.page = state.page_name  # the first message names the page, later ones its hash
        self._script = script or self._script
        if state.is_auto_rerun:
            return False
        widgets = [w for w in state.widget_states.widgets if not _is_by_itself(w.id)]
        pressed = any(w.WhichOneof("value") in _TRIGGERS for w in widgets)
        seen = hashlib.sha256(f"{state.page_script_hash}\n{state.query_string}".encode())
        for text in sorted(w.SerializeToString() for w in widgets):
            seen.update(text)
        before, self._last = self._last, seen.digest()
        return before is not None and (pressed or before != self._last)


def _is_by_itself(widget_id: str) -> bool:
    """Streamlit's ids hold the key that the page gave: $$ID-<hash>-<key>."""
    return any(f"-{key}" in widget_id for key in _BY_ITSELF)
