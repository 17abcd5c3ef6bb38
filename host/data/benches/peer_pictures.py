"""Reading a folder of pictures with Pillow on one thread, as `draft` and `thumbnail` do it.

    python3 peer_pictures.py FOLDER SIZE [RUNS]

Processor milliseconds a picture, the fewest of several runs; a size of 0 decodes the pictures whole. The thumbnail's
shorter side is SIZE, as in the bench `pictures`. Needs Pillow. With `--make FOLDER` it makes photographs of 12 megapixels
in two classes: noise with the spectrum of photographs, and needs numpy for it.
"""
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benches" / "peers"))

import machine  # noqa: E402

from PIL import Image, features  # noqa: E402
from PIL import __version__ as PIL_VERSION  # noqa: E402


def read(path, size):
    image = Image.open(path)
    if size:
        short = min(image.size)
        wanted = tuple(-(-side * size // short) for side in image.size)
        image.draft("RGB", wanted)
        image.thumbnail(wanted)
    return image.tobytes()


def make(folder):
    import numpy as np

    rng = np.random.default_rng(3)

    def plane(height, width):
        spectrum = np.fft.rfft2(rng.standard_normal((height, width)).astype(np.float32))
        rates = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
        plane = np.fft.irfft2(spectrum / (rates + 1 / width) ** 1.1, (height, width))
        return (plane - plane.mean()) / plane.std()

    for number in range(6):
        light, hue, other = (plane(3000, 4000) for _ in range(3))
        grain = 4 * rng.standard_normal((3000, 4000, 3))
        values = 120 + 55 * light[..., None] + 18 * np.stack([hue, -hue / 2, other], -1) + grain
        image = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
        name = f"{'ab'[number % 2]}/{number}"
        small = image.resize((500, 375))
        for kind, picture, options in [
            ("phone", image, {"quality": 85, "subsampling": 2}),
            ("camera", image, {"quality": 93, "subsampling": 0}),
            ("progressive", image, {"quality": 85, "progressive": True}),
            ("web", small, {"quality": 85, "subsampling": 2}),
            ("png", image, {}),
        ]:
            path = Path(folder) / kind / (name + (".png" if kind == "png" else ".jpg"))
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, **options)


def main():
    if sys.argv[1] == "--make":
        return make(sys.argv[2])
    folder, size = sys.argv[1], int(sys.argv[2])
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    machine.say()
    print(f"Pillow {PIL_VERSION}, libjpeg-turbo {features.version_feature('libjpeg_turbo')}")
    fewest = float("inf")
    for _ in range(runs):
        start = time.process_time()
        for path in paths:
            read(path, size)
        fewest = min(fewest, (time.process_time() - start) / len(paths))
    print(f"{folder} at {size}: {fewest * 1e3:.2f} ms a picture by Pillow")


main()
