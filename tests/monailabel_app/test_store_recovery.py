"""Recovery trusts files by their content: copies, lost lines and crashes lose no label."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lfusion.image import write_map, write_mask
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.datastore.folder import digest_of
from monailabel_app.lib.datastore.journal import LabelEntry, line_of, read_entries

STATE = ".lfusion"


def opened(studies: Path) -> StudiesDatastore:
    return StudiesDatastore(str(studies), lambda: {"head": 1}, auto_reload=False, read_only=False)


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Labels of different contents."""
    folder = tmp_path_factory.mktemp("masks")
    files = [folder / f"mask{number}.png" for number in range(12)]
    for number, file in enumerate(files):
        write_mask(file, np.eye(96, 128, k=number, dtype=np.uint8))
    return files


def kept(studies: Path) -> set[str]:
    """Digests of all files of labels and versions."""
    folders = (studies / "labels", studies / STATE / "versions")
    return {digest_of(file) for f in folders for file in f.rglob("*") if file.is_file()}


def without_index(studies: Path) -> None:
    for file in (studies / STATE).glob("index.sqlite*"):
        file.unlink()


def journal_of(studies: Path) -> Path:
    return studies / STATE / "journal.jsonl"


def saved(studies: Path, masks: list[Path]) -> None:
    """Save the labels one after the other."""
    store = opened(studies)
    for mask in masks:
        store.save_label("head00", str(mask), "final", {})
    store.close()


def check(studies: Path, expected: list[Path], current: Path) -> None:
    """All versions have their own bytes, and the next save destroys none."""
    store = opened(studies)
    versions = store.saver.versions("head00")
    assert {one.sha256 for one in versions} >= {digest_of(mask) for mask in expected}
    for one in versions:
        assert digest_of(store.saver.version_file("head00", one.version)) == one.sha256
    assert Path(store.get_label_uri("head00", "final")).read_bytes() == current.read_bytes()
    assert [one.sha256 for one in versions if one.current] == [digest_of(current)]
    store.close()


