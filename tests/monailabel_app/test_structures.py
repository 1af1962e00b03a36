"""New structures: named at the start, learned from labels, added later; masks that are there."""

from __future__ import annotations

import json
import os
import shutil
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from lfusion.checkpoint import Checkpoint
from lfusion.cli.server_process import running_server
from lfusion.image import Dataset, read_mask, write_mask
from lfusion.protocol import INFO_KEY, Submission
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.errors import RequestError, UnknownNameError
from monailabel_app.lib.jobs import TrainingJobs, ordered_labels
from monailabel_app.lib.retraining import collect_cases
from monailabel_app.lib.served import ServedModel
from monailabel_app.lib.structures import (
    agreed_structures,
    as_label_info,
    not_looked_for,
    start_checkpoint,
)


def opened(studies: Path, **labels: int) -> StudiesDatastore:
    return StudiesDatastore(str(studies), lambda: labels, auto_reload=False, read_only=False)


class TestNames:
    def test_they_are_kept_for_the_next_start(self, tmp_path: Path) -> None:
        assert agreed_structures([], tmp_path) == []
        assert agreed_structures(["symphysis", "head"], tmp_path) == ["symphysis", "head"]
        assert agreed_structures([], tmp_path) == ["symphysis", "head"]

    def test_new_ones_come_after_those_that_masks_are_numbered_by(self, tmp_path: Path) -> None:
        agreed_structures(["head"], tmp_path)
        assert agreed_structures(["head", "bone"], tmp_path) == ["head", "bone"]
        for names in (["bone", "head"], ["head"], ["bone"]):
            with pytest.raises(RequestError, match="expected head, bone first"):
                agreed_structures(names, tmp_path)

    @pytest.mark.parametrize("names", [["a", "a"], ["a", " "]])
    def test_names_that_cannot_be_told_apart(self, names: list[str], tmp_path: Path) -> None:
        with pytest.raises(RequestError, match="different names"):
            agreed_structures(names, tmp_path)


class TestModel:
    def test_of_the_same_structures_is_the_base(
        self, tiny_checkpoint: Path, tmp_path: Path
    ) -> None:
        assert start_checkpoint(tiny_checkpoint, [], tmp_path) == tiny_checkpoint
        assert start_checkpoint(tiny_checkpoint, ["fetal head"], tmp_path) == tiny_checkpoint

    def test_of_others_is_made_once(self, tiny_checkpoint: Path, tmp_path: Path) -> None:
        made = start_checkpoint(tiny_checkpoint, ["skull"], tmp_path)
        before = made.stat()
        assert Checkpoint.load(made).unlearned == ("skull",)
        assert start_checkpoint(tiny_checkpoint, ["skull"], tmp_path).stat() == before

    def test_a_retrained_one_takes_on_more(
        self, heads: Path, tiny_checkpoint: Path, tmp_path: Path
    ) -> None:
        state, studies = tmp_path / "state", tmp_path / "studies"
        shutil.copytree(heads / "images", studies)
        served = ServedModel(tiny_checkpoint, state)
        store = opened(studies, **{"fetal head": 1})
        store.save_label("head00", str(heads / "masks" / "head00.png"), "final", {})
        TrainingJobs(served, state).run({"steps": 1}, store)
        os.utime(served.path, (1000, 1000))
        names = ["fetal head", "symphysis"]
        again = ServedModel(start_checkpoint(tiny_checkpoint, names, state), state)
        again.take_on(names)
        assert dict(again.labels()) == {"fetal head": 1, "symphysis": 2}
        assert again.unlearned() == ("symphysis",)
        assert again.learned_until() == 1000
        took = again.checkpoint_id
        again.take_on(names)
        assert again.checkpoint_id == took
        again.rollback()
        assert dict(again.labels()) == {"fetal head": 1, "symphysis": 2}


class TestWhoLookedForWhat:
    def test_a_label_knows_what_could_be_drawn(self, heads: Path, tmp_path: Path) -> None:
        studies = tmp_path / "studies"
        shutil.copytree(heads / "images", studies)
        before = opened(studies, head=1)
        before.save_label("head00", str(heads / "masks" / "head00.png"), "final", {})
        before.close()
        later = opened(studies, bone=1, head=2)
        later.save_label("head01", str(heads / "masks" / "head01.png"), "final", {})
        by_hand = studies / "labels" / "final" / "head02.png"
        write_mask(by_hand, read_mask(heads / "masks" / "head02.png") * np.uint8(2))
        later.refresh()
        ordered = ordered_labels(later)
        labels = {"bone": 1, "head": 2}
        cases, skipped = collect_cases(ordered, labels, tmp_path)
        assert not skipped
        # the first was saved when the head was 1: it is 2 now
        assert [int(case.read_mask().max()) for case in cases] == [2, 1, 2]
        offered = {label.id: label.structures for label in ordered}
        assert not_looked_for(cases, offered, labels) == {"head00": (1,), "head02": (1,)}

    def test_numbers_with_gaps(self) -> None:
        assert [one["name"] for one in as_label_info({"c": 3, "a": 1})] == ["a", "unnamed", "c"]
        assert as_label_info({}) == []


