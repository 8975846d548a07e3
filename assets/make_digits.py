"""Make digits.npy: the 8 x 8 handwritten digits that scikit-learn ships.

    pip install scikit-learn==1.9.1
    python assets/make_digits.py

One row an image: 64 pixels from 0 to 16, row by row, and the digit. The order is
that of the data set.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

OUT = Path(__file__).with_name("digits.npy")


def main() -> None:
    digits = load_digits()
    rows = np.column_stack([digits.data, digits.target]).astype(np.uint8)
    assert rows.shape == (1797, 65) and rows[:, :64].max() == 16, rows.shape
    np.save(OUT, rows)
    print(f"{OUT.name}: {rows.shape[0]} images, {OUT.stat().st_size} bytes")
    print("of each digit", np.bincount(rows[:, 64]))


if __name__ == "__main__":
    main()
