"""Figures of attacks.

Begin with ``attack``: one image's margin along the radius, and all test images to click. ``transfer`` has attacks
judged by other models, along radius and width; ``training`` the nets they were made for, along training steps.
"""
