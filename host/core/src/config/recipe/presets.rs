//! The recipes of published systems and papers, and what depends on the optimiser.

use querist_protocol::layers::{Layer, PRESET, write_layers};
use schemars::Schema;

use super::{
    AtLeast, Augmentation, EpochSamples, Evaluation, Init, Optimiser, RandAugment, Recipe, ResizedCrop, Schedule, Stop,
    Trained,
};

/// The rate of a preset.
type Rate = (&'static str, Optimiser, fn(&mut Recipe));

/// Rates of presets: each belongs to its optimiser.
const RATES: [Rate; 18] = [
    ("al-baselines", Optimiser::Sgd, |recipe| recipe.lr = 0.1),
    ("cure-lab", Optimiser::Sgd, |recipe| recipe.lr = 0.1),
    ("cure-lab-mnist", Optimiser::Sgd, |recipe| recipe.lr = 0.1),
    ("low-budget-linear", Optimiser::Adam, |recipe| recipe.lr = 0.01),
    ("low-budget-entropy", Optimiser::Adam, |recipe| recipe.lr = 0.001),
    ("low-budget-finetune", Optimiser::Adam, |recipe| {
        recipe.lr = 1e-4;
        recipe.head_lr = Some(0.01);
    }),
    ("low-budget-scratch", Optimiser::Sgd, |recipe| recipe.lr = 0.1),
    ("ift780", Optimiser::Adam, |recipe| recipe.lr = 1e-4),
    ("uwe", Optimiser::Sgd, |recipe| recipe.lr = 0.02),
    ("uwe-vit", Optimiser::Adam, |recipe| recipe.lr = 5e-5),
    ("ll4al", Optimiser::Sgd, |recipe| recipe.lr = 0.1),
    ("vaal", Optimiser::Sgd, |recipe| recipe.lr = 0.01),
    ("waal", Optimiser::Sgd, |recipe| recipe.lr = 0.01),
    ("alfa", Optimiser::Adam, |recipe| recipe.lr = 1e-3),
    ("badge", Optimiser::Adam, |recipe| recipe.lr = 1e-4),
    ("gradnorm", Optimiser::Sgd, |recipe| recipe.lr = 0.1),
    ("realistic", Optimiser::Sgd, |recipe| recipe.lr = 0.1),
    ("fast-cifar", Optimiser::Sgd, |recipe| recipe.lr = 0.5),
];

/// All layers, in their order.
fn layers() -> Vec<Layer<Recipe>> {
    let mut layers = systems();
    layers.extend(papers());
    layers.extend(RATES.map(|(preset, optimiser, set)| Layer::when(PRESET, preset, set).and("optimiser", optimiser)));
    layers.push(Layer::when("optimiser", Optimiser::Adam, |recipe: &mut Recipe| recipe.lr = 1e-3));
    layers.push(Layer::when("optimiser", Optimiser::Adamw, |recipe| recipe.lr = 1e-3));
    layers
}

/// The five systems.
fn systems() -> Vec<Layer<Recipe>> {
    vec![
        Layer::preset(
            "al-baselines",
            "euphoria0-0/Active-Learning-for-Image-Classification: SGD 0.1, momentum 0.9, weight decay 5e-4, 200 \
             epochs of minibatches of 128, a tenth of the rate from epoch 160, crops and flips. The README's 200 \
             epochs: the code's default of 100 ends before its own milestone.",
            |recipe: &mut Recipe| in_steps(recipe, 200, 128, &[160]),
        )
        .once_called(PRESET, "s0"),
        Layer::preset(
            "cure-lab",
            "cure-lab/deep-active-learning on CIFAR-10: SGD 0.1, momentum 0.9, weight decay 5e-4, at most 100 epochs \
             of minibatches of 256, a tenth of the rate from epochs 80 and 120, crops and flips, each element of the \
             gradient within 0.1, the end when the epoch's summed loss changes by less than 5e-4. For SVHN `minibatch \
             = 128`. The system re-initialises convolutions and linear layers alone and reports the best test accuracy \
             of all epochs; here batch-norm starts afresh, too, and the last epoch counts.",
            cure_lab,
        )
        .once_called(PRESET, "s1"),
        Layer::preset(
            "cure-lab-mnist",
            "cure-lab/deep-active-learning on MNIST: as `cure-lab`, minibatches of 128, a tenth of the rate from \
             epochs 20 and 40, flips alone. For Fashion-MNIST `minibatch = 256`. Digits are mirrored as the system \
             does it, although it turns them into what is no digit: `augment = []` leaves that out.",
            |recipe: &mut Recipe| {
                cure_lab(recipe);
                (recipe.minibatch, recipe.milestones) = (128, vec![20, 40]);
                recipe.augment = vec![Augmentation::Flip];
            },
        ),
        Layer::preset(
            "low-budget-linear",
            "Low-budget evaluation, linear: the head alone on a frozen body from `model.weights`, Adam 0.01, 100 \
             epochs of minibatches of 128, a tenth of the rate from epochs 50 and 75, resized crops and flips. Weight \
             decay and momentum, which the system takes and ignores, are 0. That it brings features to length 1 \
             before the head is left to the model.",
            linear,
        ),
        Layer::preset(
            "low-budget-entropy",
            "The head that low-budget's entropy sampling trains: as `low-budget-linear`, Adam 0.001, and features of \
             any length.",
            linear,
        ),
        Layer::preset(
            "low-budget-finetune",
            "Low-budget evaluation, fine-tuning from `model.weights`: Adam 1e-4, 0.01 for the head, 100 epochs of \
             minibatches of 128, a tenth of both from epochs 50 and 75, resized crops and flips.",
            |recipe: &mut Recipe| {
                low_budget(recipe, &[50, 75]);
                (recipe.optimiser, recipe.weight_decay, recipe.init) = (Optimiser::Adam, 0.0, Init::Pretrained);
            },
        ),
        Layer::preset(
            "low-budget-scratch",
            "Low-budget evaluation, from scratch: SGD 0.1, momentum 0.9, weight decay 1e-4, 100 epochs of minibatches \
             of 128, a tenth of the rate from epochs 30, 60 and 90, resized crops and flips.",
            |recipe: &mut Recipe| {
                low_budget(recipe, &[30, 60, 90]);
                recipe.weight_decay = 1e-4;
            },
        ),
        Layer::preset(
            "ift780",
            "sgiardl/ActiveLearning: Adam 1e-4, weight decay 0, 50 epochs of minibatches of 50, a constant rate, no \
             augmentation, one model and one optimiser that go on from round to round. Beside it `budget.patience = \
             4`. The system forgets to switch back to training mode after its first validation, which freezes \
             batch-norm and dropout; here they train. Its augmentations: `augment = [\"flip\", { rotate = 15 }, { \
             jitter = { contrast = 0.1, hue = 0.1 } }]`.",
            |recipe: &mut Recipe| {
                recipe.optimiser = Optimiser::Adam;
                (recipe.weight_decay, recipe.epochs, recipe.minibatch) = (0.0, 50, 50);
                (recipe.init, recipe.keep_optimiser) = (Init::Warm, true);
            },
        )
        .once_called(PRESET, "s3"),
        Layer::preset(
            "uwe",
            "He-Yinan/UWE: SGD 0.02 with Nesterov momentum 0.9, weight decay 5e-4, 100 epochs of minibatches of 256, \
             half the rate from epochs 60 and 80, crops and flips. For mini-ImageNet `minibatch = 64` and `augment = \
             [\"flip\"]`.",
            |recipe: &mut Recipe| {
                in_steps(recipe, 100, 256, &[60, 80]);
                (recipe.nesterov, recipe.gamma) = (true, 0.5);
            },
        )
        .once_called(PRESET, "s4"),
        Layer::preset(
            "uwe-vit",
            "He-Yinan/UWE with a vision transformer: as `uwe`, with Adam 5e-5.",
            |recipe: &mut Recipe| {
                in_steps(recipe, 100, 256, &[60, 80]);
                (recipe.optimiser, recipe.gamma) = (Optimiser::Adam, 0.5);
            },
        ),
    ]
}

/// Papers, and what we recommend.
fn papers() -> Vec<Layer<Recipe>> {
    vec![
        Layer::preset(
            "ll4al",
            "Learning Loss for Active Learning (Yoo and Kweon, 2019) on CIFAR-10: SGD 0.1, momentum 0.9, weight decay \
             5e-4, 200 epochs of minibatches of 128, a tenth of the rate from epoch 160, crops and flips, even \
             minibatches for its pairs.",
            |recipe: &mut Recipe| {
                in_steps(recipe, 200, 128, &[160]);
                recipe.even_minibatch = true;
            },
        ),
        Layer::preset(
            "vaal",
            "Variational Adversarial Active Learning (Sinha and others, 2019) on CIFAR-10: SGD 0.01, momentum 0.9, \
             weight decay 5e-4, 100 epochs of minibatches of 128, a tenth of the rate from each further quarter, \
             flips, the best epoch on a validation set (the paper holds out 5000: `dataset.validation`).",
            |recipe: &mut Recipe| {
                in_steps(recipe, 100, 128, &[25, 50, 75]);
                recipe.augment = vec![Augmentation::Flip];
                recipe.evaluate = Evaluation::BestValidation;
            },
        ),
        Layer::preset(
            "waal",
            "Deep Active Learning: Unified and Principled Method for Query and Training (Shui and others, 2020) on \
             CIFAR-10: SGD 0.01, momentum 0.3 (0.5 for SVHN and Fashion-MNIST), no weight decay, 80 epochs of \
             minibatches of 64, crops and flips.",
            |recipe: &mut Recipe| {
                (recipe.epochs, recipe.momentum, recipe.weight_decay) = (80, 0.3, 0.0);
                recipe.augment = vec![Augmentation::Crop, Augmentation::Flip];
            },
        ),
        Layer::preset(
            "alfa",
            "Active Learning by Feature Mixing (Parvaneh and others, 2022): Adam 0.001, no weight decay, minibatches \
             of 64, until the training accuracy is 99 % or 1000 epochs are over, the same initial weights every round.",
            |recipe: &mut Recipe| {
                until_fitted(recipe, 1000);
                recipe.init = Init::SameInit;
            },
        ),
        Layer::preset(
            "badge",
            "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds (Ash and others, 2020): Adam 1e-4, \
             no weight decay, until the training accuracy is 99 % or 1000 epochs are over. The size of minibatches is \
             not stated there; ours is 64.",
            |recipe: &mut Recipe| until_fitted(recipe, 1000),
        ),
        Layer::preset(
            "gradnorm",
            "Boosting Active Learning via Improving Test Performance (Wang and others, 2022): as `al-baselines`, the \
             model of the round before going on.",
            |recipe: &mut Recipe| {
                in_steps(recipe, 200, 128, &[160]);
                recipe.init = Init::Warm;
            },
        ),
        Layer::preset(
            "realistic",
            "What we recommend for comparisons, so that random sampling is no weak baseline: SGD 0.1 with Nesterov \
             momentum 0.9, weight decay 5e-4, a cosine after two epochs of warm-up, 60 epochs of at least 10,000 \
             samples in minibatches of 128, crops, flips and RandAugment.",
            |recipe: &mut Recipe| {
                (recipe.epochs, recipe.minibatch, recipe.warmup) = (60, 128, 2);
                (recipe.schedule, recipe.nesterov) = (Schedule::Cosine, true);
                recipe.epoch_length = EpochSamples::AtLeast(AtLeast { at_least: 10_000 });
                let random = Augmentation::RandAugment(RandAugment::default());
                recipe.augment = vec![Augmentation::Crop, Augmentation::Flip, random];
            },
        ),
        Layer::preset(
            "fast-cifar",
            "All of CIFAR-10 in seconds on a GPU, in the style of airbench (Jordan, 2024): SGD with Nesterov momentum \
             0.85, the rate rising to 0.5 over a fifth of the steps and falling to 0, ten epochs of minibatches of \
             512, no decay of biases and normalisation, label smoothing 0.2, crops and flips.",
            |recipe: &mut Recipe| {
                (recipe.epochs, recipe.minibatch, recipe.drop_last) = (10, 512, true);
                (recipe.schedule, recipe.peak) = (Schedule::OneCycle, 0.2);
                (recipe.nesterov, recipe.momentum, recipe.decay_norm_bias) = (true, 0.85, false);
                recipe.label_smoothing = 0.2;
                recipe.augment = vec![Augmentation::Crop, Augmentation::Flip];
            },
        ),
    ]
}

fn in_steps(recipe: &mut Recipe, epochs: usize, minibatch: usize, milestones: &[usize]) {
    (recipe.epochs, recipe.minibatch) = (epochs, minibatch);
    recipe.schedule = Schedule::MultiStep;
    recipe.milestones = milestones.to_vec();
    recipe.augment = vec![Augmentation::Crop, Augmentation::Flip];
}

fn cure_lab(recipe: &mut Recipe) {
    in_steps(recipe, 100, 256, &[80, 120]);
    recipe.clamp_gradient = Some(0.1);
    recipe.stop = Stop::LossChange(5e-4);
}

fn low_budget(recipe: &mut Recipe, milestones: &[usize]) {
    in_steps(recipe, 100, 128, milestones);
    recipe.augment = vec![Augmentation::ResizedCrop(ResizedCrop::default()), Augmentation::Flip];
}

fn linear(recipe: &mut Recipe) {
    low_budget(recipe, &[50, 75]);
    (recipe.optimiser, recipe.weight_decay, recipe.momentum) = (Optimiser::Adam, 0.0, 0.0);
    (recipe.train, recipe.init) = (Trained::Head, Init::Pretrained);
}

fn until_fitted(recipe: &mut Recipe, epochs: usize) {
    (recipe.optimiser, recipe.weight_decay, recipe.epochs) = (Optimiser::Adam, 0.0, epochs);
    recipe.stop = Stop::TrainAccuracy(0.99);
}

pub(super) fn with_layers(schema: &mut Schema) {
    let mut value = std::mem::take(schema).to_value();
    write_layers(&mut value, &layers());
    *schema = Schema::try_from(value).unwrap_or_default();
}
