"""Files that people really have: the right value by command line and by server.

The folders of ../shared/cases are synthetic files after public reports; each test names the value
that its page gives. The head is that of `sample_data/phantom_0001` at 0.2 mm a pixel.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from lfusion.cli import app
from lfusion.cli.server_process import running_server
from lfusion.evaluation.metrics import dice
from lfusion.image import read_mask
from lfusion.image.masks import read_placed_mask

HC_MM = 151.26
SAMPLES = Path(__file__).resolve().parents[2] / "sample_data"


def command(*arguments: str | Path) -> tuple[int, str]:
    """Run `lfusion`; its exit code and all that it printed."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    return result.exit_code, result.output


def predicted(out: Path, image: Path) -> dict[str, Any]:
    """Predict one image by the command line; its JSON."""
    code, text = command("predict", image, "--out", out)
    assert code == 0, text
    described: dict[str, Any] = json.loads(next(out.glob("*.json")).read_text())
    return described


def refused(out: Path, image: Path) -> str:
    """Why the command line refuses an image."""
    code, text = command("predict", image, "--out", out)
    assert code == 2
    return text


def head_mm(described: dict[str, Any]) -> float:
    """Head circumference of a prediction."""
    biometry = described["biometry"]
    assert biometry is not None
    return float(biometry["hc_mm"])


class TestCommandLine:
    def test_cine_whose_data_are_short(self, shared_cases: Path, tmp_path: Path) -> None:
        case = shared_cases / "cine_short"
        assert predicted(tmp_path / "right", case / "right.dcm")["biometry"]["hc_px"] > 0
        text = refused(tmp_path / "twice", case / "twice.dcm")
        assert "16" in text
        assert "6" in text.replace("16", "")

    def test_mask_of_another_orientation(self, shared_cases: Path, tmp_path: Path) -> None:
        data = tmp_path / "ds"
        shutil.copytree(shared_cases / "mask_orientation" / "ds", data)
        code, text = command("evaluate", data, "--split", "test", "--json", tmp_path / "r.json")
        assert code == 2
        assert "shifted" in text
        assert "200" in text  # where it lies
        for folder, name in (("images", "shifted.nii.gz"), ("masks", "shifted.nii.gz")):
            (data / folder / name).unlink()
        (data / "meta.csv").write_text("id,split\nlps,test\nras,test\n")
        code, text = command("evaluate", data, "--split", "test", "--json", tmp_path / "r.json")
        assert code == 0, text
        found = [
            read_placed_mask(
                data / "masks" / f"{n}.nii.gz", data / "images" / f"{n}.nii.gz", {}
            ).frames[0]
            for n in ("lps", "ras")
        ]
        assert dice(found[0] == 1, found[1] == 1) > 0.99

    def test_region_of_the_head_decides(self, shared_cases: Path, tmp_path: Path) -> None:
        described = predicted(tmp_path, shared_cases / "dicom_two_regions" / "dual.dcm")
        assert described["pixel_size_mm"] == pytest.approx([0.2, 0.2])

    @pytest.mark.parametrize("name", ["caps", "hc18", "space"])
    def test_columns_of_meta_csv(self, shared_cases: Path, tmp_path: Path, name: str) -> None:
        data = tmp_path / "ds"
        for folder in ("images", "masks"):
            (data / folder).mkdir(parents=True)
            for number in (1, 2, 3):
                file = f"phantom_{number:04}.png"
                shutil.copy(SAMPLES / folder / file, data / folder / file)
        shutil.copy(SAMPLES / "labels.json", data)
        shutil.copy(shared_cases / "meta_columns" / name / "meta.csv", data)
        from lfusion.image import Dataset

        dataset = Dataset.read(data)
        assert [case.id for case in dataset.split("train")] == ["phantom_0001", "phantom_0002"]
        assert {case.pixel_size_mm for case in dataset} == {(0.2, 0.2)}

    def test_two_bits_are_class_numbers(self, shared_cases: Path) -> None:
        mask = shared_cases / "mask_two_bits" / "bit2" / "masks" / "phantom_0001.png"
        assert np.unique(read_mask(mask)).tolist() == [0, 1, 2]

    def test_colour_by_the_markers_of_the_stream(self, shared_cases: Path, tmp_path: Path) -> None:
        case = shared_cases / "jpeg_colour"
        right = predicted(tmp_path / "right", case / "right_ybr422.dcm")
        wrong = predicted(tmp_path / "wrong", case / "wrong_rgb.dcm")
        assert wrong["scores"] == right["scores"]
        assert head_mm(wrong) == head_mm(right)

    def test_segmentation_of_slicer(self, shared_cases: Path, tmp_path: Path) -> None:
        studies = shared_cases / "seg_nrrd" / "studies"
        assert "segmentation" in refused(tmp_path, studies / "scan.seg.nrrd")
        label = studies / "labels" / "final" / "scan2.seg.nrrd"
        mask = read_placed_mask(label, studies / "scan2.nrrd", {"fetal head": 1}).frames
        assert np.unique(mask).tolist() == [0, 1]

    def test_jpeg_among_the_masks(self, shared_cases: Path, tmp_path: Path) -> None:
        data = shared_cases / "mask_jpeg" / "mixed"
        code, text = command("rank", data, "--strategy", "random", "--json", tmp_path / "r.json")
        assert code == 0, text
        lines = [line for line in text.splitlines() if "phantom_0003.jpg" in line]
        assert len(lines) == 1

    @pytest.mark.parametrize(("name", "value"), [("b128", "128"), ("skip", "5"), ("soft", "255")])
    def test_grey_masks(self, shared_cases: Path, tmp_path: Path, name: str, value: str) -> None:
        data = tmp_path / "ds"
        (data / "images").mkdir(parents=True)
        for number in (1, 2):
            shutil.copy(SAMPLES / "images" / f"phantom_{number:04}.png", data / "images")
        shutil.copytree(shared_cases / "mask_grey" / name / "masks", data / "masks")
        code, text = command("train", data, "--out", tmp_path / "m.safetensors", "--steps", "1")
        assert code == 2
        assert value in text

    def test_dicom_of_any_name(self, shared_cases: Path, tmp_path: Path) -> None:
        image = shared_cases / "dicom_no_suffix" / "ds" / "images" / "IM_0001"
        assert predicted(tmp_path, image)["image"] == "IM_0001"
        code, text = command(
            "rank", image.parents[1], "--strategy", "random", "--json", tmp_path / "r.json"
        )
        assert code == 0, text
        assert "IM_0001" in (tmp_path / "r.json").read_text()

    def test_pair_of_header_and_raw_data(self, shared_cases: Path, tmp_path: Path) -> None:
        assert ".mha" in refused(tmp_path, shared_cases / "mhd_pair" / "st" / "pair.mhd")

    def test_empty_values_count_as_absent(self, shared_cases: Path, tmp_path: Path) -> None:
        case = shared_cases / "dicom_empty_tags"
        empty = predicted(tmp_path / "empty", case / "empty_rescale.dcm")
        plain = predicted(tmp_path / "plain", case / "ok.dcm")
        assert head_mm(empty) == head_mm(plain) == pytest.approx(HC_MM, rel=0.03)

    def test_annotations_are_no_images(self, shared_cases: Path, tmp_path: Path) -> None:
        data = shared_cases / "annotation_files" / "hc18"
        code, text = command("rank", data, "--strategy", "random", "--json", tmp_path / "r.json")
        assert code == 0, text
        assert "Annotation" not in (tmp_path / "r.json").read_text()
        assert sum("_Annotation" in line for line in text.splitlines()) == 1


