#!/usr/bin/env python3
"""Writes weights and outputs of other libraries' networks, with which those here are compared.

    pip install torch torchvision timm transformers safetensors
    python3 examples/weights/reference.py FOLDER [CASE ...]
    QUERIST_WEIGHTS_REFERENCE=FOLDER cargo nextest run -p querist-learn outputs_are_those_of_other_libraries

Weights are random, statistics and factors of norms too, so that each of them matters. For each case there are
`CASE.weights.safetensors`, with the library's own names, and `CASE.outputs.safetensors` with `images`, `embeddings`
and, where there is a head, `logits`. All together take 2.4 GB.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import timm
import torch
import torchvision
import transformers
from safetensors.torch import save_file

SIDE = 224


def shaken(model):
    """The model in eval mode, with norms that are not where they start, and a layer scale that counts."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_mean"):
                tensor.normal_(0, 0.1)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.ndim == 1 and name.endswith(("weight", "gamma", "lambda1")):
                tensor.uniform_(0.5, 1.5)
    return model.eval()


def pooled(model, body):
    """Outputs of a network whose last layer is linear: its inputs, and what it gives."""
    layer = dict(model.named_modules())[body]
    seen = {}
    layer.register_forward_pre_hook(lambda _layer, inputs: seen.update(x=inputs[0].flatten(1)))

    def outputs(images):
        logits = model(images)
        logits = getattr(logits, "logits", logits)
        return seen["x"], logits

    return model, outputs


def squeezenet():
    """Here the features are pooled before the last layer, and class scores are not cut off at 0."""
    model = shaken(torchvision.models.squeezenet1_1(num_classes=1000))

    def outputs(images):
        x = model.features(images)
        return x.mean((2, 3)), model.classifier[1](x).mean((2, 3))

    return model, outputs


def vgg():
    model = shaken(torchvision.models.vgg16_bn(num_classes=1000))
    return pooled(model, "classifier.6")


def of(make, last):
    return lambda: pooled(shaken(make()), last)


def dino_at_another_size():
    """Weights of 518 pixels, whose positions timm interpolates to those of 224."""
    large = shaken(timm.create_model("vit_base_patch14_dinov2", num_classes=10))
    small = timm.create_model("vit_base_patch14_dinov2", num_classes=10, img_size=SIDE).eval()
    state = timm.models.vision_transformer.checkpoint_filter_fn(dict(large.state_dict()), small)
    small.load_state_dict(state)
    _, outputs = pooled(small, "head")
    return large, outputs


def hugging_face(model, last):
    """Transformers of Hugging Face give the class token of the last layer, normed."""
    model = shaken(model)

    def outputs(images):
        x = model(images).last_hidden_state[:, 0]
        return x, None

    return (model, outputs) if last is None else pooled(model, last)


def hugging_face_resnet():
    config = transformers.ResNetConfig(num_labels=10)
    return hugging_face(transformers.ResNetForImageClassification(config), "classifier.1")


def hugging_face_vit():
    config = transformers.ViTConfig(
        hidden_size=384, num_attention_heads=6, intermediate_size=1536, num_labels=10, layer_norm_eps=1e-6
    )
    return hugging_face(transformers.ViTForImageClassification(config), "classifier")


def hugging_face_dino():
    config = transformers.Dinov2Config(image_size=SIDE, patch_size=14)
    return hugging_face(transformers.Dinov2Model(config), None)


MODELS = torchvision.models
CASES = {
    "resnet18": of(lambda: MODELS.resnet18(num_classes=10), "fc"),
    "resnet34": of(lambda: MODELS.resnet34(num_classes=10), "fc"),
    "resnet50": of(lambda: MODELS.resnet50(num_classes=10), "fc"),
    "resnet101": of(lambda: MODELS.resnet101(num_classes=10), "fc"),
    "resnet152": of(lambda: MODELS.resnet152(num_classes=10), "fc"),
    "resnet50-hugging-face": hugging_face_resnet,
    "squeezenet1-1": squeezenet,
    "vgg16-bn": vgg,
    "vit-s16": of(lambda: timm.create_model("vit_small_patch16_224", num_classes=10), "head"),
    "vit-s16-hugging-face": hugging_face_vit,
    "vit-b14": of(lambda: timm.create_model("vit_base_patch14_dinov2", num_classes=10, img_size=SIDE), "head"),
    "vit-b14-of-518": dino_at_another_size,
    "vit-b14-hugging-face": hugging_face_dino,
    "efficientnet-lite0": of(lambda: timm.create_model("tf_efficientnet_lite0", num_classes=10), "classifier"),
}


@torch.no_grad()
def write(folder, name):
    torch.manual_seed(sum(name.encode()))
    model, outputs = CASES[name]()
    images = torch.randn(2, 3, SIDE, SIDE)
    embeddings, logits = outputs(images)
    weights = folder / f"{name}.weights.safetensors"
    if hasattr(model, "save_pretrained"):
        # Names in memory change from release to release; those in files stay.
        with tempfile.TemporaryDirectory() as saved:
            model.save_pretrained(saved)
            shutil.move(Path(saved) / "model.safetensors", weights)
    else:
        save_file({key: value.contiguous().clone() for key, value in model.state_dict().items()}, weights)
    found = {"images": images, "embeddings": embeddings} | ({} if logits is None else {"logits": logits})
    save_file({key: value.contiguous() for key, value in found.items()}, folder / f"{name}.outputs.safetensors")
    print(f"{name}: {sum(p.numel() for p in model.parameters()):,} weights, embeddings {list(embeddings.shape)}")


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or CASES:
        write(folder, name)


if __name__ == "__main__":
    main()
