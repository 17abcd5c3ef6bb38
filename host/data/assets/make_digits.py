"""Packs the 1,797 UCI optical digits into `digits.bin.z`.

Usage: pip download scikit-learn --no-deps && python make_digits.py scikit_learn-*.whl

The packed file is a zlib stream of 64 planes of 1,797 pixel values (0 to 16; one plane a pixel position, row by row)
followed by one plane of 1,797 labels (0 to 9). Planes compress better than pictures.
"""

import gzip
import hashlib
import pathlib
import sys
import zipfile
import zlib

SOURCE_SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"

source = zipfile.ZipFile(sys.argv[1]).read("sklearn/datasets/data/digits.csv.gz")
if hashlib.sha256(source).hexdigest() != SOURCE_SHA256:
    sys.exit("digits.csv.gz is not the file this script was written for")
rows = [[int(float(value)) for value in line.split(",")] for line in gzip.decompress(source).decode().split()]
planes = b"".join(bytes(column) for column in zip(*rows))
packed = zlib.compress(planes, 9)
pathlib.Path(__file__).with_name("digits.bin.z").write_bytes(packed)
print(f"{len(packed)} bytes, sha256 {hashlib.sha256(packed).hexdigest()}")
