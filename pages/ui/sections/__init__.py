"""Parts of pages: of Attack (``attack``), Eigenfeatures (``eigenfeatures``), Transfer (``transfers``, ``matrix``),
Consistency (``one_pair``), Evolution (``motion``, ``at_epoch``, ``frozen``) and Runs (``exports``, ``run_figures``);
``samples`` serves several.
"""
