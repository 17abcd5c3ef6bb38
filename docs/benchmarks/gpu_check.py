"""The whole check on a machine with an NVIDIA GPU and torch 2.11 with CUDA, in at most eight minutes.

    python3 gpu_check.py --programs FOLDER --data FOLDER --results FOLDER [--device cuda:0] [--only PART ...]

`gpu_pack.py` makes an archive with this script, the programs and the data, which is all that it needs beside a Python
with torch and torchvision. FOLDER of programs holds `querist`, `querist-train` and `plugins`. FOLDER of data holds
`mnist` (four IDX files) and `cifar10-jpeg` (archives of JPEGs). FOLDER of results must be new.

Each part has a time of its own; what goes beyond is ended, noted, and the next part begins. The table at the end,
also in `table.md` of the results, has for each figure what was found, what is asked for, and whether that holds. It
is written anew after each part, so that a check that is cut off leaves it.

With `--quick` all is small: one network, few labels, built-in digits where no data is given. With `--device cpu
--quick` the check tries itself on a machine without a GPU; figures are then printed and held to nothing.
"""

import argparse
import concurrent.futures
import importlib.util
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import time
import traceback

STRATEGIES = """version = 1
dataset = {dataset}
model = {{ name = "cnn", dropout = 0.25 }}
recipe = {{ optimiser = "adam", lr = 0.001, epochs = 2, minibatch = 64 }}
budget = {{ initial = 100, batch = 20, rounds = 1 }}
strategy = {{ id = "random", subset_size = {subset} }}
seeds = {{ root = 0 }}
compute = {{ device = "{device}", threads = {threads} }}
"""

TRAINING = """version = 1
dataset = {dataset}
model = {{ name = "{model}" }}
recipe = {{ {recipe} }}
budget = {{ initial = {labels}, batch = {batch}, rounds = {rounds} }}
strategy = {{ id = "random" }}
seeds = {{ root = 0 }}
compute = {{ device = "{device}", threads = {threads}, precision = "{precision}" }}
"""

# Not as long as the papers have it, and what goes with a part of the pool.
SMALLER = {
    "adversarial-bim": ["max_iter=20", "subset_size=100"],
    "adversarial-deepfool": ["max_iter=20", "subset_size=100"],
    "asal": ["gan_iterations=20", "z_steps=10", "match_features=rgb", "gan_size=8", "gan_channels=8", "batch_size=8"],
    "cluster-margin": ["recluster=every-round"],
    "core-gcn": ["epochs=20"],
    "refine": ["num_batches=20", "depth=1"],
    "ta-vaal": ["iterations=5", "batch_size=16", "subset_size=100"],
    "uncertain-gcn": ["epochs=20"],
    "vaal": ["iterations=5", "batch_size=16", "subset_size=100"],
    "waal": ["epoch_length=labelled"],
}


class Check:
    """What is asked for, and what was found so far."""

    def __init__(self, asked):
        self.asked = asked
        self.querist = str(asked.programs / "querist")
        self.lines = []
        self.wrong = []
        self.running = []
        self.end = 0.0

    def left(self):
        """Seconds of this part that are left."""
        return self.end - time.monotonic()

    def note(self, what, found, wanted="", holds=None):
        """A line of the table. `holds` is whether the figure is what it should be; `None` where nothing is asked."""
        # What a small try or a processor gives is no figure.
        holds = None if self.asked.quick else holds
        word = {None: "", True: "yes", False: "**no**"}[holds]
        self.lines.append(f"| {what} | {found} | {wanted} | {word} |")
        print(self.lines[-1], flush=True)

    def fail(self, what, why):
        self.wrong.append(f"{what}: {why}")
        self.lines.append(f"| {what} | FAILED: {' '.join(why.split())[-160:]} | | **no** |")
        print(f"FAILED {what}: {why[-2000:]}", flush=True)

    def call(self, *command, seconds=None):
        """Whether a command ended well, what it said as errors, and what it printed."""
        limit = min(self.left(), seconds or self.left())
        if limit <= 0:
            return False, "the part's time was up", ""
        # A group of its own, so that a run's workers end with it.
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.running.append(process)
        try:
            said, errors = process.communicate(timeout=limit)
            return process.returncode == 0, errors.strip(), said
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return False, f"not done after {limit:.0f} s", ""
        finally:
            self.running.remove(process)

    def dataset(self, name, size=None):
        """What a run file says of a dataset, built-in digits where there is no data."""
        if self.asked.data is None:
            return f'{{ name = "digits", size = {size or 32}, test = 300 }}'
        folder = self.asked.data / {"cifar10": "cifar10-jpeg"}.get(name, name)
        more = "" if size is None else f", size = {size}"
        return f'{{ name = "{name}", path = "{folder}"{more} }}'

    def run(self, name, text, *sets, seconds=None, stop=None):
        """The records of a run and its seconds, or `None` after a note why there are none."""
        config, out = self.asked.results / f"{name}.toml", self.asked.results / name
        config.write_text(text)
        given = [f"--set={one}" for one in sets] + (["--stop-after", stop] if stop else [])
        start = time.monotonic()
        good, errors, _ = self.call(self.querist, "run", str(config), "--out", str(out), *given, seconds=seconds)
        if not good:
            self.fail(name, errors)
            return None
        return records(out), time.monotonic() - start

    def training(self, dataset, model, recipe, labels, batch=1, rounds=1, precision="bf16"):
        threads, device = self.asked.threads, self.asked.device
        values = {"model": model, "recipe": recipe, "labels": labels, "batch": batch, "rounds": rounds}
        return TRAINING.format(dataset=dataset, device=device, threads=threads, precision=precision, **values)


