"""The random changes of training images."""

from __future__ import annotations

from dataclasses import dataclass, replace

from crispmask.config.checks import check


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of training images; the ranges are those users of Ultralytics know."""

    mosaic: float = 1.0
    """Probability of joining four images into one."""
    mixup: float = 0.0
    """Probability of blending in a second image with its instances."""
    hsv_h: float = 0.015
    """Largest change of the hue, fraction of the colour circle."""
    hsv_s: float = 0.7
    """Largest relative change of the saturation."""
    hsv_v: float = 0.4
    """Largest relative change of the value."""
    brightness: float = 0.2
    """Largest change of the brightness, fraction of full scale."""
    contrast: float = 0.2
    """Largest relative change of the contrast."""
    brightness_contrast_p: float = 0.5
    """Probability of the brightness and contrast change."""
    degrees: float = 2.0
    """Largest rotation to either side, degrees."""
    translate: float = 0.1
    """Largest shift, fraction of the image size."""
    scale: float = 0.5
    """Largest relative change of size: 0.5 draws from 0.5 to 1.5."""
    shear: float = 0.0
    """Largest shear to either side, degrees."""
    perspective: float = 0.0
    """Largest change of depth per pixel, in x and in y; 0.0005 is much."""
    copy_paste: float = 0.0
    """Fraction of the instances pasted once more, mirrored, where they cover others little."""
    fliplr: float = 0.5
    """Probability of mirroring left to right."""
    flipud: float = 0.0
    """Probability of mirroring top to bottom."""

    def __post_init__(self) -> None:
        for name in ("mosaic", "mixup", "fliplr", "flipud", "brightness_contrast_p"):
            flag = name.replace("_", "-")
            value = getattr(self, name)
            check(0 <= value <= 1, f"--{flag} is a probability from 0 to 1, not {value}")
        for name in (
            "hsv_h",
            "hsv_s",
            "hsv_v",
            "brightness",
            "contrast",
            "translate",
            "scale",
            "copy_paste",
        ):
            flag = name.replace("_", "-")
            value = getattr(self, name)
            check(0 <= value <= 1, f"--{flag} is a fraction from 0 to 1, not {value}")
        check(self.scale < 1, f"--scale must be below 1, not {self.scale}")
        check(0 <= self.degrees <= 180, f"--degrees is 0 to 180, not {self.degrees}")
        check(0 <= self.shear < 90, f"--shear is 0 to below 90, not {self.shear}")
        check(
            0 <= self.perspective <= 0.001, f"--perspective is 0 to 0.001, not {self.perspective}"
        )

    def without_mixing(self) -> AugmentConfig:
        """The same changes without mosaic, mixup and copy-paste, for the last epochs."""
        return replace(self, mosaic=0.0, mixup=0.0, copy_paste=0.0)

    @classmethod
    def none(cls) -> AugmentConfig:
        """No change at all."""
        return cls(
            mosaic=0.0,
            mixup=0.0,
            hsv_h=0.0,
            hsv_s=0.0,
            hsv_v=0.0,
            brightness_contrast_p=0.0,
            degrees=0.0,
            translate=0.0,
            scale=0.0,
            shear=0.0,
            perspective=0.0,
            copy_paste=0.0,
            fliplr=0.0,
            flipud=0.0,
        )