class TestCopies:
    def test_a_live_copy_whose_journal_is_older_than_its_files(
        self, studies: Path, masks: list[Path], tmp_path: Path
    ) -> None:
        saved(studies, masks[:1])
        journal = journal_of(studies).read_bytes()
        saved(studies, masks[1:3])
        copy = tmp_path / "copy"
        shutil.copytree(studies, copy, ignore=shutil.ignore_patterns("index.sqlite*"))
        journal_of(copy).write_bytes(journal)
        check(copy, masks[:3], masks[2])
        saved(copy, [masks[3]])
        check(copy, masks[:4], masks[3])
        assert [one.version for one in opened(copy).saver.versions("head00")] == [1, 2, 3, 4]

    def test_an_older_journal_beside_its_index_gets_its_lines_back(
        self, studies: Path, masks: list[Path]
    ) -> None:
        saved(studies, masks[:1])
        journal = journal_of(studies).read_bytes()
        store = opened(studies)
        store.save_label("head00", str(masks[1]), "final", {"client_id": "ann"})
        store.close()
        journal_of(studies).write_bytes(journal)
        check(studies, masks[:2], masks[1])
        without_index(studies)
        check(studies, masks[:2], masks[1])
        assert opened(studies).saver.versions("head00")[1].client_id == "ann"

    def test_another_journal_of_the_same_length_is_noticed(
        self, studies: Path, masks: list[Path]
    ) -> None:
        saved(studies, masks[:2])
        content = journal_of(studies).read_bytes()
        journal_of(studies).write_bytes(bytes(reversed(content)))
        check(studies, masks[:2], masks[1])
        without_index(studies)
        check(studies, masks[:2], masks[1])

    def test_files_whose_numbers_belong_to_other_versions(
        self, studies: Path, masks: list[Path]
    ) -> None:
        saved(studies, masks[:3])
        folder = studies / STATE / "versions" / "final" / "head00"
        lines = journal_of(studies).read_bytes()
        # Two servers that never met: the same numbers for other labels.
        (folder / "2.png").rename(folder / "2-foreign.png")
        shutil.copy(masks[5], folder / "2.png")
        (folder / "2-foreign.png").rename(folder / f"2-{digest_of(masks[1])[:12]}.png")
        without_index(studies)
        before = {file.name: file.read_bytes() for file in folder.iterdir()}
        check(studies, [*masks[:3], masks[5]], masks[2])
        assert {f.name: f.read_bytes() for f in folder.iterdir()} == before
        assert journal_of(studies).read_bytes().startswith(lines)
        numbers = {one.sha256: one.version for one in opened(studies).saver.versions("head00")}
        assert numbers[digest_of(masks[5])] == 4
        saved(studies, [masks[6]])
        check(studies, [*masks[:3], masks[5], masks[6]], masks[6])

    def test_a_label_file_of_an_older_version_is_replaced_by_the_current_one(
        self, studies: Path, masks: list[Path]
    ) -> None:
        saved(studies, masks[:3])
        label = studies / "labels" / "final" / "head00.png"
        shutil.copy(masks[0], label)
        without_index(studies)
        check(studies, masks[:3], masks[2])

    def test_a_label_that_was_saved_again_with_the_same_bytes(
        self, studies: Path, masks: list[Path]
    ) -> None:
        saved(studies, [masks[0], masks[1], masks[0]])
        without_index(studies)
        check(studies, masks[:2], masks[0])
        assert len(opened(studies).saver.versions("head00")) == 3

    def test_a_folder_of_an_older_program_has_its_current_label_in_labels_alone(
        self, studies: Path, masks: list[Path]
    ) -> None:
        saved(studies, masks[:2])
        (studies / STATE / "versions" / "final" / "head00" / "2.png").unlink()
        saved(studies, [masks[2]])
        check(studies, masks[:3], masks[2])

    def test_a_label_edited_in_its_place_keeps_the_version_before(
        self, studies: Path, masks: list[Path]
    ) -> None:
        saved(studies, masks[:1])
        shutil.copyfile(masks[1], studies / "labels" / "final" / "head00.png")
        saved(studies, [masks[2]])  # before anybody has looked
        check(studies, masks[:3], masks[2])

    def test_no_journal_at_all(self, studies: Path, masks: list[Path]) -> None:
        saved(studies, masks[:3])
        without_index(studies)
        journal_of(studies).unlink()
        check(studies, masks[:3], masks[2])


