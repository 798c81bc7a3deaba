from __future__ import annotations

import ntpath
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crispmask.data.paths import (
    ImagePaths,
    common_folder,
    label_path,
    label_text,
    path_from,
    sorted_paths,
)


def test_what_lies_on_two_drives(monkeypatch: pytest.MonkeyPatch) -> None:
    assert common_folder([Path("/a/b"), Path("/a/c/d")]) == Path("/a")
    assert common_folder([Path("/a/b"), Path("c")]) is None
    assert common_folder([]) is None
    assert path_from("/a/b/c.jpg", Path("/a/d")) == os.path.join("..", "b", "c.jpg")
    monkeypatch.setattr(os.path, "relpath", ntpath.relpath)
    assert path_from(r"D:\a\c.jpg", r"D:\a") == "c.jpg"
    assert path_from(r"D:\a\c.jpg", r"C:\a") == r"D:\a\c.jpg"


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("data/images/train/a.jpg", "data/labels/train/a.txt"),
        ("images/set/images/a.b.PNG", "images/set/labels/a.b.txt"),
        ("data/photos/a.jpg", "data/photos/a.txt"),
        ("my_images/images.jpg", "my_images/images.txt"),
        ("/x/train/images/deep/a.jpeg", "/x/train/labels/deep/a.txt"),
        ("images/images", "labels/images.txt"),
        ("a.jpg", "a.txt"),
        ("/a.jpg", "/a.txt"),
        ("x/.jpg", "x/.jpg.txt"),
    ],
)
def test_label_path(image: str, label: str) -> None:
    assert label_path(Path(image)) == Path(label)
    assert label_text(image) == str(Path(label))


def test_image_paths_are_a_sequence_of_paths() -> None:
    paths = ImagePaths(["a/b.jpg", "c.jpg"])
    assert list(paths) == [Path("a/b.jpg"), Path("c.jpg")]
    assert paths[-1] == Path("c.jpg")
    assert paths[:1] == ImagePaths(["a/b.jpg"])
    assert paths == (Path("a/b.jpg"), Path("c.jpg")) == tuple(paths)
    assert paths != [Path("a/b.jpg")]
    assert paths != "a/b.jpg"
    assert Path("c.jpg") in paths
    assert ImagePaths() == ()
    assert hash(paths) == hash(ImagePaths(paths.texts))


names = st.text(alphabet="a-.0 b", min_size=1, max_size=3).filter(lambda name: name.strip(". "))


@settings(max_examples=50)
@given(st.lists(st.lists(names, min_size=1, max_size=3), max_size=8))
def test_sorted_as_paths_are(parts: list[list[str]]) -> None:
    texts = list({os.sep.join(part) for part in parts})
    random.shuffle(texts)
    assert list(sorted_paths(texts)) == sorted(map(Path, texts))
