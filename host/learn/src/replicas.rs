//! One model on several devices: each takes a part of a minibatch, or whole blocks of samples.
//!
//! A training pass is one graph over all devices. Its inputs are cut into parts as equal as can be, each part goes
//! through a copy of the model with the same weights, and the outputs are joined on the first device, where the loss of
//! the whole minibatch is computed. So the sum of the copies' gradients is the gradient of that loss, whatever the
//! sizes of the parts. Batch-norm takes the statistics of a part, and its running ones are those of the first, as in
//! PyTorch's `DataParallel`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use querist_core::LearnError;
use querist_torchx::optimiser::clear_gradients;
use tch::{Device, TchError, Tensor};

use crate::fault::Doing;
use crate::layer::Mode;
use crate::model::{Architecture, Forward, Model};

const DOING: &str = "sharing work between devices";

/// Copies of a model on the devices beside its own.
pub(crate) struct Replicas {
    copies: Vec<(Device, Mutex<Model>)>,
    /// Samples of a part at least.
    smallest: usize,
}

impl Replicas {
    /// `None` where there are no other devices. Draws from libtorch's generator.
    pub(crate) fn new(architecture: &Architecture, others: &[Device]) -> Result<Option<Self>, LearnError> {
        let copy = |&device: &Device| Ok((device, Mutex::new(architecture.build(device)?)));
        let copies = others.iter().map(copy).collect::<Result<Vec<_>, LearnError>>()?;
        let smallest = architecture.smallest_minibatch().max(1);
        Ok((!copies.is_empty()).then_some(Self { copies, smallest }))
    }

    /// Number of devices, with the first.
    pub(crate) fn devices(&self) -> usize {
        1 + self.copies.len()
    }

    /// Whether `model` has the same tensors, so that they can be taken over.
    pub(crate) fn are_of(&self, model: &Model) -> bool {
        let shapes = |model: &Model| -> Vec<(String, Vec<i64>)> {
            model.parameters().named().map(|(name, tensor)| (name.to_owned(), tensor.size())).collect()
        };
        let expected = shapes(model);
        self.copies.iter().all(|(_, copy)| shapes(&locked(copy)) == expected)
    }

    /// Takes the values of the model over.
    pub(crate) fn take_values(&self, model: &Model) -> Result<(), TchError> {
        self.copies.iter().try_for_each(|(_, copy)| locked(copy).parameters().copy_from(model.parameters()))
    }

    /// A pass of the model through all devices; its outputs are on the first.
    pub(crate) fn forward(
        &self,
        model: &Model,
        images: &Tensor,
        mode: Mode,
        stages: bool,
    ) -> Result<Forward, TchError> {
        let sizes = parts(images.size()[0] as usize, self.devices(), self.smallest);
        if sizes.len() < 2 {
            return model.forward(images, mode, stages);
        }
        self.take_values(model)?;
        let inputs = images.f_split_with_sizes(sizes, 0)?;
        let outs = self.each(model, inputs, |_, model, images| model.forward(&images, mode, stages))?;
        let home = images.device();
        let join = |of: &dyn Fn(&Forward) -> Tensor| {
            Tensor::f_cat(&outs.iter().map(|out| of(out).f_to_device(home)).collect::<Result<Vec<_>, _>>()?, 0)
        };
        let stages = 0..outs.first().map_or(0, |out| out.stages.len());
        Ok(Forward {
            logits: join(&|out| out.logits.shallow_clone())?,
            embeddings: join(&|out| out.embeddings.shallow_clone())?,
            stages: stages.map(|at| join(&|out| out.stages[at].shallow_clone())).collect::<Result<_, _>>()?,
        })
    }