def records(folder):
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]


def epochs(folder, number=0):
    """Seconds of the epochs of a round but the first, in which libtorch picks its kernels."""
    lines = (folder / "rounds" / f"{number:04}" / "epochs.csv").read_text().splitlines()
    at = lines[0].split(",").index("seconds")
    return [float(line.split(",")[at]) for line in lines[2:]]


def doctor(check):
    good, errors, said = check.call(check.querist, "doctor")
    print(said, errors)
    if good:
        gpu = [line.split(None, 1)[1] for line in said.splitlines() if line.startswith("GPU")]
        check.note("GPU, as the program finds it", gpu[0] if gpu else "-")
    else:
        check.fail("doctor", errors)


def training(check):
    """Seconds of an epoch of ResNet-18, beside PyTorch, in turns."""
    quick = check.asked.quick
    model, labels, count = ("resnet18-16", 256, 2) if quick else ("resnet18", 10_000, 6)
    recipe = f'preset = "uwe", epochs = {count}, minibatch = {64 if quick else 256}'
    on_gpu = check.asked.device.startswith("cuda")
    ours = {}
    for precision in ["float32", "tf32", "bf16"] if on_gpu else ["float32"]:
        name = f"training-{precision}"
        text = check.training(check.dataset("cifar10"), model, recipe, labels, precision=precision)
        done = check.run(name, text, stop="cycle0")
        if done:
            ours[precision] = statistics.median(epochs(check.asked.results / name))
            check.note(f"{model}, {labels} labels, {precision}: an epoch", f"{ours[precision]:.3f} s")
    best = min((ours[name] for name in ("tf32", "bf16", "float32") if name in ours), default=None)
    if not importlib.util.find_spec("torchvision"):
        print("PyTorch and torchvision are not installed: not compared")
        return
    # TF32 in convolutions is what PyTorch does where nobody asks for something else.
    ways = [("eager, images on the device", "tf32", 1.05), ("eager, torchvision loader, AMP", "bf16", 2.0)]
    for way, precision, least in ways:
        script = [sys.executable, __file__, "--torch", way, str(labels), str(count), str(check.asked.data or "")]
        good, errors, said = check.call(*script, check.asked.device, "quick" if quick else "whole")
        if not good:
            check.fail(f"PyTorch, {way}", errors)
            continue
        theirs, mine = float(said.split()[-1]), ours.get(precision, best)
        check.note(f"PyTorch, {way}: an epoch", f"{theirs:.3f} s")
        if mine:
            what = f"training, PyTorch ({way}) over ours"
            check.note(what, f"{theirs / mine:.2f}x", f">= {least}x", theirs / mine >= least)


