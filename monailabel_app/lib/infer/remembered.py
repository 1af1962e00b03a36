"""Forward passes kept for the next click."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from lfusion.image import UltrasoundImage
from lfusion.interaction import Possibilities, possibilities
from lfusion.predictor import Predictor

_Key = tuple[str, bytes]


class RememberedPossibilities:
    """The least recently used ones are forgotten; several threads may ask.

    Args:
        capacity_bytes: Of all tensors. The shipped model needs 7 MB for an image.
    """

    def __init__(self, capacity_bytes: int = 256 * 2**20) -> None:
        self._capacity = capacity_bytes
        self._kept: OrderedDict[_Key, Possibilities] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, predictor: Predictor, image: UltrasoundImage) -> Possibilities:
        """What the model sees in an image; the network runs only for a new one.

        Args:
            predictor: Of the model; another checkpoint is asked anew.
            image: Known again by its pixels, whatever file they came from.
        """
        key = (predictor.checkpoint_id, hashlib.blake2b(image.pixels.tobytes()).digest())
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        # Outside of the lock: one slow image holds up nobody else's click.
        seen = possibilities(predictor, image)
        with self._lock:
            self._kept[key] = seen
            while sum(map(_bytes, self._kept.values())) > self._capacity and len(self._kept) > 1:
                self._kept.popitem(last=False)
        return seen


def _bytes(seen: Possibilities) -> int:
    tensors = (seen.head.mean, seen.head.factor, seen.head.residual, seen.learnt.factor)
    return sum(tensor.nbytes for tensor in tensors)
