#!/usr/bin/env python3
"""Makes a safetensors file of a checkpoint that `torch.save` wrote, whatever its age.

    python3 examples/weights/convert.py CHECKPOINT.pth NEW.safetensors
    python3 examples/weights/convert.py --list CHECKPOINT.pth

Needs Python 3.8 and nothing else, PyTorch included. It reads zip archives (PyTorch 1.6 and later) and the form of
before: several pickles and the values, one after the other. No code of the file runs: of the classes that a pickle may
name only those that rebuild tensors and ordered dictionaries are known, and numbers of numpy; every other object is
read as an empty stand-in that does nothing, so that settings which were saved beside the weights do no harm. This is
stricter than `torch.load(weights_only=True)`, which refuses such files.

A dictionary in the entry `state_dict`, `model` or `model_state_dict` is looked into. Tensors of nested dictionaries
get names joined by dots. What is no tensor is left out, and counted. The file is written beside NEW and renamed once
it is whole.
"""

import argparse
import collections
import json
import os
import pickle
import struct
import sys
import zipfile

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
WRAPPERS = ("state_dict", "model", "model_state_dict")
# Name of the storage's class, bytes of a value, type in a safetensors file.
TYPES = {
    "DoubleStorage": (8, "F64"),
    "FloatStorage": (4, "F32"),
    "HalfStorage": (2, "F16"),
    "BFloat16Storage": (2, "BF16"),
    "LongStorage": (8, "I64"),
    "IntStorage": (4, "I32"),
    "ShortStorage": (2, "I16"),
    "CharStorage": (1, "I8"),
    "ByteStorage": (1, "U8"),
    "BoolStorage": (1, "BOOL"),
}
MOST_DEPTH = 8


class Refused(Exception):
    """A file that is no checkpoint, or holds what cannot be converted."""


class Storage:
    """Values of one type, which several tensors may share."""

    def __init__(self, kind, key, count):
        if kind not in TYPES:
            raise Refused(f"values of {kind}, which safetensors files do not have")
        self.size, self.type = TYPES[kind]
        self.key, self.count, self.bytes = key, count, None

    def fill(self, data):
        """Takes the values."""
        if len(data) < self.size * self.count:
            raise Refused(f"storage {self.key} has {len(data)} bytes, expected {self.size * self.count}")
        self.bytes = data


class Tensor:
    """A view of a storage."""

    def __init__(self, storage, offset, sizes, strides):
        last = offset + sum((n - 1) * step for n, step in zip(sizes, strides)) if 0 not in sizes else offset
        numbers = [offset, *sizes, *strides]
        if not isinstance(storage, Storage) or len(sizes) != len(strides) or min(numbers) < 0:
            raise Refused("a tensor of negative sizes, or of no storage")
        if 0 not in sizes and last >= storage.count:
            raise Refused(f"a tensor that ends behind its storage {storage.key}")
        self.storage, self.offset, self.sizes, self.strides = storage, offset, tuple(sizes), tuple(strides)

    def data(self):
        """The values in the order of a safetensors file."""
        size, values = self.storage.size, self.storage.bytes
        if values is None:
            raise Refused(f"storage {self.storage.key} is missing in the file")
        contiguous, steps = 1, []
        for n in reversed(self.sizes):
            steps.insert(0, contiguous)
            contiguous *= n
        if all(n == 1 or step == whole for n, step, whole in zip(self.sizes, self.strides, steps)):
            return values[self.offset * size : (self.offset + contiguous) * size]
        out = bytearray()

        def walk(at, depth):
            if depth == len(self.sizes):
                out.extend(values[at * size : (at + 1) * size])
                return
            for i in range(self.sizes[depth]):
                walk(at + i * self.strides[depth], depth + 1)

        walk(self.offset, 0)
        return bytes(out)


class Nothing:
    """Stands for an object of a class that is not known; whatever is done to it does nothing."""

    def __new__(cls, *_args, **_kwargs):
        return object.__new__(cls)

    def __init__(self, *_args, **_kwargs):
        pass

    def __call__(self, *_args, **_kwargs):
        return Nothing()

    def __setstate__(self, _state):
        pass

    def __setitem__(self, _key, _value):
        pass

    def append(self, _value):
        """Takes what a pickle adds to a list."""

    def extend(self, _values):
        """Likewise."""

    def add(self, _value):
        """Likewise, to a set."""

    def __hash__(self):
        return id(self)


class Dictionary(collections.OrderedDict):
    """An ordered dictionary whose other attributes are left out."""

    def __setstate__(self, _state):
        pass


def rebuild_tensor(storage, offset, sizes, strides, *_rest):
    """What `torch._utils` makes a tensor of."""
    return Tensor(storage, offset, sizes, strides)


def rebuild_parameter(data, *_rest):
    """A parameter is its tensor."""
    return data


class Kind:
    """A class of storages."""

    def __init__(self, name):
        self.name = name


