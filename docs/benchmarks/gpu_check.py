"""The whole check on a machine with an NVIDIA GPU and torch 2.11 with CUDA.

    python3 gpu_check.py --programs FOLDER --data FOLDER --results FOLDER [--device cuda:0] [--only PART ...]

FOLDER of programs holds `querist`, `querist-train` and `plugins`, as a build leaves them, and, for the part `tests`, the
test programs of `querist-learn` in `tests`. FOLDER of data holds `mnist` (four IDX files) and `cifar10` (what
`dataset.path` takes for that name). FOLDER of results must be new. With `--device cpu` the check tries itself.

Parts, in this order:
  doctor      what the program finds
  tests       the tests of training and of bounds for kernels, on the device
  strategies  two queries of every strategy, eight runs at a time; the first model must be the same in all of them
  repeat      a run twice, and once killed and resumed: the same picks and figures
  select      arrays: the same picks with the device and without, and the seconds of both
  speed       seconds an epoch and of features, beside the same network in a plain PyTorch loop
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

import numpy as np

SMALL = """version = 1
dataset = {{ name = "mnist", path = "{data}/mnist" }}
model = {{ name = "{model}", dropout = 0.25 }}
recipe = {{ optimiser = "adam", lr = 0.001, epochs = {epochs}, minibatch = 64 }}
budget = {{ initial = 100, per_class = true, batch = 20, rounds = 2 }}
strategy = {{ id = "random", subset_size = 2000 }}
seeds = {{ root = 0 }}
compute = {{ device = "cpu", threads = 2 }}
"""

# Few epochs: enough to time one, not to learn.
SPEED = """version = 1
dataset = {{ name = "{dataset}", path = "{data}/{dataset}" }}
model = {{ name = "{model}" }}
recipe = {{ {recipe} }}
budget = {{ initial = {labels}, batch = 1000, rounds = 1 }}
strategy = {{ id = "k-center-greedy" }}
seeds = {{ root = 0 }}
compute = {{ device = "cpu", threads = 4 }}
"""

SMALL_GAN = ["gan_iterations=20", "z_steps=10", "match_features=rgb", "gan_size=8", "gan_channels=8", "batch_size=8"]

SELECTORS = ["k-center-greedy", "kmeans", "typiclust", "probcover", "max-herding", "uherding", "badge"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--results", type=pathlib.Path, required=True)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--libtorch", help="folder of libtorch's libraries, without which those of Python's torch are used"
    )
    parser.add_argument("--ids", nargs="+", help="strategies to try, for the part `strategies`")
    parser.add_argument("--jobs", type=int, default=8, help="runs at a time, where nothing is timed")
    check = parser.parse_args()
    for folder in ["programs", "data"]:
        setattr(check, folder, getattr(check, folder).resolve())
    check.results.mkdir(parents=True)
    check.results = check.results.resolve()
    os.environ["LD_LIBRARY_PATH"] = check.libtorch or libraries_of_torch()
    check.querist = str(check.programs / "querist")
    wrong = []
    for part in check.only:
        start = time.monotonic()
        print(f"\n== {part}", flush=True)
        wrong += [f"{part}: {said}" for said in PARTS[part](check) or []]
        print(f"== {part}: {time.monotonic() - start:.0f} s", flush=True)
    print(f"\n== {len(wrong)} wrong")
    print("\n".join(wrong))
    sys.exit(bool(wrong))


def libraries_of_torch():
    import torch

    print("Python:", torch.__version__, [torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count())])
    return os.path.join(os.path.dirname(torch.__file__), "lib")


def call(*command, seconds=300, **more):
    """What a command says, and whether it ended well."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env={**os.environ, **more})
    except subprocess.TimeoutExpired:
        return False, f"not done after {seconds} s", ""
    return done.returncode == 0, done.stderr.strip(), done.stdout


def records(folder):
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]


def doctor(check):
    good, errors, said = call(check.querist, "doctor")
    print(said, errors)
    return [] if good else [errors]


