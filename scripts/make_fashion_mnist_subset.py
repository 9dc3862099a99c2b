#!/usr/bin/env python3
"""Makes the Fashion-MNIST subset that hardgrad carries in its program.

    scripts/make_fashion_mnist_subset.py [FOLDER [OUTPUT]]

FOLDER holds the four files of the full set, with or without .gz; by default it is where the Debian package
dataset-fashion-mnist puts them. The first 3,000 training images and the first 1,000 test images go to OUTPUT, with
their labels. The SHA-256 of every file, decompressed, is checked before it is cut, and that of the result is printed:
crates/lab/src/data/known_sets.rs holds the same four values.
"""

import gzip
import hashlib
import struct
import sys
from pathlib import Path

DEFAULT_FOLDER = Path("/usr/share/datasets/fashion-mnist")
DEFAULT_OUTPUT = Path(__file__).resolve().parent.parent / "crates/lab/assets/fashion-mnist-subset"

# Name, SHA-256 of the decompressed file, number of items to keep.
FILES = [
    ("train-images-idx3-ubyte", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888", 3000),
    ("train-labels-idx1-ubyte", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9", 3000),
    ("t10k-images-idx3-ubyte", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b", 1000),
    ("t10k-labels-idx1-ubyte", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34", 1000),
]


def read_raw(folder, name):
    """Returns the decompressed content of a file that may carry the suffix .gz."""
    raw = folder / name
    if raw.is_file():
        return raw.read_bytes()
    packed = folder / (name + ".gz")
    if packed.is_file():
        return gzip.decompress(packed.read_bytes())
    sys.exit(f"{folder}: neither {name} nor {name}.gz is there; give the folder with the full set")


def first_items(content, count):
    """Returns an IDX file with the first `count` items of another one."""
    # The fourth byte is the number of dimensions; the dimensions follow as big-endian 32-bit numbers.
    rank = content[3]
    dims = struct.unpack_from(f">{rank}I", content, 4)
    item_size = 1
    for size in dims[1:]:
        item_size *= size
    start = 4 + 4 * rank
    header = content[:4] + struct.pack(f">{rank}I", count, *dims[1:])
    return header + content[start : start + count * item_size]


def write_gzip(path, content):
    """Compresses at level 9 with no name and no time in the header, so that every run gives the same bytes."""
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(content)


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER
    output = Path(sys.argv[2]) if len(sys.argv) > 2 else DEFAULT_OUTPUT
    output.mkdir(parents=True, exist_ok=True)
    for name, expected, count in FILES:
        content = read_raw(folder, name)
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            sys.exit(f"{folder / name}: SHA-256 is {found}, expected {expected}; fetch Fashion-MNIST again")
        subset = first_items(content, count)
        write_gzip(output / (name + ".gz"), subset)
        print(f"{hashlib.sha256(subset).hexdigest()}  {name}")


if __name__ == "__main__":
    main()
