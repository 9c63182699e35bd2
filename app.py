"""The dashboard: ``streamlit run app.py``. The pages do the work; pages/parts/navigation.py
lists them, pages/parts/door.py stands before them."""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from bmcore import disk
from pages.parts import door, navigation, warm

if get_script_run_ctx() is None:  # the server starts; each visit runs this file again as a script
    disk.private_process()
    warm.start()
    app = st.App(__file__, middleware=door.middleware())
else:
    navigation.pages().run()
