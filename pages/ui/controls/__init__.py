"""The controls, whose values make an experiment. Begin with ``sidebar``, the experiment that all pages look at; the
other modules have what Transfer, Evolution and Consistency add to it.
"""
