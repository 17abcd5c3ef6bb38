"""What both exporters share: where a model comes from, its parts, its sidecar, and how outputs are compared.

Needs torch; torchvision or timm where a model is named after them.
"""

import argparse
import importlib
import importlib.util
import os
import sys

import torch

# The largest difference between what PyTorch and the written file give, as a share of the largest value.
TOLERANCE = 1e-4


def arguments(description, suffix):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model", help="torchvision:NAME, timm:NAME, or FILE.py:FUNCTION, which gives the module")
    parser.add_argument("out", help=f"file to write, NAME{suffix}; NAME.toml is written beside it")
    parser.add_argument("--weights", help="file of a state dictionary that is loaded into it, whole")
    parser.add_argument("--head", help="name of the last module, from embeddings to class scores, such as fc; none "
                                       "where the model gives embeddings")
    parser.add_argument("--size", type=int, required=True, help="side of the square images in pixels")
    parser.add_argument("--channels", type=int, default=3, choices=[1, 3])
    parser.add_argument("--resize", type=int, help="length of the shorter side before the middle is cut out")
    parser.add_argument("--filter", default="triangle", choices=["triangle", "box", "cubic", "lanczos"])
    parser.add_argument("--mean", type=float, nargs="+", default=[0.485, 0.456, 0.406])
    parser.add_argument("--std", type=float, nargs="+", default=[0.229, 0.224, 0.225])
    given = parser.parse_args()
    if not given.out.endswith(suffix):
        parser.error(f"the file is to end in {suffix}, not {given.out}")
    for key in ["mean", "std"]:
        if len(getattr(given, key)) != given.channels:
            parser.error(f"--{key} has {len(getattr(given, key))} values for {given.channels} channels")
    return given


def load(name, weights=None):
    """The module of this name, with these weights, in eval mode."""
    kind, _, rest = name.rpartition(":")
    if kind == "torchvision":
        model = importlib.import_module("torchvision").models.get_model(rest, weights=None)
    elif kind == "timm":
        model = importlib.import_module("timm").create_model(rest, pretrained=weights is None)
    elif kind.endswith(".py"):
        spec = importlib.util.spec_from_file_location("exported", kind)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        model = getattr(module, rest)()
    else:
        sys.exit(f"{name}: expected torchvision:NAME, timm:NAME or FILE.py:FUNCTION")
    if weights is not None:
        model.load_state_dict(torch.load(weights, weights_only=True))
    return model.eval()


def parts(model, head):
    """The model without its last module, and that; the model and nothing where there is none."""
    if head is None:
        return model, None
    *path, name = head.split(".")
    holder = model.get_submodule(".".join(path))
    last = getattr(holder, name)
    setattr(holder, name, torch.nn.Identity())
    return model, last


def trial_images(given, count):
    generator = torch.Generator().manual_seed(count)
    return torch.rand(count, given.channels, given.size, given.size, generator=generator) * 4 - 2


def compare(expected, found, what):
    """Ends the program if the two lie too far apart; says how far."""
    if expected.shape != found.shape:
        sys.exit(f"{what}: the file gives {tuple(found.shape)}, PyTorch {tuple(expected.shape)}; nothing was kept")
    apart = float((expected - found).abs().max() / expected.abs().max().clamp_min(1e-12))
    if not apart <= TOLERANCE:
        sys.exit(f"{what}: the file is off by {apart:.1e} of the largest value; nothing was kept")
    return f"{what} the same to {apart:.1e}"


def sidecar(given, outputs):
    numbers = lambda values: "[" + ", ".join(repr(value) for value in values) + "]"
    lines = ["version = 1", f"size = {given.size}", f"channels = {given.channels}"]
    if given.resize is not None:
        lines.append(f"resize = {given.resize}")
    lines += [f'filter = "{given.filter}"', f"mean = {numbers(given.mean)}", f"std = {numbers(given.std)}"]
    lines += ["", "[outputs]"] + [f'{name} = "{name}"' for name in outputs]
    return "\n".join(lines) + "\n"


def keep(given, suffix, written, outputs):
    """Gives the compared file its name, and writes what stands beside it."""
    beside = given.out[: -len(suffix)] + ".toml"
    with open(beside + ".new", "w") as file:
        file.write(sidecar(given, outputs))
    os.replace(written, given.out)
    os.replace(beside + ".new", beside)
    print(f"{given.out} and {beside}")
