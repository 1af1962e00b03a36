"""What server and clients say to each other, as a schema.

MONAI Label's routes carry files plus one JSON object. These models say what our
server puts into the JSON; a client needs this module and nothing else of the
method. Nothing here needs torch.

* `POST /infer/lfusion`: the field `params` is an `InferResult`; the file is the
  mask; each map is fetched by `GET /datastore/label?label=ID&tag=TAG`, with the
  tags of `InferResult.maps`.
* `GET /datastore/?output=all` and every next sample: the info of an image holds
  a `StoredScore` under the key `INFO_KEY`.
* `GET /info/` holds a `Capabilities` under `INFO_KEY`; a plain MONAI Label server has none.
* `POST /activelearning/{strategy}` with `client_id` leases the image it offers; its answer holds
  a `Lease` under "lease", a `Why` under "why" and the label's version under "base_version".
  `PUT /lease?image=ID` renews, `DELETE /lease?image=ID` releases (both with `client_id`).
  `POST /skip` and `POST /flag` take an `Aside`.
* `GET /queue?strategy=NAME&limit=N` is a `Queue`; `GET /thumbnail?image=ID&size=PX` a PNG.
* `PUT /datastore/label` reads a `Submission` from `params` and answers with a `SavedLabel`;
  `GET /versions?image=ID` lists `LabelVersion`s, the oldest first.
* `POST /infer/lfusion_interactive` and `/infer/lfusion_counterfactual` read `Clicks` and
  `Alternative` from `params` and answer as `/infer/lfusion` does (the latter with an
  `AlternativeResult`). Asked about a cine, every model answers with a mask for each frame, or
  with `frame` for that one alone.
* `GET /scoring/` is a `ScoringStatus`, `GET /training/` a `TrainingStatus`, which is also
  `train_stats.lfusion.progress` of `GET /info/`.
* Every error is an `ErrorBody`.
"""

from lfusion.protocol.jobs import ScoringStatus, StoredScore, TrainingPoint, TrainingStatus
from lfusion.protocol.labels import LabelVersion, SavedLabel, Submission
from lfusion.protocol.names import (
    BANDS_MODEL,
    COUNTERFACTUAL_MODEL,
    INFO_KEY,
    INTERACTIVE_MODEL,
    MAP_SUFFIX,
    MAP_TAGS,
    MODEL_NAME,
)
from lfusion.protocol.prediction import (
    Abnormality,
    Alternative,
    AlternativeResult,
    Clicks,
    InferResult,
    Latencies,
    RegionKind,
    UnusualRegion,
)
from lfusion.protocol.queue import Aside, Lease, Queue, QueueItem, Why
from lfusion.protocol.server import Capabilities, ErrorBody

__all__ = [
    "BANDS_MODEL",
    "COUNTERFACTUAL_MODEL",
    "INFO_KEY",
    "INTERACTIVE_MODEL",
    "MAP_SUFFIX",
    "MAP_TAGS",
    "MODEL_NAME",
    "Abnormality",
    "Alternative",
    "AlternativeResult",
    "Aside",
    "Capabilities",
    "Clicks",
    "ErrorBody",
    "InferResult",
    "LabelVersion",
    "Latencies",
    "Lease",
    "Queue",
    "QueueItem",
    "RegionKind",
    "SavedLabel",
    "ScoringStatus",
    "StoredScore",
    "Submission",
    "TrainingPoint",
    "TrainingStatus",
    "UnusualRegion",
    "Why",
]
