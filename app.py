"""The dashboard: ``streamlit run app.py``. The pages do the work; pages/parts/access/navigation.py
lists them, pages/parts/access/http_guard.py stands before them."""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from bmcore import disk
from pages.parts import preload
from pages.parts.access import http_guard, navigation, uploads

if get_script_run_ctx() is None:  # the server starts; each visit runs this file again as a script
    disk.private_process()
    preload.start()
    app = st.App(__file__, routes=uploads.routes(), middleware=http_guard.middleware())
else:
    navigation.pages().run()
