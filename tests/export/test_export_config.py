from __future__ import annotations

import pytest

from crispmask.errors import ConfigError, ExportError
from crispmask.export.config import ExportConfig
from crispmask.export.files import check_packages


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 0}, "--batch must be at least 1, not 0"),
        ({"dynamic": True, "batch": 2}, "give --dynamic or --batch, not both"),
        ({"max_det": 0}, "--max-det must be 1 to 500, not 0"),
        ({"data": "a", "source": "b"}, "give --data or --source, not both"),
        ({"out": "a.xml"}, "--out a.xml: a file of --format onnx ends in .onnx"),
        ({"half": True, "format": "torch-export"}, "--half is for onnx and openvino"),
        ({"imgsz": "100"}, "--imgsz is a multiple of 32"),
        ({"imgsz": "64x96x32"}, "--imgsz is a multiple of 32"),
    ],
)
def test_what_cannot_be(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        ExportConfig(weights="w.pt", **settings)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "size"), [("auto", (96, 96)), ("64", (64, 64)), ("64x128", (64, 128))]
)
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert ExportConfig(weights="w.pt", imgsz=text).size(trained=90) == size


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"^--format openvino needs onnx, .* pip install onnx "):
        check_packages("openvino")
    check_packages("torch-export")
