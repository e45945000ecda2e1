"""What every page stands in. Begin with ``page``: the head of a page; ``results``: run or load, with progress;
``show``: figures, pictures, the expander with the code, downloads. ``navigation`` has the menu and what a link brings,
``services`` the store and the worker, ``plain`` text of others as Markdown.
"""
