//! Vision transformers: S/16 as timm lays it out, B/14 with layer scale as DINOv2 does, without registers.
//!
//! Dosovitskiy and others, "An Image is Worth 16x16 Words", ICLR 2021; Oquab and others, "DINOv2: Learning Robust
//! Visual Features without Supervision", 2023. Tensors carry timm's names, but for the head. The embedding is the class
//! token behind the last norm. There is a position for every patch of the images, so other sizes than those of the
//! published weights make another table of positions; weights of another size are interpolated when they are read.

use tch::{TchError, Tensor};

use super::spec::{Make, Spec};
use super::{Body, boxed};
use crate::layer::{Conv, ConvShape, Layer, LayerNorm, Linear, Pass};
use crate::parameters::Parameters;
use crate::weights::Layout;

pub(super) const S16: Spec = Spec {
    smallest_side: 16,
    side_step: 16,
    layouts: &[
        Layout::head("timm", "head"),
        Layout {
            name: "Hugging Face ViT",
            prefixes: &["vit."],
            head: "classifier",
            names: HUGGING_FACE_VIT,
            rename: None,
        },
    ],
    ..Spec::new("vit-s16", 384, |p, make| {
        Vit::new(p, make, Sizes { patch: 16, width: 384, heads: 6, scale: None }).map(boxed)
    })
};

pub(super) const B14: Spec = Spec {
    smallest_side: 14,
    side_step: 14,
    layouts: &[
        Layout::head("timm or DINOv2", "head"),
        Layout {
            name: "Hugging Face DINOv2",
            prefixes: &["dinov2."],
            head: "classifier",
            names: HUGGING_FACE_DINO,
            rename: None,
        },
    ],
    ..Spec::new("vit-b14", 768, |p, make| {
        Vit::new(p, make, Sizes { patch: 14, width: 768, heads: 12, scale: Some(1e-5) }).map(boxed)
    })
};

/// `ViTModel` and `ViTForImageClassification`.
const HUGGING_FACE_VIT: &[(&str, &str)] = &[
    ("cls_token", "embeddings.cls_token"),
    ("pos_embed", "embeddings.position_embeddings"),
    ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
    ("blocks.#.norm1", "encoder.layer.=.layernorm_before"),
    ("blocks.#.norm2", "encoder.layer.=.layernorm_after"),
    (
        "blocks.#.attn.qkv",
        "encoder.layer.=.attention.attention.query|encoder.layer.=.attention.attention.key|\
         encoder.layer.=.attention.attention.value",
    ),
    ("blocks.#.attn.proj", "encoder.layer.=.attention.output.dense"),
    ("blocks.#.mlp.fc1", "encoder.layer.=.intermediate.dense"),
    ("blocks.#.mlp.fc2", "encoder.layer.=.output.dense"),
    ("norm", "layernorm"),
];

/// `Dinov2Model` and `Dinov2ForImageClassification`.
const HUGGING_FACE_DINO: &[(&str, &str)] = &[
    ("cls_token", "embeddings.cls_token"),
    ("pos_embed", "embeddings.position_embeddings"),
    ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
    (
        "blocks.#.attn.qkv",
        "encoder.layer.=.attention.attention.query|encoder.layer.=.attention.attention.key|\
         encoder.layer.=.attention.attention.value",
    ),
    ("blocks.#.attn.proj", "encoder.layer.=.attention.output.dense"),
    ("blocks.#.ls1.gamma", "encoder.layer.=.layer_scale1.lambda1"),
    ("blocks.#.ls2.gamma", "encoder.layer.=.layer_scale2.lambda1"),
    ("blocks.#.*", "encoder.layer.=.*"),
    ("norm", "layernorm"),
];

const DEPTH: usize = 12;

#[derive(Debug, Clone, Copy)]
struct Sizes {
    patch: i64,
    width: i64,
    heads: i64,
    /// Start of the layer scale, where there is one.
    scale: Option<f64>,
}