def fast_cifar(check):
    """Seconds that `fast-cifar` takes to what a plain recipe reaches."""
    # But for one, which the run's only query would ask for.
    labels, length = (200, 1) if check.asked.quick else (49_999, 12)
    dataset = check.dataset("cifar10")
    model = "resnet18-16" if check.asked.quick else "resnet18"
    plain = f'lr = 0.1, epochs = {length}, minibatch = 256, schedule = "cosine", nesterov = true, '
    plain += 'weight_decay = 5e-4, augment = ["crop", "flip"]'
    fast = 'preset = "fast-cifar"' + (", epochs = 1, minibatch = 64" if check.asked.quick else "")
    found = {}
    for name, recipe in [("fast-cifar", fast), ("plain", plain)]:
        done = check.run(name, check.training(dataset, model, recipe, labels), stop="cycle0")
        if done:
            first = done[0][0]
            found[name] = (first["seconds"]["fit"], first["metrics"]["accuracy"])
            check.note(f"{name}, {labels} labels", f"{found[name][0]:.2f} s to {100 * found[name][1]:.2f} %")
    if len(found) == 2:
        (seconds, accuracy), (_, target) = found["fast-cifar"], found["plain"]
        reached = f"{100 * accuracy:.2f} % beside {100 * target:.2f} % in {seconds:.2f} s"
        check.note("fast-cifar, to what a plain recipe reaches", reached, "in 5 s", seconds <= 5 and accuracy >= target)


def realistic(check):
    """Ten rounds from 1,000 to 10,000 labels."""
    quick = check.asked.quick
    model, recipe = "resnet18", 'preset = "realistic"'
    labels, batch, rounds = 1000, 1000, 9
    if quick:
        model, recipe = "resnet18-16", 'preset = "realistic", epochs = 3, epoch_length = "labelled"'
        labels, batch, rounds = 100, 20, 2
    done = check.run("realistic", check.training(check.dataset("cifar10"), model, recipe, labels, batch, rounds))
    if not done:
        lines = check.asked.results / "realistic" / "rounds.jsonl"
        finished = len(lines.read_text().splitlines()) if lines.exists() else 0
        check.note("realistic, ten rounds", f"{finished} rounds in its time", "300 s", False)
        return
    lines, seconds = done
    inside = sum(line["seconds"][part] for line in lines for part in ("fit", "evaluate", "features"))
    check.note(f"realistic, {len(lines)} rounds of {model}", f"{seconds:.0f} s", "<= 300 s", seconds <= 300)
    check.note("  of it outside training and forward passes", f"{100 * (1 - inside / seconds):.1f} %")
    ends = [f"{100 * line['metrics']['accuracy']:.1f}" for line in (lines[0], lines[-1])]
    check.note("  accuracy at the first and the last label", " and ".join(ends) + " %")


def strategies(check):
    """A query of every strategy; the first model must be the same in all of them."""
    quick = check.asked.quick
    good, errors, said = check.call(check.querist, "plugin", "list", "--format", "json")
    if not good:
        return check.fail("strategies", errors)
    known = {one["id"]: one for one in json.loads(said)}
    needs = {name: " ".join(one["needs"]) for name, one in known.items()}
    # Rows that a user points at, and numbers of samples, are of a user's own data.
    pointed = {name for name in known if name == "fixed" or re.search(r"\b(query|private)\.", needs[name])}
    ids = check.asked.ids or sorted(set(known) - pointed)
    small = check.asked.data is None
    text = STRATEGIES.format(
        dataset=check.dataset("mnist", 16 if small else None),
        device=check.asked.device,
        subset=200 if quick else 1000,
        threads=1 if quick else 2,
    )
    first, before = {}, len(check.wrong)

    def one(name):
        params = [f"strategy.params.{param}" for param in SMALLER.get(name, [])]
        if "calibration." in needs[name]:
            params.append("dataset.validation=50")
        return check.run(f"strategy-{name}", text, f"strategy.id={name}", *params, seconds=60)

    with concurrent.futures.ThreadPoolExecutor(check.asked.jobs) as pool:
        running = {pool.submit(one, name): name for name in ids}
        for done in concurrent.futures.as_completed(running):
            if done.result():
                lines, seconds = done.result()
                first[running[done]] = json.dumps(lines[0]["metrics"])
                print(f"{running[done]}: {seconds:.1f} s", flush=True)
    check.note("strategies that made a query", f"{len(first)} of {len(ids)}", "all", len(first) == len(ids))
    # Members are evaluated together, native strategies may take part in training, what is held out changes the split.
    other = re.compile(r"member_log_probs|calibration\.")
    alike = {first[name] for name in first if known[name]["kind"] == "wasm" and not other.search(needs[name])}
    check.note("first models of strategies that look at one", len(alike), "1", len(alike) == 1)
    if len(alike) > 1:
        check.wrong.append("strategies: the first model is not the same in all runs")
    return len(check.wrong) == before


# What each may take of the eight minutes, in seconds.
PARTS = {
    "doctor": (doctor, 10),
    "training": (training, 70),
    "fast-cifar": (fast_cifar, 55),
    "realistic": (realistic, 270),
    "strategies": (strategies, 70),
}
ALL = 480


