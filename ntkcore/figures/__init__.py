"""Results to plotly figures: numpy arrays in, ``plotly.graph_objects.Figure`` out; one palette, one template.

Every figure function takes ``dark`` where a colour depends on the background, stores a one-sentence alt text
(``alt_text``) and knows nothing of where it is shown. Rooms: ``features``, ``attacks``, ``evolution``, and ``drawing``,
with which all are drawn; ``kernel``, ``spectrum`` and ``consistency`` are a file each, ``export`` saves figures::

    from ntkcore import figures
    fig = figures.eigenvalues(values, label_energy, dark=False)
    figures.to_html(fig, "Spectrum"), figures.alt_text(fig)
"""

from ntkcore.figures.attacks.along_radius import attacked_image
from ntkcore.figures.attacks.attack import contact_sheet, first_flip, margin_along_eps
from ntkcore.figures.attacks.training import cosine_along_training, training_curves
from ntkcore.figures.attacks.transfer import accuracy_along_eps, strength_along_width, transfer_matrix
from ntkcore.figures.consistency import alignment_heatmap, matched_features, overlap_along_k, vector_overlap_heatmap
from ntkcore.figures.drawing.bands import Band
from ntkcore.figures.drawing.images import amplify, data_uri, montage, png, signed_rgb, symmetric_scale, to_rgb
from ntkcore.figures.drawing.strip import Picture, strip
from ntkcore.figures.drawing.template import alt_text
from ntkcore.figures.evolution.accuracy import accuracy_along_epochs, frozen_accuracy
from ntkcore.figures.evolution.concentration import (
    alignment_along_epochs,
    concentration,
    spectra_along_epochs,
    spectra_at_epoch,
)
from ntkcore.figures.evolution.motion import kernel_distances, kernel_velocity, lazy_by_threshold, polar_paths
from ntkcore.figures.export import chart_config, directory_files, to_csv, to_frame, to_html
from ntkcore.figures.features.along_index import class_shares, perturbation_split, shares_along_index
from ntkcore.figures.features.band_sums import feature_bands
from ntkcore.figures.features.eigenfeatures import usefulness_robustness
from ntkcore.figures.features.null import usefulness_over_null
from ntkcore.figures.features.tradeoff import Curve, along_time, kept_subsets
from ntkcore.figures.kernel import kernel_heatmap
from ntkcore.figures.spectrum import cumulative, eigenvalues, eigenvectors, learned_modes, modes_along_time

__all__ = [
    "Band",
    "Curve",
    "Picture",
    "accuracy_along_epochs",
    "accuracy_along_eps",
    "alignment_along_epochs",
    "alignment_heatmap",
    "along_time",
    "alt_text",
    "amplify",
    "attacked_image",
    "chart_config",
    "class_shares",
    "concentration",
    "contact_sheet",
    "cosine_along_training",
    "cumulative",
    "data_uri",
    "directory_files",
    "eigenvalues",
    "eigenvectors",
    "feature_bands",
    "first_flip",
    "frozen_accuracy",
    "kept_subsets",
    "kernel_distances",
    "kernel_heatmap",
    "kernel_velocity",
    "lazy_by_threshold",
    "learned_modes",
    "margin_along_eps",
    "matched_features",
    "modes_along_time",
    "montage",
    "overlap_along_k",
    "perturbation_split",
    "png",
    "polar_paths",
    "shares_along_index",
    "signed_rgb",
    "spectra_along_epochs",
    "spectra_at_epoch",
    "strength_along_width",
    "strip",
    "symmetric_scale",
    "to_csv",
    "to_frame",
    "to_html",
    "to_rgb",
    "training_curves",
    "transfer_matrix",
    "usefulness_over_null",
    "usefulness_robustness",
    "vector_overlap_heatmap",
]
