"""What an experiment is and how it gets done. Begin with ``specs`` (experiments as data), then ``stages`` (results).

The rooms: ``specs``, ``stages``, ``store`` (where results are kept), ``worker`` (the process that computes). Beside
them ``presets``, ``costs`` by measured ``rates``, ``consent`` to what is long or large, ``memory``, ``device``,
``terminal``.
"""
