"""A small network trained by Lightning: `learner = { command = ["python", "examples/learners/lightning_digits.py"] }`.

Needs `pip install lightning`.
"""

import logging
import warnings

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from querist.learner import Learner, serve

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", module="lightning")


class Network(L.LightningModule):
    def __init__(self, inputs: int, classes: int, hidden: int, lr: float) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU())
        self.head, self.lr = nn.Linear(hidden, classes), lr

    def training_step(self, batch, _):
        rows, labels = batch
        loss = nn.functional.cross_entropy(self.head(self.body(rows)), labels)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class Lightning(Learner):
    packages = ("torch", "lightning")
    reads = ("images",)

    def __init__(self, hidden: int = 64, epochs: int = 60, lr: float = 0.01, accelerator: str = "cpu") -> None:
        self.hidden, self.epochs, self.lr, self.accelerator = hidden, epochs, lr, accelerator

    def begin(self):
        torch.set_num_threads(self.data.threads)
        self.rows = torch.from_numpy(self.data.images / 255).float()

    def fit(self, samples, labels):
        L.seed_everything(self.seed, verbose=False)
        pairs = TensorDataset(self.rows[torch.from_numpy(samples)], torch.from_numpy(labels))
        self.network = Network(self.rows[0].numel(), len(self.data.classes), self.hidden, self.lr)
        trainer = L.Trainer(
            max_epochs=self.epochs, accelerator=self.accelerator, devices=1, deterministic=True, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )
        trainer.fit(self.network, DataLoader(pairs, batch_size=32, shuffle=True))
        self.network.eval().cpu()
        return {"loss": trainer.callback_metrics["loss"].item()}

    @torch.inference_mode()
    def embeddings(self, samples):
        return self.network.body(self.rows[torch.from_numpy(samples)])

    @torch.inference_mode()
    def logits(self, samples):
        return self.network.head(self.embeddings(samples))


if __name__ == "__main__":
    serve(Lightning)
