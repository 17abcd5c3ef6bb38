"""Makes `pictures.tar.gz` beside it: pictures by the usual tools, with the pixels that Pillow reads of them.

Needs Pillow and numpy, and `cjpeg`, `djpeg` and `jpegtran` of libjpeg-turbo (Debian: libjpeg-turbo-progs); nothing needs them to
run the tests.

    python3 host/data/tests/pictures/make.py

For each `NAME.jpg` or `NAME.png` there is a `NAME.ppm` (or `.pgm`) with its pixels, turned upright; progressive files and
files with restarts share theirs with `NAME` less the last word, which has the same coefficients. A picture in `refused/`
has none: libjpeg says of it that it is damaged, and fills it up.
"""

import gzip
import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).parent
SIZES = [(1, 1), (1, 17), (2, 3), (5, 2), (7, 9), (8, 8), (15, 33), (17, 16), (31, 7), (33, 35), (69, 3), (70, 41)]
SAMPLINGS = {
    "444": "1x1",
    "422": "2x1",
    "420": "2x2",
    "440": "1x2",
    "411": "4x1",
    "410": "4x2",
    "odd": "1x1,2x1,1x2",
}

members = {}


def waves(width, height, channels):
    """Waves with hard edges: what a decoder gets wrong shows."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    planes = [128 + 90 * np.sin(x / 4 + c) + 60 * np.sign(np.cos(y / 3 - x / 9 * c)) for c in range(channels)]
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def pnm(array):
    height, width, channels = array.shape
    kind = b"P6" if channels == 3 else b"P5"
    return kind + b"\n%d %d\n255\n" % (width, height) + array.tobytes()


def pixels(data):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return pnm(np.asarray(image).reshape(image.height, image.width, -1))


def tool(*command, data):
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def put(name, data, like=None):
    """Keeps a picture; `like` is one with the same pixels, which is checked."""
    found = pixels(data)
    if like is None:
        members[Path(name).stem + (".ppm" if found[:2] == b"P6" else ".pgm")] = found
    else:
        assert found in (members.get(like + ".ppm"), members.get(like + ".pgm")), name
    members[name] = data


def saved(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def samplings():
    for width, height in SIZES:
        colour, size = pnm(waves(width, height, 3)), f"{width}x{height}"
        for name, sampling in SAMPLINGS.items():
            stem = f"{name}-{size}"
            base = tool("cjpeg", "-quality", "85", "-sample", sampling, data=colour)
            put(stem + ".jpg", base)
            put(stem + "-progressive.jpg", tool("jpegtran", "-progressive", data=base), stem)
        base = members[f"420-{size}.jpg"]
        put(f"420-{size}-restarts.jpg", tool("jpegtran", "-restart", "1B", data=base), f"420-{size}")
        put(f"420-{size}-arithmetic.jpg", tool("jpegtran", "-arithmetic", data=base), f"420-{size}")
        put(f"420-{size}-scans.jpg", scans(base, "0;\n1;\n2;\n"), f"420-{size}")
        put(f"420-{size}-pair.jpg", scans(base, "0;\n1 2;\n"), f"420-{size}")
        put(f"rgb-{size}.jpg", tool("cjpeg", "-rgb", data=colour))
        grey = tool("cjpeg", "-sample", "2x2", data=pnm(waves(width, height, 1)))
        put(f"grey-{size}.jpg", grey)
        put(f"grey-{size}-progressive.jpg", tool("jpegtran", "-progressive", data=grey), f"grey-{size}")


def scans(data, script):
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(script)
        file.flush()
        return tool("jpegtran", "-scans", file.name, data=data)


def inks():
    image = Image.fromarray(waves(33, 35, 4), "CMYK")
    cmyk = saved(image, "jpeg", quality=90)
    put("cmyk-33x35.jpg", cmyk)
    # The same values as luma, chroma and black: Adobe's marker says which.
    marker = cmyk.index(b"Adobe")
    assert cmyk[marker + 11] == 0
    put("ycck-33x35.jpg", cmyk[: marker + 11] + b"\2" + cmyk[marker + 12 :])


def orientations():
    image = Image.fromarray(waves(33, 35, 3))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = orientation
        put(f"turned-{orientation}.jpg", saved(image, "jpeg", exif=exif))
        put(f"turned-png-{orientation}.png", saved(image, "png", exif=exif))
        grey = saved(image.convert("L"), "jpeg", exif=exif)
        put(f"turned-grey-{orientation}.jpg", grey)


def harmless():
    """What Pillow reads without a word."""
    base, like = members["420-70x41.jpg"], "420-70x41"
    put("extra-after.jpg", base + b"more\0bytes", like)
    put("extra-before-marker.jpg", base[:20] + b"\0\1\2" + base[20:], like)
    put("fill-before-marker.jpg", base[:2] + b"\xff\xff\xff" + base[2:], like)
    put("long-comment.jpg", base[:2] + (b"\xff\xfe\xff\xff" + b"c" * 65533) * 3 + base[2:], like)
    scan = base.index(b"\xff\xda")
    put("odd-scan-header.jpg", base[: scan + 12] + b"\0" + base[scan + 13 :], like)
    end = base.rindex(b"\xff\xd9")
    put("extra-before-end.jpg", base[:end] + b"\0\0" + base[end:], like)


def refused():
    base, progressive = members["420-70x41.jpg"], members["420-70x41-progressive.jpg"]
    for name, data in [("baseline", base), ("progressive", progressive)]:
        first = data.index(b"\xff\xda")
        for part in (1, 5, 9, 13, 15):
            cut = data[: first + (len(data) - first) * part // 16]
            members[f"refused/{name}-cut-{part}.jpg"] = cut
            members[f"refused/{name}-cut-and-ended-{part}.jpg"] = cut + b"\xff\xd9"
        members[f"refused/{name}-no-end.jpg"] = data[:-2]
    first = base.index(b"\xff\xda") + 14
    members["refused/no-such-code.jpg"] = base[: first + 40] + b"\xff\0" * 60 + base[first + 160 :]
    members["refused/marker-inside.jpg"] = base[: first + 300] + b"\xff\xd3" + base[first + 302 :]
    restarts = members["420-70x41-restarts.jpg"]
    lost = restarts.index(b"\xff\xd2")
    members["refused/lost-restart.jpg"] = restarts[:lost] + restarts[restarts.index(b"\xff\xd4") :]
    members["refused/two-components.jpg"] = two_components()
    for name, data in members.items():
        # It ends with an error or says that it warned.
        assert not name.startswith("refused/") or subprocess.run(["djpeg"], input=data, capture_output=True).returncode, name


def two_components():
    grey = members["grey-8x8.jpg"]
    frame = grey.index(b"\xff\xc0")
    more = grey[frame + 10 : frame + 13].replace(b"\1", b"\2", 1)
    return grey[: frame + 2] + b"\0\x0e" + grey[frame + 4 : frame + 9] + b"\2" + grey[frame + 10 : frame + 13] + more + grey[frame + 13 :]


def pngs():
    colour, grey = Image.fromarray(waves(33, 35, 3)), Image.fromarray(waves(33, 35, 1)[:, :, 0])
    put("plain.png", saved(colour, "png"))
    put("grey.png", saved(grey, "png"))
    put("palette.png", saved(colour.quantize(16), "png"))
    put("bits.png", saved(grey.point(lambda v: 255 * (v > 127)).convert("1"), "png"))


def write():
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        # Neighbours in the archive are alike.
        for name in sorted(members):
            info = tarfile.TarInfo(name)
            info.size = len(members[name])
            tar.addfile(info, io.BytesIO(members[name]))
    (HERE / "pictures.tar.gz").write_bytes(gzip.compress(plain.getvalue(), 9, mtime=0))


samplings()
inks()
orientations()
harmless()
pngs()
refused()
write()
