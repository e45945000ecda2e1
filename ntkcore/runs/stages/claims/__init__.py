"""Stages of the paper's claims: of each, the few numbers and pictures that its screen of the story shows.

They read the results of the other rooms and keep little, some tens of kilobytes, so that they can be shipped. One file
a claim, in the order in which ``ntkcore.runs.claims`` lists and judges them.
"""
