"""Lengths, areas and angles of one image, each with an interval: biometry meets uncertainty."""

from lfusion.measurement.displacement import displacement_weights
from lfusion.measurement.measure import HEAD, SYMPHYSIS, measure, measure_maps
from lfusion.measurement.quantities import Area, Measurement, standardised_errors
from lfusion.measurement.reference import reference_hc
from lfusion.measurement.sampled import sample_quantities

__all__ = [
    "HEAD",
    "SYMPHYSIS",
    "Area",
    "Measurement",
    "displacement_weights",
    "measure",
    "measure_maps",
    "reference_hc",
    "sample_quantities",
    "standardised_errors",
]