    /// Adds the copies' gradients to those of the model, and forgets them.
    pub(crate) fn collect_gradients(&self, model: &Model) -> Result<(), LearnError> {
        let _no_grad = tch::no_grad_guard();
        for (_, copy) in &self.copies {
            let copy = locked(copy);
            let (to, from) = (model.parameters().weights(), copy.parameters().weights());
            let moved =
                to.iter().zip(from).filter(|(_, from)| from.grad().defined()).try_for_each(|(to, from)| {
                    to.f_grad()?.f_add_(&from.f_grad()?.f_to_device(to.device())?).map(drop)
                });
            moved.doing(DOING)?;
            clear_gradients(from).doing(DOING)?;
        }
        Ok(())
    }

    /// Does `work` with each of the inputs, whose place it is told: with the first by the model, with every other by
    /// the copy on the next device, to which it is sent. GPUs work beside each other; on the CPU parts are worked on
    /// one after the other, each by all threads, so that what they draw has an order.
    pub(crate) fn each<R: Send>(
        &self,
        model: &Model,
        inputs: Vec<Tensor>,
        work: impl Fn(usize, &Model, Tensor) -> Result<R, TchError> + Sync,
    ) -> Result<Vec<R>, TchError> {
        let mut inputs = inputs.into_iter();
        let Some(first) = inputs.next() else { return Ok(Vec::new()) };
        let sent = inputs.zip(&self.copies).map(|(input, (device, copy))| Ok((input.f_to_device(*device)?, copy)));
        let sent = sent.collect::<Result<Vec<_>, TchError>>()?;
        if !first.device().is_cuda() {
            let others = (1..).zip(sent).map(|(at, (input, copy))| work(at, &locked(copy), input));
            return std::iter::once(work(0, model, first)).chain(others).collect();
        }
        std::thread::scope(|scope| {
            let work = &work;
            let begin = |(at, (input, copy)): (usize, (Tensor, _))| scope.spawn(move || work(at, &locked(copy), input));
            let others: Vec<_> = (1..).zip(sent).map(begin).collect();
            let mut done = vec![work(0, model, first)];
            done.extend(
                others.into_iter().map(|other| other.join().unwrap_or_else(|at| std::panic::resume_unwind(at))),
            );
            done.into_iter().collect()
        })
    }
}

/// A copy; one whose last work ended in a panic gets all its values anew before its next.
fn locked(copy: &Mutex<Model>) -> MutexGuard<'_, Model> {
    copy.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sizes of at most `most` parts of so many samples, as equal as can be and none below `smallest`.
fn parts(samples: usize, most: usize, smallest: usize) -> Vec<i64> {
    let count = (samples / smallest).clamp(1, most);
    let (each, more) = (samples / count, samples % count);
    (0..count).map(|at| (each + usize::from(at < more)) as i64).collect()
}

#[cfg(test)]
mod tests {
    use querist_core::config::{ModelConfig, ModelName};
    use tch::{Kind, Reduction};

    use super::*;
    use crate::model::ImageShape;

    #[test]
    fn parts_are_as_equal_as_can_be() {
        assert_eq!(parts(7, 3, 1), [3, 2, 2]);
        assert_eq!(parts(2, 3, 1), [1, 1]);
        assert_eq!(parts(3, 3, 2), [3], "two parts of batch-norm have two samples each");
        assert_eq!(parts(5, 3, 2), [3, 2]);
        assert_eq!(parts(1, 2, 2), [1]);
    }

    fn built(name: ModelName) -> (Architecture, Model) {
        querist_torchx::runtime::set_threads(1).unwrap();
        querist_torchx::random::seed(2).unwrap();
        let shape = ImageShape { channels: 3, height: 16, width: 16 };
        let architecture = Architecture::new(&ModelConfig::of(name), shape, 4).unwrap();
        let model = architecture.build(Device::Cpu).unwrap();
        (architecture, model)
    }