DAMAGES: dict[str, Callable[[bytes, int], bytes]] = {
    "flipped": lambda content, at: content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :],
    "NUL": lambda content, at: content[:at] + b"\0" + content[at + 1 :],
    "cut out": lambda content, at: content[:at] + content[at + 1 :],
    "cut off": lambda content, at: content[:at],
    "newline": lambda content, at: content[:at] + b"\n" + content[at:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_bad_byte_of_the_journal_loses_no_label(
    studies: Path, masks: list[Path], tmp_path: Path, damage: str
) -> None:
    saved(studies, masks[:3])
    content = journal_of(studies).read_bytes()
    ends = [at for at, byte in enumerate(content) if byte == ord("\n")]
    chance = random.Random(damage)
    for at in [0, *ends, *(chance.randrange(len(content)) for _ in range(6))]:
        copy = tmp_path / "copy"
        shutil.copytree(studies, copy)
        without_index(copy)
        journal_of(copy).write_bytes(DAMAGES[damage](content, at))
        check(copy, masks[:3], masks[2])
        saved(copy, [masks[3]])
        check(copy, masks[:4], masks[3])
        shutil.rmtree(copy)


def test_a_damaged_line_between_two_is_skipped_and_the_others_are_read() -> None:
    entries = [
        LabelEntry(image="a", tag="final", version=n, suffix=".png", sha256="x", time=float(n))
        for n in range(3)
    ]
    lines = b"".join(map(line_of, entries))
    assert read_entries(lines) == (entries, False)
    second = lines.index(b"\n") + 1
    assert read_entries(lines[:second] + b"!" + lines[second + 1 :]) == (
        [entries[0], entries[2]],
        True,
    )
    # Without the end of a line, two entries are one line; both are read.
    assert read_entries(lines[: second - 1] + b" " + lines[second:]) == (entries, True)
    # A digit that was exchanged is valid JSON and another label.
    forged = lines.replace(b'"version":1', b'"version":7')
    assert [one.version for one in read_entries(forged)[0] if isinstance(one, LabelEntry)] == [0, 2]


def test_lines_of_an_older_program_are_read() -> None:
    line = b'{"kind":"label removed","image":"a","tag":"final"}\n'
    (entry,), damaged = read_entries(line)
    assert (entry.kind, entry.time, entry.author, damaged) == ("label removed", None, None, False)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("save"), st.integers(0, 11)),
        st.tuples(st.just("by hand"), st.integers(0, 11)),
        st.tuples(st.just("remove"), st.just(0)),
        st.tuples(st.just("die after the journal"), st.integers(0, 11)),
        st.tuples(st.just("lose the index"), st.just(0)),
        st.tuples(st.just("lose the end of the journal"), st.integers(1, 900)),
        st.tuples(st.just("damage the journal"), st.integers(0, 10_000)),
        st.tuples(st.just("remember the journal"), st.just(0)),
        st.tuples(st.just("return to the journal"), st.just(0)),
        st.tuples(st.just("lose the label file"), st.just(0)),
        st.tuples(st.just("remember the labels"), st.just(0)),
        st.tuples(st.just("return to the labels"), st.just(0)),
    ),
    min_size=4,
    max_size=14,
)


class Folder:
    """A studies folder to which much happens, and the digests that it acknowledged."""

    def __init__(self, studies: Path, masks: list[Path]) -> None:
        self.studies, self.masks = studies, masks
        self.acknowledged: set[str] = set()
        self.journal = b""
        self.label: bytes | None = None

    def does(self, action: str, value: int) -> None:
        journal, label = journal_of(self.studies), self.studies / "labels/final/head00.png"
        if action == "save":
            store = opened(self.studies)
            store.save_label("head00", str(self.masks[value]), "final", {})
            store.close()
            self.acknowledged.add(digest_of(self.masks[value]))
        elif action == "by hand":
            shutil.copyfile(self.masks[value], label)
            opened(self.studies).close()
            self.acknowledged.add(digest_of(self.masks[value]))
        elif action == "remove":
            store = opened(self.studies)
            if store.get_label_uri("head00", "final"):
                store.remove_label("head00", "final")
            store.close()
        elif action == "die after the journal":
            self._dies(self.masks[value])
        elif action == "lose the index":
            without_index(self.studies)
        elif action == "lose the end of the journal":
            os.truncate(journal, max(0, journal.stat().st_size - value))
        elif action == "damage the journal" and journal.stat().st_size:
            content = bytearray(journal.read_bytes())
            content[value % len(content)] ^= 0x15
            journal.write_bytes(content)
        elif action == "remember the journal":
            self.journal = journal.read_bytes()
        elif action == "return to the journal":
            journal.write_bytes(self.journal)
        elif action == "lose the label file":
            label.unlink(missing_ok=True)
        elif action == "remember the labels":
            self.label = label.read_bytes() if label.exists() else None
        elif action == "return to the labels" and self.label is not None:
            label.write_bytes(self.label)

    def _dies(self, mask: Path) -> None:
        """What a save leaves that is killed after its line is in the journal."""
        store = opened(self.studies)
        staged = store.folder.stage(mask)
        with store.ledger.writing() as db:
            entry = LabelEntry(
                image="head00",
                tag="final",
                version=store.ledger.next_version(db, "head00", "final"),
                suffix=".png",
                sha256=staged.sha256,
                time=1.0,
                staged=staged.path.name,
            )
        store.close()
        with journal_of(self.studies).open("ab") as file:
            file.write(line_of(entry))

    def check(self) -> None:
        """Every acknowledged label has a file, and no version has the bytes of another."""
        store = opened(self.studies)
        assert self.acknowledged <= kept(self.studies)
        versions = store.saver.versions("head00")
        assert self.acknowledged <= {one.sha256 for one in versions}
        for one in versions:
            if one.sha256 in self.acknowledged:
                file = store.saver.version_file("head00", one.version)
                assert digest_of(file) == one.sha256
        store.close()