@pytest.fixture(scope="module")
def server(
    shared_cases: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, Path]]:
    """`lfusion serve` with the shipped model over all cases in one studies folder."""
    studies = tmp_path_factory.mktemp("cases") / "studies"
    shutil.copytree(shared_cases / "server_meta" / "ds", studies)
    for source in (
        shared_cases / "hand_placed_labels" / "st",
        shared_cases / "seg_nrrd" / "studies",
        shared_cases / "mhd_pair" / "st",
        shared_cases / "cine_short",
        shared_cases / "dicom_two_regions",
        shared_cases / "jpeg_colour",
        shared_cases / "dicom_empty_tags",
        shared_cases / "dicom_no_suffix" / "ds" / "images",
    ):
        shutil.copytree(source, studies, dirs_exist_ok=True)
    shutil.copytree(shared_cases / "annotation_files" / "hc18", studies / "hc18")
    shutil.copytree(shared_cases / "mask_orientation" / "ds" / "images", studies / "placed")
    with (
        running_server(studies, studies.parent / "server.log") as url,
        httpx.Client(base_url=url, timeout=120) as http,
    ):
        yield http, studies


def infer(http: httpx.Client, image: str) -> dict[str, Any]:
    """The scalars that the server predicts of an image of its datastore."""
    answer = http.post("/infer/lfusion", params={"image": image, "output": "json"})
    assert answer.status_code == 200, answer.text
    scalars: dict[str, Any] = answer.json()
    return scalars


def message(answer: httpx.Response, studies: Path) -> str:
    """The reason of a refusal, which names no path of the server."""
    assert answer.status_code == 400, answer.text
    assert str(studies) not in answer.text
    return str(answer.json()["message"])


def upload_label(http: httpx.Client, image: str, label: Path) -> httpx.Response:
    """Save a file as the final label of an image."""
    files = {"label": (label.name, label.read_bytes())}
    return http.put("/datastore/label", params={"image": image, "tag": "final"}, files=files)


