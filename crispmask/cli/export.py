"""`crispmask export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crispmask.cli.arguments import parse
from crispmask.data.spec import read_spec
from crispmask.errors import DatasetError, SourceError
from crispmask.export.config import ExportConfig
from crispmask.sources import Picture, find_sources


def export(argv: Sequence[str], prog: str) -> int:
    """Writes the file and prints how far it is from PyTorch."""
    config = parse(ExportConfig, argv, prog)
    images = _images(config)
    from crispmask.export.run import export as run  # torch takes seconds: not before the flags

    result = run(config, images)
    info, comparison = result.info, result.comparison
    size = result.path.stat().st_size
    if config.format == "openvino":
        size += result.path.with_suffix(".bin").stat().st_size
    kind = "float16" if info.half else "float32"
    height, width = info.imgsz
    shape = "any batch, height and width" if info.dynamic else f"{info.batch}x3x{height}x{width}"
    print(f"{result.path}: {config.format}, {size / 1e6:.1f} MB, {kind}, {shape} {info.input}")
    where = "images" if images else "sample scenes"
    print(f"compared on {comparison.num_images} {where}: {comparison.in_words()}")
    if not comparison.num_expected:
        print("nothing was compared: give images with instances by --data or --source")
    return 0


def _images(config: ExportConfig) -> list[Path]:
    """Files to compare on."""
    if config.source:
        sources = find_sources(config.source)
        contents = [source.content for source in sources if isinstance(source, Picture)]
        found = [content for content in contents if isinstance(content, Path)]
        if not found:
            raise SourceError(f"{config.source}: no image files there")
        return found
    if not config.data:
        return []
    spec = read_spec(config.data)
    if not spec.val:
        raise DatasetError(f"{spec.file}: no validation images; give images by --source")
    return [Path(path) for path in spec.val]
