"""Figures of the story: one for each claim, readable from the back row, moving where something moves.

What moves is sent once, as frames behind a slider with a play button, and asks nothing of the server.
"""