KNOWN = {
    ("collections", "OrderedDict"): Dictionary,
    ("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): rebuild_parameter,
}


class Unpickler(pickle.Unpickler):
    """Knows tensors and plain containers."""

    def __init__(self, file, storages):
        super().__init__(file, encoding="utf-8")
        self.storages = storages

    def find_class(self, module, name):
        """A class that is known, or one that does nothing."""
        if (module, name) in KNOWN:
            return KNOWN[module, name]
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return Kind(name)
        return Nothing

    def persistent_load(self, pid):
        """The storage that a tensor names."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], Kind):
            raise Refused("an object that is stored outside of the pickle and is no storage")
        _, kind, key, _, count = pid[:5]
        if key not in self.storages:
            self.storages[key] = Storage(kind.name, key, count)
        return self.storages[key]


def read_zip(path):
    """An archive of PyTorch 1.6 or later."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Refused("a zip archive without a `data.pkl`: no checkpoint of PyTorch")
        folder = pickles[0][: -len("data.pkl")]
        order = folder + "byteorder"
        if order in names and archive.read(order).strip() != b"little":
            raise Refused("values in big-endian order")
        storages = {}
        with archive.open(pickles[0]) as file:
            value = Unpickler(file, storages).load()
        for storage in storages.values():
            storage.fill(archive.read(f"{folder}data/{storage.key}"))
        return value


def read_legacy(path):
    """The form of before: magic number, version, system, object, keys, and the values of each key."""
    with open(path, "rb") as file:
        magic, _version, system = (Unpickler(file, {}).load() for _ in range(3))
        if magic != LEGACY_MAGIC:
            raise Refused("neither a zip archive nor an older checkpoint of PyTorch")
        if isinstance(system, dict) and not system.get("little_endian", True):
            raise Refused("values in big-endian order")
        storages = {}
        value = Unpickler(file, storages).load()
        for key in Unpickler(file, {}).load():
            (count,) = struct.unpack("<q", file.read(8))
            if key not in storages or count != storages[key].count:
                raise Refused(f"storage {key} has {count} values, which no tensor expects")
            # No more than there is, whatever a file says.
            left = os.fstat(file.fileno()).st_size - file.tell()
            storages[key].fill(file.read(min(count * storages[key].size, left)))
        return value


def read(path):
    """The object in a checkpoint."""
    with open(path, "rb") as file:
        start = file.read(4)
    return read_zip(path) if start == b"PK\x03\x04" else read_legacy(path)


def unwrapped(value):
    """The dictionary of tensors."""
    for _ in range(MOST_DEPTH):
        inner = next((value[name] for name in WRAPPERS if isinstance(value.get(name), dict)), None)
        if inner is None:
            return value
        value = inner
    return value


def tensors(value, prefix="", depth=0):
    """Names and tensors, and how many other entries there are."""
    found, others = {}, 0
    for name, entry in value.items():
        name = f"{prefix}{name}"
        if isinstance(entry, Tensor):
            found[name] = entry
        elif isinstance(entry, dict) and depth < MOST_DEPTH:
            inner, more = tensors(entry, f"{name}.", depth + 1)
            found.update(inner)
            others += more
        else:
            others += 1
    return found, others


def write(found, path):
    """A safetensors file, tensors sorted by name."""
    header, offset, order = {"__metadata__": {"format": "pt"}}, 0, sorted(found)
    for name in order:
        tensor = found[name]
        count = 1
        for n in tensor.sizes:
            count *= n
        end = offset + count * tensor.storage.size
        header[name] = {"dtype": tensor.storage.type, "shape": list(tensor.sizes), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    partial = f"{path}.partial"
    with open(partial, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            file.write(found[name].data())
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def main():
    """Converts, and says what was done."""
    parser = argparse.ArgumentParser(description="Makes a safetensors file of a checkpoint of PyTorch.")
    parser.add_argument("checkpoint")
    parser.add_argument("new", nargs="?")
    parser.add_argument("--list", action="store_true", help="print names, types and shapes, and write nothing")
    options = parser.parse_args()
    if options.list == (options.new is not None):
        parser.error("name the file to write, or say --list")
    value = read(options.checkpoint)
    if not isinstance(value, dict):
        raise Refused("a checkpoint that is no dictionary; save `model.state_dict()` instead of the model")
    found, others = tensors(unwrapped(value))
    if not found:
        raise Refused("a checkpoint without a dictionary of tensors; save `model.state_dict()` instead of the model")
    if options.list:
        for name in sorted(found):
            print(name, found[name].storage.type, list(found[name].sizes))
        return
    write(found, options.new)
    print(f"{options.new}: {len(found)} tensors; {others} other entries left out")


# What a file that is not as it should be makes the steps above fail with.
WRONG = (
    Refused,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    MemoryError,
    RecursionError,
)

if __name__ == "__main__":
    try:
        main()
    except WRONG as error:
        kind = "" if isinstance(error, (Refused, OSError)) else f"no checkpoint of PyTorch ({type(error).__name__}) "
        sys.exit(f"convert.py: {sys.argv[1] if len(sys.argv) > 1 else ''}: {kind}{error}")
