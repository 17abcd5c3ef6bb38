"""What a text cannot say of the wheel: it holds machine code, but none that depends on the version of Python."""

import os

from setuptools import Distribution, setup


class MachineCode(Distribution):
    """Goes beside torch where machine code and Python have folders of their own."""

    def has_ext_modules(self) -> bool:
        return True


# `cargo xtask wheel` sets both.
version = os.environ["QUERIST_VERSION"]
platform = os.environ["QUERIST_PLATFORM"]

setup(
    version=version,
    # The program is linked with the libtorch of this release, and understands the packages of its own.
    install_requires=[f"querist=={version}", "torch==2.11.*"],
    distclass=MachineCode,
    options={"bdist_wheel": {"py_limited_api": "cp310", "plat_name": platform}},
)
