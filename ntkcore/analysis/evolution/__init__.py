"""An empirical kernel during training: how it moves, and what its spectrum becomes.

Begin with ``motion``: distance, velocity and polar coordinates of kernels, concentration, alignment with the labels.
``histories`` puts together the epochs of several trainings and seeds; ``seed_tests`` says what so few seeds can tell.
"""
