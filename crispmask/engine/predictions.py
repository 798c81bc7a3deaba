"""Predictions of a split, kept on the disk: memory does not grow with their number."""

from __future__ import annotations

import json
import shutil
import weakref
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, overload

from crispmask.atomic import replacing
from crispmask.errors import OutputError

Prediction = dict[str, Any]
"""A row of a COCO results file."""

ImagePredictions = tuple[int, list[Prediction]]
"""Id of an image and its rows, best score first."""


class Predictions(Sequence[Prediction]):
    """Rows of a COCO results file, image after image; a sequence that is read when looked at.

    They lie in a file without a name, which is gone with this object, or with the process: an
    interruption leaves nothing behind. In memory are a few numbers per image.

    Args:
        folder: on whose disk they lie; None takes that of temporary files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._places: dict[int, int] = {}  # of images, by id
        self._starts = array("q")  # of their text, bytes
        self._ends = array("q")
        self._counts = array("q", [0])  # rows up to and with each image
        self._last: tuple[int, list[Prediction]] = (-1, [])  # rows are read in turn
        # Opened late: the processes that load images start before, and do not hold it.
        self._file: IO[bytes] | None = None

    def add(self, image_id: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Appends the rows of an image that has none yet.

        Raises:
            OutputError: the disk is full, or the folder cannot be written to.
        """
        if not rows:
            return
        text = json.dumps(rows)[1:-1].encode("ascii")
        try:
            if self._file is None:
                self._file = TemporaryFile(dir=self._folder)  # noqa: SIM115  # lives as long as this
                weakref.finalize(self, self._file.close)
            end = self._file.seek(0, 2)
            start = end + self._file.write(b", ") if end else 0
            self._file.write(text)
            self._file.flush()  # here, where a full disk is told in words
        except OSError as error:
            raise self._no_space(error) from error
        self._places[image_id] = len(self._starts)
        self._starts.append(start)
        self._ends.append(start + len(text))
        self._counts.append(self._counts[-1] + len(rows))

    def of_image(self, image_id: int) -> list[Prediction]:
        """The rows of one image, best score first."""
        place = self._places.get(image_id)
        return [] if place is None else self._read(place)

    def images(self) -> Iterator[ImagePredictions]:
        """The images that have rows, in the order they came."""
        for image_id, place in self._places.items():
            yield image_id, self._read(place)

    def save(self, path: Path) -> None:
        """Writes the results file in one move; the folder must exist.

        Raises:
            OutputError: the disk is full.
        """
        with replacing(path) as partial, partial.open("wb") as file:
            file.write(b"[")
            if self._file is not None:
                self._file.seek(0)
                shutil.copyfileobj(self._file, file)
            file.write(b"]")

    def __len__(self) -> int:
        return self._counts[-1]

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> list[Prediction]: ...
    def __getitem__(self, index: int | slice) -> Prediction | list[Prediction]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        row = range(len(self))[index]  # counts from the end, and knows the bounds
        place = bisect_right(self._counts, row) - 1
        return self._read(place)[row - self._counts[place]]

    def __iter__(self) -> Iterator[Prediction]:
        for _, rows in self.images():
            yield from rows

    def _read(self, place: int) -> list[Prediction]:
        if self._last[0] != place:
            assert self._file is not None  # there is a place only after `add`
            self._file.seek(self._starts[place])
            text = self._file.read(self._ends[place] - self._starts[place])
            self._last = (place, json.loads(b"[" + text + b"]"))
        return self._last[1]

    def _no_space(self, error: OSError) -> OutputError:
        where = self._folder or "the folder of temporary files"
        return OutputError(
            f"{where}: predictions cannot be written ({error.strerror or error}); free some space "
            "or choose another folder"
        )