def tests(check):
    """Test programs, one after the other: a fault of one must not hide behind another's."""
    wrong = []
    programs = sorted((check.programs / "tests").iterdir())
    if not programs:
        return [f"no test programs in {check.programs / 'tests'}"]

    def one(program):
        return call(str(program), "--include-ignored", "--test-threads=1", QUERIST_TEST_DEVICE=check.device)

    with concurrent.futures.ThreadPoolExecutor(check.jobs) as pool:
        for program, (good, errors, said) in zip(programs, pool.map(one, programs)):
            print(program.name, said.strip().splitlines()[-1:] or errors)
            if not good:
                wrong.append(f"{program.name}:\n{said[-6000:]}\n{errors[-2000:]}")
    return wrong


def strategies(check):
    (check.results / "small.toml").write_text(SMALL.format(data=check.data, model="cnn", epochs=3))
    good, errors, said = call(check.querist, "plugin", "list", "--format", "json")
    if not good:
        return [errors]
    ids = check.ids or sorted(one["id"] for one in json.loads(said))
    print(len(ids), "strategies")
    # Not as long as the papers have it, and what goes with a part of the pool.
    more = {
        "asal": ["budget.rounds=1", *(f"strategy.params.{small}" for small in SMALL_GAN)],
        "cluster-margin": ["strategy.params.recluster=every-round"],
        "fixed": ["strategy.params.order=[0, 1, 2]", "strategy.params.fallback=random"],
    }

    def one(name):
        out = check.results / f"strategy-{name}"
        args = ["run", str(check.results / "small.toml"), "--device", check.device, "--out", str(out)]
        args += ["--set", f"strategy.id={name}"]
        start = time.monotonic()
        good, errors, _ = call(check.querist, *args, *(f"--set={set}" for set in more.get(name, [])), seconds=90)
        return good, errors, time.monotonic() - start

    wrong, first = [], {}
    with concurrent.futures.ThreadPoolExecutor(check.jobs) as pool:
        running = {pool.submit(one, name): name for name in ids}
        for done in concurrent.futures.as_completed(running):
            name, (good, errors, seconds) = running[done], done.result()
            if not good:
                wrong.append(f"{name}: {errors[-1500:]}")
                print(f"{name}: FAILED after {seconds:.1f} s", flush=True)
                continue
            lines = records(check.results / f"strategy-{name}")
            took = {key: round(sum(line["seconds"].get(key, 0) for line in lines), 2) for key in lines[0]["seconds"]}
            accuracy = [round(line["metrics"]["accuracy"], 4) for line in lines]
            print(f"{name}: {seconds:.1f} s, {accuracy}, {took}, {lines[0]['peak_memory']}", flush=True)
            first[name] = lines[0]["metrics"]
    values = {json.dumps(metrics) for metrics in first.values()}
    if len(values) > 1:
        print("first models:", {name: metrics.get("accuracy") for name, metrics in first.items()})
    return wrong


def lasting(folder):
    """What must be the same in two runs: everything but clocks and memory."""
    lines = records(folder)
    return [
        {key: line[key] for key in line if key not in ("seconds", "peak_memory", "epochs", "backend")} for line in lines
    ]


def repeat(check):
    """Runs with dropout, draws, hooks and networks of strategies."""
    pairs = [("cnn", "badge", "float32"), ("resnet18", "badge", "float32"), ("resnet18", "badge", "bf16")]
    pairs += [("cnn", "bald", "tf32"), ("cnn", "learning-loss", "float32"), ("cnn", "ta-vaal", "float32")]
    with concurrent.futures.ThreadPoolExecutor(check.jobs) as pool:
        return [said for wrong in pool.map(lambda pair: repeat_one(check, *pair), pairs) for said in wrong]


