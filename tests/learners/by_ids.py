"""A learner that alone knows what is behind an id, here the two numbers in it: nearest mean, in plain Python."""
import array, json, os, struct, sys

def load(name):
    data = open(os.path.join(folder, name), "rb").read()
    return array.array("q", data[10 + struct.unpack("<H", data[8:10])[0]:])

for line in sys.stdin:
    request, answer = json.loads(line), {}
    if request["do"] == "hello":
        answer = {"protocol": 1, "name": "by-ids", "version": "1", "arrays": ["logits"], "reads": ["ids"],
                  "validation": True}
    elif request["do"] == "start":
        folder, classes = request["folder"], len(request["classes"])
        ids = open(os.path.join(folder, request["ids"]), encoding="utf-8").read().splitlines()
        rows = [[float(part) for part in name.split("/")[1:]] for name in ids]
    elif request["do"] == "fit":
        pairs = list(zip(load(request["samples"]), load(request["labels"])))
        pairs += list(zip(load(request["validation"]["samples"]), load(request["validation"]["labels"])))
        of = [[rows[sample] for sample, label in pairs if label == c] or [[9, 9]] for c in range(classes)]
        means = [[sum(column) / len(column) for column in zip(*some)] for some in of]
        answer = {"figures": {"labelled": len(pairs)}}
    elif request["do"] == "predict":
        out = [-sum((x - m) ** 2 for x, m in zip(rows[s], mean)) for s in load(request["samples"]) for mean in means]
        header = str({"descr": "<f4", "fortran_order": False, "shape": (len(out) // classes, classes)})
        with open(os.path.join(folder, request["arrays"][0]["file"]), "wb") as file:
            file.write(b"\x93NUMPY\x01\x00v\x00" + header.ljust(117).encode() + b"\n" + array.array("f", out).tobytes())
    elif request["do"] == "end":
        break
    print(json.dumps({"id": request["id"], "ok": answer}), flush=True)