def pytorch(way, labels, length, data, device, size):
    """Seconds of an epoch of the same network and recipe in a plain loop."""
    import torch
    from torch import nn
    from torchvision import models, transforms

    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    quick, on_gpu = size == "quick", device.startswith("cuda")
    minibatch = 64 if quick else 256
    net = models.resnet18(num_classes=10)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    if quick:
        net = models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=10)
    amp = "AMP" in way
    layout = torch.channels_last if amp else torch.contiguous_format
    net = net.to(device, memory_format=layout)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=3e-4, fused=on_gpu)
    images = torch.randint(0, 256, (labels, 3, 32, 32), dtype=torch.uint8)
    targets = torch.randint(0, 10, (labels,))

    class Pictures(torch.utils.data.Dataset):
        """Decoded pictures, changed one by one as torchvision does it."""

        change = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.49, 0.48, 0.45), (0.25, 0.24, 0.26)),
            ]
        )

        def __len__(self):
            return labels

        def __getitem__(self, at):
            return self.change(images[at]), targets[at]

    if "loader" in way:
        workers = min(8, os.cpu_count() or 1)
        more = {"num_workers": workers, "pin_memory": on_gpu, "persistent_workers": True}
        loader = torch.utils.data.DataLoader(Pictures(), minibatch, shuffle=True, **more)

        def minibatches():
            for x, y in loader:
                x = x.to(device, non_blocking=True, memory_format=layout)
                yield x, y.to(device, non_blocking=True)
    else:
        resident, answers = images.to(device), targets.to(device)

        def minibatches():
            for rows in torch.randperm(labels, device=device).split(minibatch):
                x = resident[rows]
                flips = torch.rand(len(rows), 1, 1, 1, device=device) < 0.5
                x = torch.where(flips, x.flip(3), x).float().div_(127.5).sub_(1)
                yield x, answers[rows]

    took = []
    for _ in range(length):
        start = time.monotonic()
        total = torch.zeros((), device=device)
        for x, y in minibatches():
            with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=amp):
                logits = net(x)
            loss = nn.functional.cross_entropy(logits.float(), y)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            total += loss.detach()
        total.item()
        took.append(time.monotonic() - start)
    print(statistics.median(took[1:]))


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, help="built-in digits where it is left out")
    parser.add_argument("--results", type=pathlib.Path, required=True)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--ids", nargs="+", help="strategies to try")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--jobs", type=int, default=max(1, min(12, cores)), help="runs at a time, where none is timed")
    parser.add_argument("--threads", type=int, default=max(1, min(4, cores)))
    asked = parser.parse_args()
    asked.programs = asked.programs.resolve()
    asked.data = asked.data and asked.data.resolve()
    asked.results.mkdir(parents=True)
    asked.results = asked.results.resolve()
    return asked


def main():
    if sys.argv[1:2] == ["--torch"]:
        way, labels, length, data, device, size = sys.argv[2:]
        return pytorch(way, int(labels), int(length), data, device, size)
    check = Check(arguments())
    if check.asked.device.startswith("cuda"):
        import torch

        libraries = os.path.join(os.path.dirname(torch.__file__), "lib")
        os.environ["LD_LIBRARY_PATH"] = libraries
        print("Python:", torch.__version__, [torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count())])
    os.environ.setdefault("QUERIST_CACHE", str(check.asked.results / "cache"))
    begun = time.monotonic()
    for name in check.asked.only:
        part, seconds = PARTS[name]
        start = time.monotonic()
        seconds = seconds if not check.asked.quick else 600
        check.end = start + min(seconds, max(0.0, ALL - (start - begun)) if not check.asked.quick else seconds)
        print(f"\n== {name}, at most {check.left():.0f} s", flush=True)
        try:
            part(check)
        except Exception:
            check.fail(name, traceback.format_exc())
        check.note(f"*part {name}*", f"{time.monotonic() - start:.0f} s")
        table = ["| what | found | asked for | holds |", "| --- | --- | --- | --- |", *check.lines]
        (check.asked.results / "table.md").write_text("\n".join(table) + "\n")
    print("\n" + (check.asked.results / "table.md").read_text())
    print(f"{time.monotonic() - begun:.0f} s, {len(check.wrong)} wrong")
    print("\n".join(check.wrong))
    sys.exit(bool(check.wrong))


if __name__ == "__main__":
    main()