class TestMasksOfADataset:
    def test_they_are_labels_once(self, heads: Path, tmp_path: Path) -> None:
        studies = Path(shutil.copytree(heads, tmp_path / "data"))
        write_mask(studies / "masks" / "head01.png", np.ones((4, 4), np.uint8))
        store = opened(studies, **{"fetal head": 1})
        assert len(store.get_labeled_images()) == 12
        (version,) = store.saver.versions("images--head00")
        assert (version.client_id, version.author) == ("masks", None)
        label = store.get_label_uri("images--head00", "final")
        np.testing.assert_array_equal(
            read_mask(Path(label)), Dataset.read(heads).cases[0].read_mask()
        )
        store.remove_label("images--head00", "final")
        store.close()
        again = opened(studies, **{"fetal head": 1})
        assert len(again.get_labeled_images()) == 11
        assert len(again.saver.versions("images--head02")) == 1


class TestTwoAuthors:
    def test_both_labels_are_kept_and_the_last_is_learned_from(
        self, heads: Path, tmp_path: Path
    ) -> None:
        studies = tmp_path / "studies"
        shutil.copytree(heads / "images", studies)
        store = opened(studies, head=1)
        masks = [heads / "masks" / f"head0{number}.png" for number in (0, 1)]
        for author, mask in zip(("Ann", "Bob"), masks, strict=True):
            store.saver.save("head00", mask, "final", Submission(base_version=0), author)
        assert [v.author for v in store.saver.versions("head00")] == ["Ann", "Bob"]
        for number, mask in enumerate(masks, start=1):
            file = store.saver.version_file("head00", number)
            assert file.read_bytes() == mask.read_bytes()
        (learned,) = ordered_labels(store)
        assert learned.label.read_bytes() == masks[1].read_bytes()
        with pytest.raises(UnknownNameError, match="no version 3"):
            store.saver.version_file("head00", 3)
        with pytest.raises(UnknownNameError, match="no version 1"):
            store.saver.version_file("nobody", 1)


def ended(http: httpx.Client) -> dict[str, Any]:
    """What became of the training that runs."""
    end = time.monotonic() + 240
    while True:
        state: dict[str, Any] = http.get("/training/").json()
        if state["status"] != "running":
            return state
        assert time.monotonic() < end, state
        time.sleep(0.05)


def test_from_nothing_to_a_model(heads: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """`lfusion serve --label ...` over images without any label, then a label and a training."""
    studies = Path(shutil.copytree(heads / "images", tmp_path / "studies"))
    options = ["--checkpoint", str(tiny_checkpoint), "--label", "skull", "--label", "symphysis"]
    log = tmp_path / "server.log"
    with (
        running_server(studies, log, *options) as url,
        httpx.Client(base_url=url, timeout=120) as http,
    ):
        info = http.get("/info/").json()
        assert info[INFO_KEY]["unlearned"] == ["skull", "symphysis"]
        assert next(iter(info["strategies"])) == info[INFO_KEY]["strategies"][0] == "typiclust"
        assert "has not learned skull, symphysis yet" in log.read_text()
        sample = http.post("/activelearning/typiclust", json={"client_id": "ann"}).json()
        assert "has not learned skull" in sample["why"]["sentence"]
        image = {"image": sample["id"]}
        reply = http.post("/infer/lfusion", params={**image, "output": "json"}).json()
        assert reply["unlearned"] == ["skull", "symphysis"]
        assert reply["label_names"] == {"skull": 1, "symphysis": 2}
        mask = http.post("/infer/lfusion", params={**image, "output": "image"}).content
        assert not np.asarray(Image.open(BytesIO(mask))).any()
        file = heads / "masks" / f"{sample['id']}.png"
        saved = http.put(
            "/datastore/label",
            params={**image, "params": json.dumps({"client_id": "ann"})},
            files={"label": (file.name, file.read_bytes())},
        )
        assert saved.json()["version"] == 1
        old = {"label": sample["id"], "tag": "final", "version": 1}
        assert http.get("/datastore/label", params=old).content == file.read_bytes()
        assert http.get("/datastore/label", params={**old, "version": 2}).status_code == 404
        assert http.post("/train/lfusion", json={"steps": 3}).is_success
        assert ended(http)["status"] == "done"
        info = http.get("/info/").json()
        assert info[INFO_KEY]["unlearned"] == ["symphysis"]
        assert info[INFO_KEY]["strategies"][0] == "epistemic_spread"
