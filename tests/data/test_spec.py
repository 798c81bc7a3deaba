from __future__ import annotations

from pathlib import Path

import pytest

from crispmask.data.places import IMAGE_SUFFIXES
from crispmask.data.spec import inspect_spec, read_spec
from crispmask.errors import DatasetError

IMAGES = ("images/train/b.jpg", "images/train/deep/a.PNG", "images/val/c.webp")


def write(folder: Path, text: str, files: tuple[str, ...] = IMAGES) -> Path:
    folder.mkdir(exist_ok=True)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    path = folder / "data.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def relative(paths: tuple[Path, ...], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def fails(path: Path, *words: str) -> str:
    with pytest.raises(DatasetError) as caught:
        read_spec(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


BASE = "train: images/train\nval: images/val\n"


def test_a_user_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"~no-such-user/data\.yaml: no such file"):
        read_spec("~no-such-user/data.yaml")
    fails(write(tmp_path, BASE.replace("images/val", "~no-such-user/x") + "nc: 1\n"), "~no-such")


def test_folders_are_searched_below_in_order(tmp_path: Path) -> None:
    noise = ("images/train/notes.txt", "images/train/._b.jpg", "images/train/.cache/x.jpg")
    path = write(tmp_path, BASE + "names: [cat, dog]\n", (*IMAGES, *noise))
    spec = read_spec(path)
    assert spec.file == path
    assert spec.root == tmp_path
    assert spec.names == ("cat", "dog")
    assert relative(spec.train, tmp_path) == ["images/train/b.jpg", "images/train/deep/a.PNG"]
    assert relative(spec.val, tmp_path) == ["images/val/c.webp"]
    assert spec.test == ()
    assert read_spec(str(tmp_path)) == spec


def test_every_suffix_in_either_case(tmp_path: Path) -> None:
    assert len(IMAGE_SUFFIXES) == 13
    files = tuple(f"images/train/{s[1:]}{s}" for s in IMAGE_SUFFIXES)
    files += tuple(f"images/train/upper{s.upper()}" for s in IMAGE_SUFFIXES)
    path = write(tmp_path, "train: images/train\nval: images/train\nnc: 1", files)
    assert len(read_spec(path).train) == 26


@pytest.mark.parametrize("key", ["validation", "valid"])
def test_other_words_for_val(tmp_path: Path, key: str) -> None:
    path = write(tmp_path, f"train: images/train\n{key}: images/val\nnc: 2\n")
    assert len(read_spec(path).val) == 1


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: {0: cat, 1: dog}", ("cat", "dog")),
        ("names: {1: dog, 0: cat}\nnc: 2", ("cat", "dog")),
        ("nc: 3", ("class_0", "class_1", "class_2")),
        ("names: [no, 1, 1e3, ' x ']", ("no", "1", "1e3", "x")),  # as written, not as YAML types
        ("names:\nnc: 1", ("class_0",)),
    ],
)
def test_names(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    assert read_spec(write(tmp_path, BASE + text)).names == names


def test_path_is_found_beside_the_file_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    there = tmp_path / "there"
    write(here, "", tuple(f"set/{name}" for name in IMAGES))
    path = write(there, f"path: set\n{BASE}nc: 1", ())
    monkeypatch.chdir(here)
    assert read_spec(path).root == here / "set"
    write(there, path.read_text(), tuple(f"set/{name}" for name in IMAGES))
    assert read_spec(path).root == there / "set"
    assert read_spec(path).train[0].is_relative_to(there)


def test_entry_is_looked_for_in_the_current_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "")
    path = write(tmp_path / "configs", f"path: .\n{BASE}nc: 1", ())
    monkeypatch.chdir(tmp_path)
    assert relative(read_spec(path).val, tmp_path) == ["images/val/c.webp"]


def test_path_may_be_absolute_or_empty(tmp_path: Path) -> None:
    write(tmp_path / "set", "")
    path = write(tmp_path, f"path: {tmp_path / 'set'}\n{BASE}nc: 1", ())
    assert read_spec(path).root == tmp_path / "set"
    assert read_spec(write(tmp_path, f"path:\n{BASE}nc: 1")).root == tmp_path


