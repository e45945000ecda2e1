"""The importable part of the pages that knows Streamlit: forms, run-or-load with progress, figures, URL state."""