    /// Logits, and the gradients of the loss of a whole minibatch.
    fn step(model: &Model, replicas: Option<&Replicas>, images: &Tensor) -> (Tensor, Vec<Tensor>) {
        let n = images.size()[0];
        let labels = Tensor::arange(n, (Kind::Int64, Device::Cpu)).remainder(4);
        let out = match replicas {
            Some(replicas) => replicas.forward(model, images, Mode::Train, false).unwrap(),
            None => model.forward(images, Mode::Train, false).unwrap(),
        };
        out.logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.1).backward();
        if let Some(replicas) = replicas {
            replicas.collect_gradients(model).unwrap();
        }
        let weights = model.parameters().weights();
        let gradients = weights.iter().map(|weight| weight.grad().copy()).collect();
        clear_gradients(weights).unwrap();
        (out.logits.detach(), gradients)
    }

    fn worst(left: &Tensor, right: &Tensor) -> f64 {
        (left - right).abs().max().double_value(&[])
    }

    /// Odd minibatches, and one that is smaller than the number of devices.
    #[test]
    fn gradients_are_those_of_one_device() {
        for name in [ModelName::Mlp, ModelName::Cnn, ModelName::VitS16] {
            let (architecture, model) = built(name);
            let architecture = architecture.with_dropout(0.0);
            for (devices, samples) in [(2, 8), (2, 7), (3, 8), (3, 2), (2, 1)] {
                let replicas = Replicas::new(&architecture, &vec![Device::Cpu; devices - 1]).unwrap().unwrap();
                assert!(replicas.are_of(&model));
                let images = Tensor::randn([samples, 3, 16, 16], (Kind::Float, Device::Cpu));
                // No dropout on the one side either.
                let plain = architecture.build(Device::Cpu).unwrap();
                plain.parameters().copy_from(model.parameters()).unwrap();
                let (one, several) = (step(&plain, None, &images), step(&plain, Some(&replicas), &images));
                assert!(worst(&one.0, &several.0) <= 1e-5, "{name:?}, logits");
                for (at, (one, several)) in one.1.iter().zip(&several.1).enumerate() {
                    let (off, largest) = (worst(one, several), one.abs().max().double_value(&[]));
                    // Twelve blocks of single precision round by more, on one device in another order, too.
                    let most = if name == ModelName::VitS16 { 4e-6 } else { 1e-6 } * largest.max(1.0);
                    assert!(off <= most, "{name:?}, {samples} on {devices}: weight {at} is off by {off} of {largest}");
                }
                // The copies keep nothing: a second step is the first again.
                let again = step(&plain, Some(&replicas), &images);
                assert!(several.1.iter().zip(&again.1).all(|(a, b)| a == b), "{name:?}");
            }
        }
    }

    /// Each part by its own statistics; the running ones follow the first.
    #[test]
    fn batch_norm_sees_its_part() {
        let (architecture, model) = built(ModelName::Resnet18);
        let replicas = Replicas::new(&architecture, &[Device::Cpu]).unwrap().unwrap();
        let images = Tensor::randn([5, 3, 16, 16], (Kind::Float, Device::Cpu));
        let before: Vec<Tensor> = model.parameters().named().map(|(_, tensor)| tensor.detach().copy()).collect();
        let (logits, _) = step(&model, Some(&replicas), &images);
        let mut expected = Vec::new();
        let mut running = Vec::new();
        for (start, len) in [(0, 3), (3, 2)] {
            let alone = architecture.build(Device::Cpu).unwrap();
            let _no_grad = tch::no_grad_guard();
            for ((_, to), from) in alone.parameters().named().zip(&before) {
                to.shallow_clone().copy_(from);
            }
            expected.push(alone.forward(&images.narrow(0, start, len), Mode::Train, false).unwrap().logits);
            running.push(alone);
        }
        assert!(worst(&Tensor::cat(&expected, 0), &logits) < 1e-6);
        for ((name, of_first), (_, found)) in running[0].parameters().named().zip(model.parameters().named()) {
            assert_eq!(of_first, found, "{name}");
        }
        let of_weights = model.parameters().weights().len();
        let mean = |model: &Model| model.parameters().named().nth(of_weights).unwrap().1.shallow_clone();
        assert!(worst(&mean(&running[1]), &mean(&model)) > 1e-4, "the other part's are others");
    }
}
