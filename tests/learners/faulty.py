"""The learner `plain.py`, but for one request that goes wrong: faulty.py PLAIN WAY DO ROUND.

Beside the folder in which it is started lies `once`, where the fault is to happen once: it removes that file first.
"""
import json, os, signal, struct, subprocess, sys, time

plain, way, do, round_ = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
child = subprocess.Popen([sys.executable, plain], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

def npy(shape, kind, values):
    header = str({"descr": kind, "fortran_order": False, "shape": shape}).ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + values

def tamper(folder, array):
    file, (rows, columns) = os.path.join(folder, array["file"]), array["shape"]
    if way == "missing":
        os.remove(file)
        return
    values = {
        "shape": npy((columns, rows), "<f4", bytes(rows * columns * 4)),
        "short": npy((rows - 1, columns), "<f4", bytes((rows - 1) * columns * 4)),
        "kind": npy((rows, columns), "<c8", bytes(rows * columns * 8)),
        "nan": npy((rows, columns), "<f4", bytes(4 * columns) + struct.pack("<f", float("nan")) * (columns * (rows - 1))),
        "infinite": npy((rows, columns), "<f8", struct.pack("<d", float("-inf")) * (rows * columns)),
        "cut": npy((rows, columns), "<f4", bytes(rows * columns * 4))[:-8],
        "huge": npy((2**60, columns), "<f4", b""),
        "text": b"the model is not ready",
    }.get(way)
    if values is not None:
        with open(file, "wb") as out:
            out.write(values)
    if way == "link":
        os.remove(file)
        os.symlink("/etc/hostname", file)
    if way == "pipe":
        os.remove(file)
        os.mkfifo(file)

folder = None
for line in sys.stdin:
    request = json.loads(line)
    folder = request.get("folder", folder)
    is_it = request["do"] == do and request.get("round", 0) == round_ and os.path.exists("once")
    if is_it:
        os.remove("once")
        with open("asked", "w") as file:
            file.write(str(os.getpid()))
        if way == "die":
            child.kill()
            print("RuntimeError: CUDA out of memory", file=sys.stderr)
            sys.exit(3)
        if way == "killed":
            child.kill()
            os.kill(os.getpid(), signal.SIGKILL)
        if way == "hang":
            time.sleep(3600)
        if way == "rubbish":
            print("Epoch 1/10 \x1b[31m", flush=True)
        if way == "long":
            sys.stdout.write("x" * (3 << 20))
            sys.stdout.flush()
        if way == "flood":
            while True:
                print(json.dumps({"id": request["id"], "progress": [1, 2]}) + " " * 100_000)
        if way == "error":
            print(json.dumps({"id": request["id"], "error": "the scheduler is missing"}), flush=True)
            continue
        if way == "other":
            print(json.dumps({"id": request["id"] + 7, "ok": {}}), flush=True)
        if way == "figure":
            print(json.dumps({"id": request["id"], "ok": {"figures": {"a b": 1.0}}}), flush=True)
        if way == "closed":
            os.close(1)
            time.sleep(3600)
    child.stdin.write(line)
    child.stdin.flush()
    if request["do"] == "end":
        break
    answer = json.loads(child.stdout.readline())
    if is_it and way == "version":
        answer["ok"]["protocol"] = 2
    if is_it and way == "nameless":
        del answer["ok"]["name"]
    if is_it and request["do"] == "predict":
        tamper(folder, request["arrays"][0])
    print(json.dumps(answer), flush=True)
child.wait()