@example([("die after the journal", 0), ("damage the journal", 80), ("by hand", 1)])
@example([("save", 0), ("lose the end of the journal", 900), ("save", 1)])
@given(ACTIONS)
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_happens_every_acknowledged_label_has_its_file(
    heads: Path,
    masks: list[Path],
    tmp_path_factory: pytest.TempPathFactory,
    actions: list[tuple[str, int]],
) -> None:
    studies = tmp_path_factory.mktemp("studies")
    shutil.copy(heads / "images" / "head00.png", studies)
    folder = Folder(studies, masks)
    opened(studies).close()
    try:
        for action, value in actions:
            folder.does(action, value)
            if action in ("save", "by hand"):
                folder.check()
        folder.check()
        folder.does("save", 11)
        folder.check()
    finally:
        shutil.rmtree(studies)


class TestWithoutLinks:
    """SMB and exFAT have no hard links."""

    @pytest.fixture(autouse=True)
    def no_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(self: Path, target: Path) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(Path, "hardlink_to", refuse)

    def test_versions_are_whole(self, studies: Path, masks: list[Path]) -> None:
        saved(studies, masks[:4])
        check(studies, masks[:4], masks[3])
        assert not list((studies / STATE / "incoming").iterdir())

    def test_a_failure_puts_the_label_back(
        self, studies: Path, masks: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        saved(studies, masks[:1])
        store = opened(studies)

        def no_space(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("monailabel_app.lib.datastore.journal._set_offset", no_space)
            with pytest.raises(Exception, match="No space left"):
                store.save_label("head00", str(masks[1]), "final", {})
        store.close()
        check(studies, masks[:1], masks[0])
        assert digest_of(masks[1]) not in kept(studies)


class TestExchangedImage:
    """A label belongs to the content of its image."""

    def exchange(self, studies: Path, source: Path) -> None:
        shutil.copyfile(source, studies / "head00.png")

    def test_its_label_is_kept_and_does_not_count(
        self, studies: Path, heads: Path, masks: list[Path]
    ) -> None:
        original = (studies / "head00.png").read_bytes()
        saved(studies, masks[:2])
        self.exchange(studies, heads / "images" / "head01.png")
        store = opened(studies)
        assert store.get_labeled_images() == []
        assert store.datalist() == []
        assert not (studies / "labels" / "final" / "head00.png").exists()
        with store.index.read() as db:
            row = db.execute("SELECT state, note FROM images").fetchone()
        assert row["state"] == "open"
        assert "Version 2 of the label belongs to the file before" in row["note"]
        for number, mask in enumerate(masks[:2], 1):
            assert store.saver.version_file("head00", number).read_bytes() == mask.read_bytes()
        store.save_label("head00", str(masks[2]), "final", {})
        assert [one.current for one in store.saver.versions("head00")] == [False, False, True]
        # The old file comes back, and so does its label.
        (studies / "head00.png").write_bytes(original)
        store.refresh()
        label = Path(store.get_label_uri("head00", "final"))
        assert label.read_bytes() == masks[1].read_bytes()
        versions = store.saver.versions("head00")
        assert [one.current for one in versions] == [False, True, False]
        store.close()
        without_index(studies)
        assert opened(studies).saver.versions("head00") == versions

    def test_its_maps_go(self, studies: Path, heads: Path, tmp_path: Path) -> None:
        values = tmp_path / "map.nrrd"
        write_map(values, np.zeros((96, 128), np.float32))
        store = opened(studies)
        store.save_label("head00", str(values), "epistemic", {})
        store.refresh()
        assert Path(store.get_label_uri("head00", "epistemic")).is_file()
        self.exchange(studies, heads / "images" / "head01.png")
        store.refresh()
        assert store.get_label_uri("head00", "epistemic") == ""
        assert not list((studies / "labels" / "epistemic").iterdir())

    def test_the_same_after_the_index_was_lost(
        self, studies: Path, heads: Path, masks: list[Path]
    ) -> None:
        saved(studies, masks[:1])
        self.exchange(studies, heads / "images" / "head01.png")
        without_index(studies)
        store = opened(studies)
        assert store.get_labeled_images() == []
        assert store.saver.version_file("head00", 1).read_bytes() == masks[0].read_bytes()

    def test_a_mere_touch_changes_nothing(self, studies: Path, masks: list[Path]) -> None:
        saved(studies, masks[:1])
        os.utime(studies / "head00.png", (1, 1))
        store = opened(studies)
        assert store.get_labeled_images() == ["head00"]
        with store.index.read() as db:
            assert db.execute("SELECT note FROM images").fetchone()[0] is None

    def test_a_label_of_an_older_program_belongs_to_what_is_seen_first(
        self, studies: Path, heads: Path, masks: list[Path]
    ) -> None:
        saved(studies, masks[:1])
        lines = [
            line_of(entry.model_copy(update={"image_sha256": None}))
            if isinstance(entry, LabelEntry)
            else line_of(entry)
            for entry in read_entries(journal_of(studies).read_bytes())[0]
            if entry.kind != "image content"
        ]
        journal_of(studies).write_bytes(b"".join(lines))
        without_index(studies)
        store = opened(studies)
        assert store.get_labeled_images() == ["head00"]
        self.exchange(studies, heads / "images" / "head01.png")
        store.refresh()
        assert store.get_labeled_images() == []


def test_infos_skips_and_flags_survive_the_index(studies: Path, masks: list[Path]) -> None:
    store = opened(studies)
    store.set_name("Ward 3")
    store.save_label("head00", str(masks[0]), "final", {})
    store.update_image_info("head00", {"site": "A"}, "ann")
    store.update_image_info("head00", {"probe": "C5"})
    store.update_label_info("head00", "final", {"hard": True}, "ben")
    store.remove_label("head00", "final")
    store.set_aside("head00", "flagged", "no head", "napari", "ann")
    before = (store.name(), store.get_image_info("head00"))
    store.close()
    without_index(studies)
    store = opened(studies)
    assert (store.name(), store.get_image_info("head00")) == before
    assert (before[0], before[1]["site"], before[1]["probe"]) == ("Ward 3", "A", "C5")
    with store.index.read() as db:
        assert db.execute("SELECT state, note FROM images").fetchone()[:] == ("flagged", "no head")
    entries, _ = read_entries(journal_of(studies).read_bytes())
    assert [(entry.kind, entry.author) for entry in entries] == [
        ("image", None),
        ("text", None),
        ("label", None),
        ("image info", "ann"),
        ("image info", None),
        ("label info", "ben"),
        ("label removed", None),
        ("aside", "ann"),
    ]
    assert all(entry.time is not None for entry in entries)


def test_a_line_that_names_an_image_is_lost(studies: Path, masks: list[Path]) -> None:
    store = opened(studies)
    store.save_label("head00", str(masks[0]), "final", {"client_id": "ann"})
    store.close()
    lines = journal_of(studies).read_bytes().splitlines(keepends=True)
    assert lines[0].startswith(b'{"kind":"image"')
    journal_of(studies).write_bytes(b"x" + b"".join(lines)[1:])
    without_index(studies)
    store = opened(studies)
    assert store.list_images() == ["head00"]
    (version,) = store.saver.versions("head00")
    assert (version.client_id, version.sha256) == (
        "ann",
        sha256(masks[0].read_bytes()).hexdigest(),
    )
