"""A frozen backbone of torchvision with a linear head, on pictures that this file reads itself.

The dataset is a table of ids, labels and splits: `dataset = { name = "ids", path = "labels.csv" }`, where an id is the
path of a picture below the option `root`. Needs `pip install torch torchvision`.
"""

from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torchvision import models, transforms

from querist.learner import Learner, serve


class Backbone(Learner):
    packages = ("torch", "torchvision")
    reads = ("ids",)

    def __init__(self, root: str, model: str = "resnet18", weights: str = "DEFAULT", size: int = 224,
                 epochs: int = 100, lr: float = 0.01, dropout: float = 0.2, device: str = "cpu") -> None:
        self.root, self.epochs, self.lr, self.device = Path(root), epochs, lr, device
        # With `none` the backbone is random, and the same in every process.
        torch.manual_seed(0)
        self.backbone = models.get_model(model, weights=None if weights == "none" else weights)
        self.backbone.fc = nn.Identity()
        self.backbone.eval().to(device)
        self.dropout = nn.Dropout(dropout)
        self.pixels = transforms.Compose([
            transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ])

    @torch.inference_mode()
    def begin(self):
        """Features of all samples, once: no training changes the backbone."""
        torch.set_num_threads(self.data.threads)
        blocks = []
        for at in range(0, self.data.samples, 64):
            pictures = [Image.open(self.root / name).convert("RGB") for name in self.data.ids[at:at + 64]]
            blocks.append(self.backbone(torch.stack([self.pixels(picture) for picture in pictures]).to(self.device)))
            self.progress(at, self.data.samples)
        self.features = torch.cat(blocks)

    def fit(self, samples, labels):
        rows = self.features[torch.from_numpy(samples)].clone()
        labels = torch.from_numpy(labels).to(self.device)
        self.linear = nn.Linear(rows.shape[1], len(self.data.classes)).to(self.device)
        optimiser = torch.optim.AdamW(self.linear.parameters(), lr=self.lr)
        self.dropout.train()
        for epoch in range(self.epochs):
            loss = nn.functional.cross_entropy(self.linear(self.dropout(rows)), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            self.progress(epoch + 1, self.epochs)
        return {"loss": loss.item()}

    def embeddings(self, samples):
        return self.features[torch.from_numpy(samples)]

    def logits(self, samples):
        return self.linear(self.embeddings(samples))

    def mc_log_probs(self, samples, T):
        self.dropout.train()
        with torch.no_grad():
            draws = [self.linear(self.dropout(self.embeddings(samples))).log_softmax(1) for _ in range(T)]
        return torch.stack(draws, 1)

    def head(self):
        return self.linear.weight, self.linear.bias


if __name__ == "__main__":
    serve(Backbone)
