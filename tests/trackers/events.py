"""Prints what TensorBoard itself reads in a run's event file: {tag: [[step, value], ...]} as JSON."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

board = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
board.Reload()
tags = board.Tags()["scalars"]
print(json.dumps({tag: [[event.step, event.value] for event in board.Scalars(tag)] for tag in tags}))
