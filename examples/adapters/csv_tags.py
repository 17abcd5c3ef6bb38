"""Marks the next samples to label in a CSV table, which labelling tools and spreadsheets read.

    python csv_tags.py pool.csv --embeddings embeddings.npy --logits logits.npy --budget 100 --out tagged.csv

Row i of the arrays is row i of the table. The column `label_next` gets the rank of a pick, from 1, and is empty
elsewhere; rows whose column `label` is filled in are labelled already. Needs `pip install querist numpy`.
"""

import argparse
import csv

import numpy as np

import querist


def main() -> None:
    parser = argparse.ArgumentParser(description="Mark the next samples to label in a CSV table.")
    parser.add_argument("table")
    parser.add_argument("--embeddings", required=True)
    parser.add_argument("--logits", required=True)
    parser.add_argument("--strategy", default="badge")
    parser.add_argument("--budget", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    with open(args.table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    embeddings, logits = np.load(args.embeddings), np.load(args.logits)
    if not len(rows) == len(embeddings) == len(logits):
        parser.error(f"{len(rows)} rows, {len(embeddings)} embeddings, {len(logits)} logits: expected as many of each")
    is_labelled = np.array([bool(row.get("label")) for row in rows])
    pool = np.flatnonzero(~is_labelled)
    picked = querist.select(
        args.strategy, budget=args.budget, seed=args.seed, logits=logits[pool], embeddings=embeddings[pool],
        labelled_embeddings=embeddings[is_labelled],
    )
    for row in rows:
        row["label_next"] = ""
    for rank, at in enumerate(picked.rows, 1):
        rows[pool[at]]["label_next"] = rank
    with open(args.out, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