struct Vit {
    patches: Conv,
    class: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

impl Vit {
    fn new(parameters: &mut Parameters, make: Make, sizes: Sizes) -> Result<Self, TchError> {
        let Sizes { patch, width, .. } = sizes;
        let shape =
            ConvShape { inputs: make.images.channels, outputs: width, kernel: patch, stride: patch, padding: 0 };
        let patches = Conv::new(parameters, "patch_embed.proj", shape)?;
        let class = parameters.truncated("cls_token".to_owned(), &[1, 1, width])?;
        let tokens = 1 + (make.images.height / patch) * (make.images.width / patch);
        let positions = parameters.truncated("pos_embed".to_owned(), &[1, tokens, width])?;
        let blocks = (0..DEPTH).map(|at| Block::new(parameters, at, sizes)).collect::<Result<_, _>>()?;
        Ok(Self { patches, class, positions, blocks, norm: LayerNorm::new(parameters, "norm", width)? })
    }
}

impl Body for Vit {
    fn embed(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let patches = self.patches.forward(images, pass)?.f_flatten(2, 3)?.f_transpose(1, 2)?;
        let (n, _, width) = patches.size3()?;
        // Autocast leaves the patches in short numbers; what is added to the end stays in those of the weights.
        let class = self.class.f_to_kind(patches.kind())?.f_expand([n, 1, width], false)?;
        let tokens = Tensor::f_cat(&[&class, &patches], 1)?.f_add(&self.positions)?;
        let mut x = pass.see(|| Layer::Positions, &patches, tokens);
        for block in &self.blocks {
            x = block.forward(&x, pass)?;
        }
        self.norm.forward(&x.f_select(1, 0)?, pass)
    }
}

/// Attention and a perceptron, each on a normalised copy whose result is added.
struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    projection: Linear,
    scale1: Option<Tensor>,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    scale2: Option<Tensor>,
    heads: i64,
}

impl Block {
    fn new(parameters: &mut Parameters, at: usize, sizes: Sizes) -> Result<Self, TchError> {
        let Sizes { width, heads, scale, .. } = sizes;
        let name = |part: &str| format!("blocks.{at}.{part}");
        let gamma = |parameters: &mut Parameters, part: &str| {
            scale.map(|start| parameters.constant(name(part), &[width], start)).transpose()
        };
        Ok(Self {
            norm1: LayerNorm::new(parameters, &name("norm1"), width)?,
            qkv: Linear::narrow(parameters, &name("attn.qkv"), width, 3 * width)?,
            projection: Linear::narrow(parameters, &name("attn.proj"), width, width)?,
            scale1: gamma(parameters, "ls1.gamma")?,
            norm2: LayerNorm::new(parameters, &name("norm2"), width)?,
            fc1: Linear::narrow(parameters, &name("mlp.fc1"), width, 4 * width)?,
            fc2: Linear::narrow(parameters, &name("mlp.fc2"), 4 * width, width)?,
            scale2: gamma(parameters, "ls2.gamma")?,
            heads,
        })
    }

    fn forward(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let y = self.attend(&self.norm1.forward(x, pass)?, pass)?;
        let x = x.f_add(&scaled(&self.scale1, y, pass)?)?;
        let y = self.fc1.forward(&self.norm2.forward(&x, pass)?, pass)?.f_gelu("none")?;
        let y = self.fc2.forward(&y, pass)?;
        x.f_add(&scaled(&self.scale2, y, pass)?)
    }

    fn attend(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let (n, tokens, width) = x.size3()?;
        let qkv = self.qkv.forward(x, pass)?.f_reshape([n, tokens, 3, self.heads, width / self.heads])?;
        let qkv = qkv.f_permute([2, 0, 3, 1, 4])?;
        let [q, k, v] = [0, 1, 2].map(|part| qkv.f_select(0, part));
        let y = Tensor::f_scaled_dot_product_attention(&q?, &k?, &v?, None::<&Tensor>, 0.0, false, None, false)?;
        self.projection.forward(&y.f_transpose(1, 2)?.f_reshape([n, tokens, width])?, pass)
    }
}

fn scaled(scale: &Option<Tensor>, y: Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
    let Some(gamma) = scale else { return Ok(y) };
    let product = y.f_mul(gamma)?;
    Ok(pass.see(|| Layer::Scale, &y, product))
}
