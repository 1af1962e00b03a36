"""The MONAI Label app: `monailabel start_server --app monailabel_app --studies DIR`.

`--conf checkpoint FILE` serves another model than the shipped one, `--conf state
DIR` keeps retrained models elsewhere than in `STUDIES/.lfusion`, `--conf labels
'["NAME", ...]'` names the structures to label. MONAI Label
loads this file by its path, in the server and in its training process.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from lfusion import __version__
from lfusion.checkpoint import default_checkpoint_path
from lfusion.protocol import (
    BANDS_MODEL,
    COUNTERFACTUAL_MODEL,
    INTERACTIVE_MODEL,
    MODEL_NAME,
    Capabilities,
)
from monailabel_app.lib.automatic import AutomaticTraining
from monailabel_app.lib.datastore import STATE_FOLDER, StudiesDatastore
from monailabel_app.lib.datastore.journal import TrainingEntry
from monailabel_app.lib.dicomweb import DicomWebMirror, DicomWebStore, is_remote, mirror_folder
from monailabel_app.lib.errors import RequestError, UnknownNameError
from monailabel_app.lib.infer import (
    BandsInfer,
    CounterfactualInfer,
    InteractiveInfer,
    UncertaintyInfer,
)
from monailabel_app.lib.infer.remembered import RememberedPossibilities
from monailabel_app.lib.infer.request import BACKGROUND
from monailabel_app.lib.jobs import TrainingJobs
from monailabel_app.lib.leases import LEASE_SECONDS, Leases
from monailabel_app.lib.planning import BatchPlanning
from monailabel_app.lib.queue import LabellingQueue
from monailabel_app.lib.scoring import PoolScoring
from monailabel_app.lib.served import ServedModel
from monailabel_app.lib.sessions import LimitedSessions
from monailabel_app.lib.strategies import QueueStrategy
from monailabel_app.lib.structures import agreed_structures, start_checkpoint
from monailabel_app.lib.tokens import Role
from monailabel_app.lib.train import Retraining
from monailabel_app.lib.training_state import TrainingRecord
from monailabel_app.lib.why import ORDERS

logger = logging.getLogger(__name__)

COLD_START = "typiclust"
"""The strategy that needs no model that works."""

_TASK_PROCESS = "monailabel.interfaces.utils.app"


class LFusionApp(MONAILabelApp):  # type: ignore[misc]  # MONAI Label has no types
    """Segmentation with uncertainty, ranking and retraining behind MONAI Label's protocol.

    Args:
        app_dir: Folder of this file.
        studies: Folder of the images, or a DICOMweb address.
        conf: `checkpoint`, `state` and `labels`, see above; `train_after`, see `AutomaticTraining`.
    """

    def __init__(self, app_dir: str, studies: str, conf: Mapping[str, str]) -> None:
        self._state = _state_folder(studies, conf)
        checkpoint = conf.get("checkpoint")
        base = Path(checkpoint) if checkpoint else default_checkpoint_path()
        names = agreed_structures(json.loads(conf.get("labels", "[]")), self._state)
        self.served = ServedModel(start_checkpoint(base, names, self._state), self._state)
        self.served.take_on(names)
        self.training = TrainingJobs(self.served, self._state, self._training_over)
        self.automatic = AutomaticTraining(
            self.training,
            int(conf.get("train_after", 0)),
            lambda record: self._record_training("started after saved labels", record),
        )
        self._fixed: tuple[str | None, dict[str, Any]] = (None, {})
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="L-FUSION",
            description="Ultrasound segmentation with aleatoric and epistemic uncertainty",
            # 3D Slicer makes a segment of each: background for clicks outside, none for bands.
            labels=[*self.served.labels(), BACKGROUND],
        )
        # Strategies ask for missing scores themselves; MONAI Label would start
        # a process per method for every next sample.
        self._auto_update_scoring = False
        if unlearned := self.served.unlearned():
            logger.warning(
                "the model has not learned %s yet: label a few images in the order of typiclust, "
                "then train",
                ", ".join(unlearned),
            )

    def init_datastore(self) -> Datastore:
        """A folder of images; of a DICOMweb address the folder that mirrors it."""
        remote = is_remote(self.studies)
        folder = mirror_folder(self.studies, self._state) if remote else Path(self.studies)
        # The server owns the index; its training process only reads it.
        read_only = settings.MONAI_LABEL_DATASTORE_READ_ONLY or _in_task_process()
        store = StudiesDatastore(
            str(folder),
            self.served.labels,
            auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD and not remote,
            read_only=read_only,
        )
        if remote and not read_only:
            remote_store = DicomWebStore(self.studies.rstrip("/"))
            record = folder.with_suffix(".json")
            mirror = DicomWebMirror(remote_store, store, self.served.labels, record)
            mirror.start(settings.MONAI_LABEL_DICOMWEB_CACHE_EXPIRY)
        return store

    def init_infers(self) -> dict[str, InferTask]:
        """The model `lfusion` first, which 3D Slicer runs on each new sample."""
        store = self._datastore if isinstance(self._datastore, StudiesDatastore) else None
        remembered = RememberedPossibilities()
        return {
            MODEL_NAME: UncertaintyInfer(self.served, store),
            INTERACTIVE_MODEL: InteractiveInfer(self.served, remembered),
            COUNTERFACTUAL_MODEL: CounterfactualInfer(self.served, remembered),
            BANDS_MODEL: BandsInfer(self.served),
        }

    def init_trainers(self) -> dict[str, TrainTask]:
        """The trainer `lfusion`."""
        return {MODEL_NAME: Retraining(self.training)}

    def init_strategies(self) -> dict[str, Strategy]:
        """One strategy per stored score, those that plan batches, and `random`."""
        self.leases = Leases(self._datastore.index, wall=time.time)
        self.queue = LabellingQueue(self._datastore.index, self.leases)
        self.pool_scoring = PoolScoring(self.served, self._datastore)
        planning = BatchPlanning(self._datastore.index, self.served)
        return {
            name: QueueStrategy(order, self.queue, self.served, self.pool_scoring, planning)
            for name, order in ORDERS.items()
        }

    def strategies(self) -> dict[str, Strategy]:
        """The strategies by name, the default first: `typiclust` while nothing is learned."""
        known = dict(self._strategies)
        if len(self.served.unlearned()) < len(self.served.labels()):
            return known
        return {COLD_START: known.pop(COLD_START), **known}

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        """One run computes all scores, whatever its name."""
        return {"epistemic": self.pool_scoring}

    def _training_over(self, record: TrainingRecord) -> None:
        """Put the end of a training into the journal, then go on."""
        try:
            self._record_training(record.status, record)
        finally:
            self._training_ended(record)

    def _load_sessions(self, load: bool = False) -> LimitedSessions | None:
        """Sessions with limits for each user; MONAI Label removes expired ones every 5 minutes."""
        if not load:
            return None
        path = settings.MONAI_LABEL_SESSION_PATH or str(self._state / "sessions")
        return LimitedSessions(path, settings.MONAI_LABEL_SESSION_EXPIRY)

    def _training_ended(self, record: TrainingRecord) -> None:
        """Rank anew with the new checkpoint, and train again if labels came meanwhile.

        Not after one that was stopped, or killed: who did that wants none now.
        """
        try:
            if record.status == "done":
                self.pool_scoring.ensure()
        finally:
            if record.status in ("done", "failed"):
                self.automatic.start_due(self._datastore)

    def _record_training(self, action: str, record: TrainingRecord) -> None:
        """Put what became of a training into the journal of the studies."""
        self._datastore.record(
            TrainingEntry(
                action=action, training=record.id, detail=record.error or record.checkpoint_id or ""
            )
        )

    def infer(
        self, request: Mapping[str, Any], datastore: Datastore | None = None
    ) -> dict[str, Any]:
        """Run a model on an image; see the base class.

        A string in `image` is always an id of the datastore: the base class
        would open a file of that name on the server. Only our own server, which
        received the file, passes a `Path`.

        Raises:
            UnknownNameError: There is no such model or image.
            RequestError: A prediction was to be stored as a final label.
        """
        store = datastore if datastore is not None else self.datastore()
        model, image = request.get("model"), request.get("image")
        task = self._infers.get(model)
        if task is None:
            raise UnknownNameError(
                f"expected one of the models {', '.join(self._infers)}; got {str(model)[:80]!r}"
            )
        tag = str(request.get("label_tag", DefaultLabelTag.ORIGINAL.value))
        if tag == DefaultLabelTag.FINAL:
            raise RequestError("a prediction is not stored as a final label; review and save it")
        image_id = None if isinstance(image, Path) else str(image)
        path = image if image_id is None else store.get_image_uri(image_id)
        if not path:
            raise UnknownNameError(f"there is no image {str(image)[:80]!r} in the datastore")
        given = {**request, "image": str(path), "image_id": image_id}
        if image_id is not None and given.get("pixel_size_mm") is None:
            size = store.image_metadata(image_id).pixel_size_mm
            given |= {} if size is None else {"pixel_size_mm": list(size)}
        file, result = task(given)
        if image_id is not None and request.get("save_label") is True:
            try:
                store.save_label(image_id, file, tag, {"model": model, "params": result})
            except BaseException:
                Path(file).unlink(missing_ok=True)  # nobody else will hear of it
                raise
        return {"label": file, "tag": tag, "file": file, "params": result}

    def info(self) -> dict[str, Any]:
        """What MONAI Label's clients ask for every few seconds; see the base class."""
        return {
            **self.fixed_info(),
            "train_stats": {name: task.stats() for name, task in self._trainers.items()},
            "datastore": self._datastore.status(),
        }

    def fixed_info(self) -> dict[str, Any]:
        """The part of `info` that only another checkpoint changes, put together once for each."""
        checkpoint_id = self.served.checkpoint_id
        built_for, fixed = self._fixed
        if built_for != checkpoint_id:
            fixed = super().info()
            order = list(self.strategies())
            fixed["strategies"] = {name: fixed["strategies"][name] for name in order}
            self._fixed = (checkpoint_id, fixed)
        return fixed

    def capabilities(self, role: Role) -> Capabilities:
        """What this server offers beyond MONAI Label.

        Args:
            role: Of who asks.
        """

        def offered(model: str) -> str | None:
            return model if model in self._infers else None

        bands = self.served.predictor().checkpoint.calibration.bands
        return Capabilities(
            version=__version__,
            checkpoint_id=self.served.checkpoint_id,
            epistemic_scale=bands["epistemic"][1] if "epistemic" in bands else None,
            lease_seconds=LEASE_SECONDS,
            interactive=offered(INTERACTIVE_MODEL),
            counterfactual=offered(COUNTERFACTUAL_MODEL),
            strategies=tuple(self.strategies()),
            unlearned=self.served.unlearned(),
            role=role,
        )

    def infer_wsi(
        self, request: Mapping[str, Any], datastore: Datastore | None = None
    ) -> dict[str, Any]:
        """Refuse: the base class opens any file of the server here.

        Raises:
            RequestError: Always.
        """
        raise RequestError("whole-slide inference is not for ultrasound; use /infer/lfusion")


def _state_folder(studies: str, conf: Mapping[str, str]) -> Path:
    """Where retrained models and their status are kept: with the studies' owner."""
    if conf.get("state"):
        return Path(conf["state"]).resolve()
    if is_remote(studies):
        raise RequestError("expected `--conf state DIR` for retrained models of remote studies")
    return Path(studies).resolve() / STATE_FOLDER


def _in_task_process() -> bool:
    """Whether MONAI Label started this process for one background task."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec is not None and spec.name == _TASK_PROCESS
