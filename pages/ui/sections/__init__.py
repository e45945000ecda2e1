"""Parts of pages: of Attack (``attack``), Eigenfeatures (``eigenfeatures``), Transfer (``matrix``), Evolution
(``at_epoch``, ``frozen``) and Runs (``exports``, ``run_figures``); ``samples`` and ``pictures`` serve several.
"""