@pytest.mark.usefixtures("shared_cases")
class TestServer:
    def test_images_of_the_pool(self, server: tuple[httpx.Client, Path]) -> None:
        http, _ = server
        objects = http.get("/datastore/", params={"output": "all"}).json()["objects"]
        assert "IM_0001" in objects
        assert {"hc18--images--001_HC", "hc18--images--002_HC"} <= set(objects)
        assert not any("seg" in name or "Annotation" in name for name in objects)

    def test_short_cine(self, server: tuple[httpx.Client, Path]) -> None:
        http, studies = server
        assert infer(http, "right")["biometry"] is not None
        for answer in (
            http.post("/infer/lfusion", params={"image": "twice", "output": "json"}),
            http.get("/thumbnail", params={"image": "twice"}),
        ):
            text = message(answer, studies)
            assert "16" in text
            assert "6" in text.replace("16", "")

    def test_pair_of_header_and_raw_data(self, server: tuple[httpx.Client, Path]) -> None:
        http, studies = server
        answer = http.get("/thumbnail", params={"image": "pair"})
        assert ".mha" in message(answer, studies)
        answer = http.put(
            "/datastore/image",
            params={"image": "sent"},
            files={"file": ("sent.mhd", (studies / "pair.mhd").read_bytes())},
        )
        assert ".mha" in message(answer, studies)

    def test_pixel_size_of_meta_csv(self, server: tuple[httpx.Client, Path]) -> None:
        http, _ = server
        scalars = infer(http, "images--phantom_0001")
        assert scalars["pixel_size_mm"] == pytest.approx([0.2, 0.2])
        assert scalars["biometry"]["hc_mm"] == pytest.approx(HC_MM, rel=0.03)

    def test_region_of_the_head_decides(self, server: tuple[httpx.Client, Path]) -> None:
        http, _ = server
        assert infer(http, "dual")["pixel_size_mm"] == pytest.approx([0.2, 0.2])

    def test_dicom_headers(self, server: tuple[httpx.Client, Path]) -> None:
        http, _ = server
        for one, other in (("wrong_rgb", "right_ybr422"), ("empty_rescale", "ok")):
            assert infer(http, one)["biometry"] == infer(http, other)["biometry"]
        assert infer(http, "IM_0001")["biometry"] is not None

    def test_labels_placed_by_hand(self, server: tuple[httpx.Client, Path]) -> None:
        http, studies = server
        items = http.get("/queue", params={"limit": 100}).json()["items"]
        by_id = {item["id"]: item for item in items}
        for name, file in (("a", "a.png"), ("b", "b.jpg"), ("c", "c.png"), ("d", "d.png")):
            assert by_id[name]["state"] != "labelled"
            assert f"labels/final/{file}" in json.dumps(by_id[name])
            assert (studies / "labels" / "final" / file).exists()
        assert by_id["scan2"]["state"] == "labelled"
        assert by_id["images--phantom_0001"]["state"] == "labelled"
        log = (studies.parent / "server.log").read_text()
        assert "labels/final/b.jpg" in log

    @pytest.mark.parametrize(
        ("case", "value"),
        [
            ("mask_grey/b128/masks/phantom_0001.png", "128"),
            ("mask_grey/skip/masks/phantom_0001.png", "5"),
            ("mask_grey/soft/masks/phantom_0001.png", "254"),
            ("mask_two_bits/bit2/masks/phantom_0001.png", "0, 1, 2;"),
            ("mask_jpeg/mixed/masks/phantom_0003.jpg", "JPEG"),
            ("hand_placed_labels/st/labels/final/a.png", "255"),
        ],
    )
    def test_labels_that_are_refused(
        self, server: tuple[httpx.Client, Path], shared_cases: Path, case: str, value: str
    ) -> None:
        http, studies = server
        text = message(upload_label(http, "e", shared_cases / case), studies)
        assert value in text
        assert "170" not in text

    def test_label_is_laid_on_its_image(
        self, server: tuple[httpx.Client, Path], shared_cases: Path, tmp_path: Path
    ) -> None:
        http, studies = server
        masks = shared_cases / "mask_orientation" / "ds" / "masks"
        image = studies / "placed" / "lps.nii.gz"
        assert upload_label(http, "placed--lps", masks / "lps.nii.gz").status_code == 200
        assert upload_label(http, "placed--ras", masks / "ras.nii.gz").status_code == 200
        found = []
        for name in ("lps", "ras"):
            answer = http.get(
                "/datastore/label", params={"label": f"placed--{name}", "tag": "final"}
            )
            file = tmp_path / f"{name}.nii.gz"
            file.write_bytes(answer.content)
            found.append(read_placed_mask(file, image, {}).frames[0])
        assert dice(found[0] == 1, found[1] == 1) > 0.99
        text = message(upload_label(http, "placed--shifted", masks / "shifted.nii.gz"), studies)
        assert "200" in text
