"""Stages of finite nets that are trained at once, and of perturbations that transfer from one model to another.

Begin with ``models``: who can be attacked through whom. ``training`` makes twins and other networks, ``path`` is what
they are compared with on the way, ``perturb`` makes images through a source, ``transfer`` has a target judge them.
"""