def test_parent_folder_of_an_export(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    text = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1"
    path = write(folder, text, ("train/images/a.jpg", "valid/images/b.jpg"))
    spec = read_spec(path)
    assert relative(spec.train, folder) == ["train/images/a.jpg"]
    assert spec.test == ()  # named by the export but never made
    write(tmp_path, "", ("train/images/z.jpg",))
    assert relative(read_spec(path).train, tmp_path) == ["train/images/z.jpg"]  # as written first


def test_windows_separators(tmp_path: Path) -> None:
    path = write(tmp_path, "train: images\\train\nval: .\\images\\val\nnc: 1")
    assert len(read_spec(path).train) == 2


def test_lists(tmp_path: Path) -> None:
    path = write(tmp_path, "train: [lists/a.txt, images/train]\nval: images/val\nnc: 1")
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "c.jpg").touch()
    text = (
        f"\ufeff./c.jpg\r\n\r\n# comment\r\nimages/val/c.webp\r\n{tmp_path}/images/train/b.jpg\r\n"
    )
    (lists / "a.txt").write_text(text, encoding="utf-8")
    assert relative(read_spec(path).train, tmp_path) == [
        "images/train/b.jpg",
        "images/train/deep/a.PNG",
        "images/val/c.webp",
        "lists/c.jpg",
    ]
    (lists / "a.txt").write_text("./c.jpg\n./gone.jpg\n")
    fails(path, f"{lists / 'a.txt'}:2:", "gone.jpg")
    (lists / "a.txt").write_text(f"{path}\n")
    fails(path, f"{lists / 'a.txt'}:1:", "data.yaml is no image")
    (lists / "a.txt").write_text("# nothing\n")
    fails(path, "data.yaml:1:", "no images in")
    (lists / "a.txt").write_bytes(b"\xff\xfe\x00")
    fails(path, "a.txt: cannot be read as text")


def test_links_are_followed_but_not_resolved(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "a.jpg").touch()
    path = write(tmp_path, BASE + "nc: 1")
    (tmp_path / "images" / "train" / "linked").symlink_to(store)
    (tmp_path / "images" / "train" / "loop").symlink_to(tmp_path / "images")
    names = relative(read_spec(path).train, tmp_path)
    assert "images/train/linked/a.jpg" in names
    assert len(names) < 10


