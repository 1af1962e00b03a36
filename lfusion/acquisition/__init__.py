"""Maps → image scores → labelling order."""

from lfusion.acquisition.batch import Pick, standardised
from lfusion.acquisition.diversity import k_center_greedy, stratified, typiclust, uncertain_spread
from lfusion.acquisition.egad import egad
from lfusion.acquisition.information import greedy_batch, information_gain, packed, unpacked
from lfusion.acquisition.ranking import RankedImage, rank
from lfusion.acquisition.scores import (
    INFORMATION_GAIN,
    PLANNED,
    STRATEGIES,
    image_scores,
    random_score,
)

__all__ = [
    "INFORMATION_GAIN",
    "PLANNED",
    "STRATEGIES",
    "Pick",
    "RankedImage",
    "egad",
    "greedy_batch",
    "image_scores",
    "information_gain",
    "k_center_greedy",
    "packed",
    "random_score",
    "rank",
    "standardised",
    "stratified",
    "typiclust",
    "uncertain_spread",
    "unpacked",
]
