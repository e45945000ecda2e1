"""The importable part of the app, the only code that knows Streamlit.

shell: what every page stands in, from its head to its downloads. controls: the sidebar and the controls of pages, whose
values are an experiment. sections: parts of pages. code: the Python lines of each page. ``views`` says of each stage
which page shows it, by which controls and figures.
"""
