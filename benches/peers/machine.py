"""What a peer's seconds hang on beside its code: processor, linear algebra and its kernels.

    import machine      # before numpy, torch and faiss
    ...
    machine.say()       # after them, before the first figure

The same numpy was seen to take twice the seconds, and the same faiss three times, on processors of one kind, since a
variable or a virtual machine had made their linear algebra choose another kernel. So variables that choose kernels are
taken out of the environment, for the peer and for ours, and what was chosen is printed. Numbers of threads stay.
"""
import os
import pathlib
import subprocess
import sys

CHOOSE_KERNELS = [
    "ATEN_CPU_CAPABILITY",
    "BLIS_ARCH_TYPE",
    "DNNL_MAX_CPU_ISA",
    "FAISS_OPT_LEVEL",
    "GOTO_CORETYPE",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_DYNAMIC",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
]

loaded = [name for name in ("numpy", "torch", "faiss") if name in sys.modules]
if loaded:
    sys.exit(f"{', '.join(loaded)} came before `machine`: it has chosen its kernels already")
unset = [f"{name}={os.environ.pop(name)}" for name in CHOOSE_KERNELS if name in os.environ]


def installed(name):
    """A small package that only says what is there; fetched where it is missing."""
    try:
        return __import__(name)
    except ImportError:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", name], check=True, stdout=sys.stderr)
        return __import__(name)


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def say():
    """Prints the processor, the load, and of each library with threads or linear algebra its version and kernel."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"processor: {processor()}, {len(os.sched_getaffinity(0))} cores of {os.cpu_count()} usable; load {load}")
    if unset:
        print(f"unset: {', '.join(unset)}")
    for pool in installed("threadpoolctl").threadpool_info():
        facts = [pool.get(key) for key in ("internal_api", "version", "architecture", "threading_layer")]
        words = " ".join(str(fact) for fact in facts if fact)
        print(f"{pool['user_api']}: {words}, {pool['num_threads']} threads, {pathlib.Path(pool['filepath']).name}")
    if torch := sys.modules.get("torch"):
        mkl = "with" if torch.backends.mkl.is_available() else "without"
        print(f"torch {torch.__version__}: kernels {torch.backends.cpu.get_cpu_capability()}, {mkl} MKL")
    if faiss := sys.modules.get("faiss"):
        print(f"faiss {faiss.__version__}: {faiss.get_compile_options().strip()}")
    sys.stdout.flush()
