"""Prints what MLflow's own client finds on a tracking server: the runs of an experiment as JSON."""

import json
import sys

from mlflow.tracking import MlflowClient

client = MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name(sys.argv[2])
runs = []
for run in client.search_runs([experiment.experiment_id]):
    history = client.get_metric_history(run.info.run_id, "test/accuracy")
    runs.append(
        {
            "name": run.info.run_name,
            "status": run.info.status,
            "params": run.data.params,
            "metrics": run.data.metrics,
            "accuracy": [[metric.step, metric.value] for metric in history],
        }
    )
print(json.dumps(runs))
