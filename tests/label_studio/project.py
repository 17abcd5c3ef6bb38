"""Works with a real Label Studio through its API, as people do with its pages; prints what it found as JSON.

project.py ADDRESS TOKEN FOLDER ANSWERS [BACKEND]

FOLDER holds `tasks.json` and `interface.xml`; ANSWERS is a JSON object of labels by sample, `skip` for a task that is
skipped. The exports are written beside the tasks. With the address of a backend, that is asked and told, too.
"""

import json
import sys
import time
from pathlib import Path

import requests

ADDRESS, TOKEN, FOLDER, ANSWERS = sys.argv[1], sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4])
BACKEND = sys.argv[5] if len(sys.argv) > 5 else None
SESSION = requests.Session()
SESSION.headers["Authorization"] = f"Token {TOKEN}"


def ask(method, path, **kwargs):
    answer = SESSION.request(method, ADDRESS + path, timeout=120, **kwargs)
    if not answer.ok:
        sys.exit(f"{method} {path}: {answer.status_code} {answer.text[:2000]}")
    return answer.json() if answer.content else None


def main():
    interface = (FOLDER / "interface.xml").read_text()
    project = ask(
        "POST",
        "/api/projects/",
        json={"title": "querist", "label_config": interface, "sampling": "Uncertainty sampling", "show_skip_button": True},
    )["id"]
    if BACKEND:
        ask("POST", "/api/webhooks/", json={
            "url": BACKEND + "webhook", "project": project, "send_payload": True, "send_for_all_actions": True,
        })
        model = ask("POST", "/api/ml", json={"url": BACKEND, "project": project, "title": "querist"})
    tasks = json.loads((FOLDER / "tasks.json").read_text())
    if BACKEND:
        # The scores are the backend's to say.
        for task in tasks:
            del task["predictions"]
    ask("POST", f"/api/projects/{project}/import?return_task_ids=true", json=tasks)
    found = {"order": [], "answered": []}
    if BACKEND:
        ask("PATCH", f"/api/ml/{model['id']}", json={"url": BACKEND, "project": project, "title": "querist"})
        found["model"] = ask("GET", f"/api/ml/{model['id']}")
        ask("POST", f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}",
            json={"selectedItems": {"all": True, "excluded": []}})
        ask("PATCH", f"/api/projects/{project}/", json={"model_version": found["model"]["model_version"]})
        listed = ask("GET", f"/api/tasks?project={project}&fields=all&page_size=100")["tasks"]
        found["scores"] = {
            task["data"]["querist_id"]: [[one["model_version"], one["score"]] for one in task["predictions"]]
            for task in listed
        }
    # What is shown next is for Label Studio to say.
    while True:
        answer = SESSION.get(f"{ADDRESS}/api/projects/{project}/next", timeout=120)
        if answer.status_code == 404:
            break
        task = answer.json()
        sample = str(task["data"]["querist_id"])
        found["order"].append(int(sample))
        label = ANSWERS[sample]
        region = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}
        skip = label == "skip"
        ask("POST", f"/api/tasks/{task['id']}/annotations/",
            json={"result": [] if skip else [region], "was_cancelled": skip, "lead_time": 1.5})
        found["answered"].append(int(sample))
        if len(found["order"]) > 2 * len(tasks):
            sys.exit("Label Studio shows the same tasks again and again")
    for name in ["JSON", "JSON_MIN"]:
        exported = SESSION.get(f"{ADDRESS}/api/projects/{project}/export?exportType={name}", timeout=300)
        exported.raise_for_status()
        (FOLDER / f"{name}.json").write_bytes(exported.content)
    time.sleep(0.1)
    print(json.dumps(found))


main()