def repeat_one(check, model, strategy, precision):
    name = f"repeat-{model}-{strategy}-{precision}"
    config = check.results / f"{name}.toml"
    config.write_text(SMALL.format(data=check.data, model=model, epochs=8))
    first, second, killed = [check.results / f"{name}-{way}" for way in ["first", "second", "killed"]]

    def command(out, *more):
        args = ["run", str(config), "--device", check.device, "--out", str(out), "--set", f"strategy.id={strategy}"]
        args += ["--set", f"compute.precision={precision}"]
        return [check.querist, *args, *more]

    for folder in [first, second]:
        good, errors, _ = call(*command(folder))
        if not good:
            return [f"{name}: {errors}"]
    kills = 0
    for wait in [4.0, 5.0, 6.0]:
        more = ["--resume"] if (killed / "run.toml").exists() else []
        process = subprocess.Popen(command(killed, *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    good, errors, _ = call(*command(killed, "--resume"))
    if not good:
        return [f"{name}, resumed: {errors}"]
    wrong = []
    for way, folder in [("a second run", second), ("a killed run", killed)]:
        if lasting(folder) != lasting(first):
            wrong.append(f"{name}: {way} differs: {difference(lasting(first), lasting(folder))}")
    print(f"{name}: {kills} kills, {'as it should be' if not wrong else wrong}", flush=True)
    return wrong


def difference(left, right):
    for at, (one, other) in enumerate(zip(left, right)):
        for key in one:
            if one[key] != other.get(key):
                return f"round {at}, {key}: {str(one[key])[:200]} / {str(other.get(key))[:200]}"
    return f"{len(left)} / {len(right)} rounds"


def select(check):
    rng = np.random.default_rng(0)
    rows, labelled, width, classes = 50_000, 5_000, 512, 10
    centres = rng.normal(size=(100, width)) * 2
    # Features of groups, as trained networks make them.
    features = (centres[rng.integers(0, 100, rows + labelled)] + rng.normal(size=(rows + labelled, width))).astype("f4")
    logits = (features @ rng.normal(size=(width, classes)) / width**0.5).astype("f4")
    arrays = {
        "embeddings": features[:rows],
        "penultimate": features[:rows],
        "labelled.embeddings": features[rows:],
        "labelled.penultimate": features[rows:],
        "logits": logits[:rows],
        "labelled.logits": logits[rows:],
        "labelled.labels": logits[rows:].argmax(1).astype("u4"),
    }
    inputs = []
    for name, array in arrays.items():
        np.save(check.results / f"{name}.npy", array)
        inputs += ["--input", f"{name}={check.results / name}.npy"]
    wrong = []
    for strategy in SELECTORS:
        seconds = {}
        budget = {"bait": "20"}.get(strategy, "1000")
        for device in [check.device, "cpu"]:
            out = check.results / f"{strategy}-{device.split(':')[0]}.txt"
            took = []
            for _ in range(1 if device == "cpu" else 2):
                start = time.monotonic()
                good, errors, _ = call(
                    check.querist,
                    "select",
                    "--strategy",
                    strategy,
                    "--budget",
                    budget,
                    "--seed",
                    "1",
                    "--device",
                    device,
                    "--memory",
                    "8GiB",
                    *inputs,
                    "--out",
                    str(out),
                    seconds=150,
                )
                took.append(time.monotonic() - start)
                if not good:
                    wrong.append(f"{strategy} on {device}: {errors[-1500:]}")
                    break
            seconds[device] = min(took)
        files = [check.results / f"{strategy}-{device.split(':')[0]}.txt" for device in seconds]
        same = all(file.exists() for file in files) and len({file.read_bytes() for file in files}) == 1
        print(
            strategy,
            {device: f"{took:.2f} s" for device, took in seconds.items()},
            "same" if same else "NOT THE SAME",
            flush=True,
        )
        if not same:
            wrong.append(f"{strategy}: the device picks otherwise than the CPU")
    return wrong


CASES = {
    # Name: dataset, model, labels, epochs, recipe, precisions.
    "mnist-lenet": ("mnist", "lenet", 10_000, 4, 'optimiser = "adam", lr = 0.001, minibatch = 64', ["float32"]),
    "cifar10-resnet18": ("cifar10", "resnet18", 10_000, 4, 'preset = "s4"', ["float32", "tf32", "bf16"]),
}


def speed(check):
    wrong = []
    for name, (dataset, model, labels, epochs, recipe, precisions) in CASES.items():
        config = check.results / f"{name}.toml"
        recipe = f"{recipe}, epochs = {epochs}"
        config.write_text(SPEED.format(dataset=dataset, data=check.data, model=model, labels=labels, recipe=recipe))
        for precision in precisions:
            out = check.results / f"speed-{name}-{precision}"
            good, errors, _ = call(
                check.querist,
                "run",
                str(config),
                "--device",
                check.device,
                "--out",
                str(out),
                "--set",
                f"compute.precision={precision}",
            )
            if not good:
                wrong.append(f"{name}, {precision}: {errors}")
                continue
            first, second = records(out)
            # The second round's epochs are as long but for its labels, and nothing is built or tried out in them.
            epoch = second["seconds"]["fit"] / epochs / (labels + 1000) * labels
            peaks = {part: peak and round(peak / 2**20) for part, peak in first["peak_memory"].items()}
            print(
                f"{name}, {precision}: {epoch:.3f} s an epoch, features of the pool {first['seconds']['features']:.2f} s, "
                f"accuracy {second['metrics']['accuracy']:.3f}, peak MiB {peaks}",
                flush=True,
            )
        for way in PYTHON_WAYS[name]:
            print(f"{name}, PyTorch, {way}:", python_loop(name, way, check.device), flush=True)
    return wrong


PYTHON_WAYS = {
    "mnist-lenet": ["default"],
    # What PyTorch does by default is TF32 in convolutions and a search for the fastest kernels.
    "cifar10-resnet18": [
        "float32 deterministic",
        "default",
        "default channels-last",
        "bf16 channels-last",
        "bf16 channels-last deterministic",
    ],
}


def python_loop(name, way, device):
    """Seconds an epoch of the same network, recipe and number of images, images already on the device."""
    import torch
    from torch import nn

    torch.backends.cudnn.deterministic = "deterministic" in way
    torch.backends.cudnn.benchmark = "deterministic" not in way
    torch.backends.cudnn.allow_tf32 = "float32" not in way
    layout = torch.channels_last if "channels-last" in way else torch.contiguous_format
    _, _, labels, epochs, _, _ = CASES[name]
    if name == "mnist-lenet":
        layers = [nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(10, 20, 5), nn.MaxPool2d(2), nn.ReLU()]
        net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(320, 50), nn.ReLU(), nn.Linear(50, 10))
        shape, size, augmented = (1, 28, 28), 64, False
        net = net.to(device)
        optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    else:
        import torchvision

        net = torchvision.models.resnet18(num_classes=10)
        net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
        shape, size, augmented = (3, 32, 32), 256, True
        net = net.to(device, memory_format=layout)
        optimiser = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=3e-4)
    images = torch.randint(0, 256, (labels, *shape), dtype=torch.uint8, device=device)
    targets = torch.randint(0, 10, (labels,), device=device)
    precision = torch.autocast(device.split(":")[0], torch.bfloat16, enabled="bf16" in way)

    def forward(batch):
        with precision:
            return net(batch.float().div_(255).contiguous(memory_format=layout))

    def synchronise():
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    took = []
    for _ in range(epochs):
        synchronise()
        start = time.monotonic()
        for rows in torch.randperm(labels, device=device).split(size):
            batch = images[rows]
            if augmented and np.random.random() < 0.5:
                batch = batch.flip(3)
            loss = nn.functional.cross_entropy(forward(batch).float(), targets[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        synchronise()
        took.append(time.monotonic() - start)
    with torch.no_grad():
        net.eval()
        pool = torch.randint(0, 256, (50_000, *shape), dtype=torch.uint8, device=device)
        synchronise()
        start = time.monotonic()
        for batch in pool.split(512):
            forward(batch).float().cpu()
    took_by_pool = time.monotonic() - start
    return f"{statistics.median(took[1:]):.3f} s an epoch, predictions of the pool {took_by_pool:.2f} s"


PARTS = {
    "doctor": doctor,
    "tests": tests,
    "strategies": strategies,
    "repeat": repeat,
    "select": select,
    "speed": speed,
}

if __name__ == "__main__":
    main()
