"""The list of all actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_lfusion.controller.annotator import Annotator
from napari_lfusion.core.session import Disconnected
from napari_lfusion.ui.actions import Spec
from napari_lfusion.ui.catalogue_case import case_actions

if TYPE_CHECKING:
    from napari_lfusion.ui.dialogs import Dialogs

_SESSION, _MODEL = "Session", "Model"


def all_actions(annotator: Annotator, dialogs: Dialogs) -> list[Spec]:
    """Every action of the plugin.

    Args:
        annotator: Does it.
        dialogs: Asks what has to be asked.

    Returns:
        In the order of the help.
    """
    return [
        *_session(annotator, dialogs),
        *case_actions(annotator),
        *_model(annotator),
        Spec(_SESSION, "help", "Keys", "? F1", "Show all keys", dialogs.help, lambda: True),
    ]


def _session(annotator: Annotator, dialogs: Dialogs) -> list[Spec]:
    def editing() -> bool:
        return annotator.editing

    def connected() -> bool:
        return not isinstance(annotator.link.state, Disconnected)

    return [
        Spec(
            _SESSION,
            "next",
            "Next",
            "N",
            "Take the next case of the queue",
            annotator.session.next_case,
            lambda: annotator.idle,
        ),
        Spec(
            _SESSION,
            "submit",
            "Submit",
            "S",
            "Save the mask as the final label",
            annotator.finisher.submit,
            editing,
        ),
        Spec(_SESSION, "skip", "Skip", "Q", "Not now, not by me: say why", dialogs.skip, editing),
        Spec(
            _SESSION,
            "flag",
            "Flag",
            "Shift+Q",
            "Ask for someone to look at it: say why",
            dialogs.flag,
            editing,
        ),
        Spec(
            _SESSION,
            "release",
            "Give back",
            "Ctrl+Shift+Q",
            "Close the case untouched; changes are lost",
            dialogs.release,
            editing,
        ),
        Spec(
            _SESSION,
            "refused",
            "Refused",
            "Shift+S",
            "Decide about corrections that the server refused",
            dialogs.refused,
            lambda: bool(annotator.postman.refused),
        ),
        Spec(
            _SESSION,
            "order",
            "Order",
            "Shift+N",
            "Order the queue in the next way",
            annotator.queue.choose_next,
            connected,
        ),
        Spec(
            _SESSION,
            "refresh",
            "Refresh",
            "F5",
            "Ask for the queue again",
            annotator.queue.refresh,
            connected,
        ),
        Spec(
            _SESSION,
            "disconnect",
            "Disconnect",
            "Ctrl+Shift+D",
            "End the connection; what was painted is kept",
            annotator.disconnect,
            connected,
        ),
    ]


def _model(annotator: Annotator) -> list[Spec]:
    training = annotator.training

    def trainable() -> bool:
        info = annotator.link.info
        return info is not None and info.trainable and training.latest.status != "running"

    return [
        Spec(
            _MODEL, "train", "Retrain", "T", "Train on all final labels", training.start, trainable
        ),
        Spec(
            _MODEL,
            "stop",
            "Stop",
            "Shift+T",
            "Stop the training; the served model stays as it was",
            training.stop,
            lambda: training.latest.status == "running",
        ),
    ]