def test_download_is_never_run(tmp_path: Path) -> None:
    script = f"download: |\n  open({str(tmp_path / 'ran')!r}, 'w')\n"
    read_spec(write(tmp_path, BASE + "nc: 1\n" + script))
    assert not (tmp_path / "ran").exists()
    tag = "names: !!python/object/apply:os.system ['true']\n"
    assert read_spec(write(tmp_path, BASE + tag)).names == ("true",)
    fails(write(tmp_path, "train: gone\nval: images/val\nnc: 1\n" + script), "fetch the dataset")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("train: a: b\n", 1, "not YAML"),
        ("names: [a\n", 2, "not YAML"),
        ("- train\n", None, "no keys"),
        ("", None, "no keys"),
        ("train: \x00", None, "not YAML"),
        ("{}", None, "no keys"),
        ("? [train]\n: x", 1, "not YAML"),
        ("val: images/val\nnc: 1", None, "no 'train'"),
        (BASE, None, "no 'names'"),
        (BASE + "names: []", 3, "empty"),
        (BASE + "names: [a, '']", 3, "name of class 1 is empty"),
        (BASE + "names: [a, b, a]", 3, "classes 0 and 2 are both called 'a'"),
        (BASE + "names: cat", 3, "no list"),
        (BASE + "names: [[a]]", 3, "no list"),
        (BASE + "names: {1: a, 2: b}", 3, "1, 2"),
        (BASE + "names: {a: 1}", 3, "number the classes"),
        (BASE + "names: [a, b]\nnc: 3", 4, "nc is 3 but there are 2 names"),
        (BASE + "nc: 0", 3, "nc is not"),
        (BASE + "nc: many", 3, "nc is not"),
        (BASE + "nc: [1]", 3, "nc is not"),
        (BASE + "nc: 1\ntrain: x", 4, "twice, first in line 1"),
        ("path: gone\n" + BASE + "nc: 1", 1, "gone"),
        ("path: [a]\n" + BASE + "nc: 1", 1, "not a text"),
        ("train: gone\nval: images/val\nnc: 1", 1, "gone; correct train or path"),
        ("train: [images/train, ../gone]\nval: images/val\nnc: 1", 1, " or "),
        ("train:\nval: images/val\nnc: 1", 1, "train is no path"),
        ("train: []\nval: images/val\nnc: 1", 1, "train is no path"),
        ("train: images/train/b.jpg\nval: images/val\nnc: 1", 1, "neither a folder, a .txt list"),
        ("train: empty\nval: images/val\nnc: 1", 1, "no images in"),
    ],
)
def test_errors_name_file_line_and_fix(
    tmp_path: Path, text: str, line: int | None, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    path = write(tmp_path, text)
    message = fails(path, words)
    assert message.startswith(f"{path}:{line}: " if line else f"{path}: ")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    fails(tmp_path / "gone.yaml", "gone.yaml: no such file")
    fails(tmp_path, f"{tmp_path / 'data.yaml'}: no such file")
    (tmp_path / "data.yaml").write_bytes(b"\xff\xd8\xff\xe0")
    fails(tmp_path, "cannot be read as text")


def test_all_problems_are_found_and_the_rest_is_read(tmp_path: Path) -> None:
    text = (
        "path: gone\ntrain: [images/train, nowhere]\nval: list.txt\nnames: [a, '', a]\nnc: 4\n"
        "train: [images/train, nowhere]\n"
    )
    path = write(tmp_path, text)
    lists = tmp_path / "list.txt"
    lists.write_text("images/val/c.webp\nimages/val/gone.jpg\ndata.yaml\n")
    spec, problems = inspect_spec(path)
    assert [(p.kind, p.file.name, p.line) for p in problems] == [
        ("key", "data.yaml", 6),
        ("path", "data.yaml", 1),
        ("names", "data.yaml", 4),
        ("names", "data.yaml", 4),
        ("nc", "data.yaml", 5),
        ("split", "data.yaml", 6),
        ("list", "list.txt", 2),
        ("list", "list.txt", 3),
    ]
    assert str(problems[-2]).startswith(f"{lists}:2: no image")
    assert spec.names == ("a", "", "a", "class_3")
    assert relative(spec.train, tmp_path) == ["images/train/b.jpg", "images/train/deep/a.PNG"]
    assert relative(spec.val, tmp_path) == ["images/val/c.webp"]
    fails(path, f"{path}:6: 'train' is there twice")  # as the first of them


@pytest.mark.parametrize(
    ("text", "kinds", "names"),
    [
        ("names: {1: a, 2: b}\nnc: 2", ["names"], ("class_0", "class_1")),
        ("names: {1: a, 2: b}", ["names"], ()),
        ("names: cat", ["names"], ()),
        ("names: []\nnc: 2", ["names", "nc"], ("class_0", "class_1")),
        ("names: [a, b, c]\nnc: 2", ["nc"], ("a", "b", "c")),
        ("names: [a]\nnc: none at all", ["nc"], ("a",)),
        ("", ["names"], ()),
    ],
)
def test_names_of_an_inspection(
    tmp_path: Path, text: str, kinds: list[str], names: tuple[str, ...]
) -> None:
    spec, problems = inspect_spec(write(tmp_path, BASE + text))
    assert [problem.kind for problem in problems] == kinds
    assert spec.names == names


def test_inspection_without_splits(tmp_path: Path) -> None:
    spec, problems = inspect_spec(write(tmp_path, "nc: 1\ntest: []"))
    assert spec.train == spec.val == spec.test == ()
    assert [problem.kind for problem in problems] == ["split", "split", "val"]
    with pytest.raises(DatasetError, match="no such file"):
        inspect_spec(tmp_path / "gone.yaml")


def test_lists_of_cvat_name_a_folder_that_is_not_there(tmp_path: Path) -> None:
    text = "path: ./\ntrain: train.txt\nval: val.txt\nnames:\n  0: cat\n"
    path = write(tmp_path, text)
    (tmp_path / "train.txt").write_text("data/images/train/b.jpg\n")
    (tmp_path / "val.txt").write_text("images/val/c.webp\n")
    spec = read_spec(path)
    assert relative(spec.train, tmp_path) == ["images/train/b.jpg"]
    assert relative(spec.val, tmp_path) == ["images/val/c.webp"]
