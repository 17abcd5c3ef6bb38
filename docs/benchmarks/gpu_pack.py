"""Makes the archive that `gpu_check.py` needs on a machine with a GPU: programs, plugins, data and the script.

    python3 docs/benchmarks/gpu_pack.py --programs target/debug --data FOLDER --out gpu.tar.xz [--most 60]

FOLDER of data holds `mnist` (four IDX files) and `cifar10-jpeg` (archives of JPEGs). Programs and native plugins lose
their symbols, in copies; `SHA256SUMS` of the plugins, by which the program trusts native ones that lie beside it, is
made anew of what is packed. An archive of more than `--most` MiB is refused. On the other machine:

    tar xf gpu.tar.xz && python3 gpu/gpu_check.py --programs gpu/programs --data gpu/data --results results
"""

import argparse
import hashlib
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ARTIFACTS = (".wasm", ".so", ".composite.toml")


def strip(path):
    subprocess.run(["strip", "--strip-all" if path.suffix != ".so" else "--strip-unneeded", str(path)], check=True)


def digests(plugins):
    """Lines of `sha256sum` for each artifact, as the build writes them."""
    lines = []
    for package in sorted(path for path in plugins.iterdir() if path.is_dir()):
        for artifact in sorted(package.iterdir()):
            if artifact.name.startswith(f"{package.name}.") and artifact.name.endswith(ARTIFACTS):
                digest = hashlib.sha256(artifact.read_bytes()).hexdigest()
                lines.append(f"{digest}  {package.name}/{artifact.name}\n")
    return sorted(lines, key=lambda line: line[64:])


def lay_down(programs, data, folder):
    (folder / "programs").mkdir(parents=True)
    for name in ["querist", "querist-train"]:
        shutil.copy2(programs / name, folder / "programs" / name)
        strip(folder / "programs" / name)
    plugins = folder / "programs" / "plugins"
    shutil.copytree(programs / "plugins", plugins)
    for library in plugins.glob("*/*.so"):
        strip(library)
    (plugins / "SHA256SUMS").write_text("".join(digests(plugins)))
    shutil.copy2(HERE / "gpu_check.py", folder)
    for name in ["mnist", "cifar10-jpeg"]:
        # Not their modes: what is read-only here need not be so there.
        shutil.copytree(data / name, folder / "data" / name, copy_function=shutil.copyfile)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--most", type=float, default=60, help="MiB of the archive at most")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work) / "gpu"
        lay_down(asked.programs, asked.data, folder)
        sizes = {path.name: sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) for path in folder.iterdir()}
        print({name: f"{size / 2**20:.1f} MiB" for name, size in sizes.items()}, flush=True)
        command = ["tar", "--create", "--owner=0", "--group=0", "--directory", work, "gpu"]
        packed = subprocess.Popen(command, stdout=subprocess.PIPE)
        with asked.out.open("wb") as out:
            subprocess.run(["xz", "--threads=0", "-6"], stdin=packed.stdout, stdout=out, check=True)
        if packed.wait() != 0:
            sys.exit("tar failed")
    size = asked.out.stat().st_size / 2**20
    print(f"{asked.out}: {size:.1f} MiB, SHA-256 {hashlib.sha256(asked.out.read_bytes()).hexdigest()}")
    if size > asked.most:
        sys.exit(f"more than the {asked.most} MiB that it may have: pack fewer plugins or other programs")


if __name__ == "__main__":
    main()
