"""The dashboard: ``streamlit run app.py``. The pages do the work; pages/parts/navigation.py
lists them."""

from pages.parts import navigation

navigation.pages().run()
