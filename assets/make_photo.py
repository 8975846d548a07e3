"""Make photo.png: "Chelsea the cat" from scikit-image's sample images, cropped.

    pip install scikit-image==0.26.0 pillow
    python assets/make_photo.py

The picture is used as it was taken: its warm light leaves the channel means
far apart (red highest) and each channel's spread narrow, which is what a
per-channel normalization takes out. No colour is changed here.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

# A square around the face, from the full 451 x 300 picture.
LEFT, TOP, SIDE = 60, 0, 300

OUT = Path(__file__).with_name("photo.png")


def main() -> None:
    cat = data.chelsea()
    assert cat.shape == (300, 451, 3) and cat.dtype == np.uint8, (cat.shape, cat.dtype)
    crop = cat[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    Image.fromarray(np.ascontiguousarray(crop), "RGB").save(OUT, optimize=True)
    unit = crop / 255.0
    print(f"{OUT.name}: {crop.shape[1]} x {crop.shape[0]}, {OUT.stat().st_size} bytes")
    print("channel means", unit.mean((0, 1)).round(3), "deviations", unit.std((0, 1)).round(3))


if __name__ == "__main__":
    main()
