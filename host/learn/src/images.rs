//! The dataset's images on the device.

mod reader;

use querist_core::dataset::Normalisation;
use querist_core::{Dataset, Embeddings, Images, LearnError, SampleId, Synthetic};
use tch::{Device, Kind, TchError, Tensor};

use crate::fault::{Doing, config};
use crate::model::{ImageShape, Model};
use crate::replicas::Replicas;
use reader::Reader;

/// Every image as bytes, and how bytes become network inputs.
pub(crate) struct ImageStore {
    pixels: Pixels,
    device: Device,
    /// `f32 [1, channels, 1, 1]`: 1 / (255 std).
    scale: Tensor,
    /// `f32 [1, channels, 1, 1]`: -mean / std.
    shift: Tensor,
    /// What bytes 0 and 255 become in each channel, as the host may read it without asking the device.
    range: Vec<[f32; 2]>,
    shape: ImageShape,
    count: usize,
    /// `f32 [count, width]`: embeddings by a body that no training changes, where the learner keeps one.
    embedded: Option<Tensor>,
    /// Devices beside the first, which share its work.
    others: Vec<Device>,
    /// Copies of the model there, for passes in eval mode.
    replicas: Option<Replicas>,
}

/// Where the bytes are.
enum Pixels {
    /// `u8 [count, channels, height, width]`.
    OnDevice(Tensor),
    /// In a mapped file, from which minibatches are read: they are more than memory is to hold.
    InFile(Reader),
    /// None: `f32 [count, width]`, embeddings in the place of images.
    Rows(Tensor),
}

impl ImageStore {
    /// Puts the images of `dataset` on `device`. Statistics that the dataset does not publish are measured on `pool`.
    ///
    /// # Errors
    /// If the device has no room for them.
    pub(crate) fn new(dataset: &Dataset, pool: &[SampleId], device: Device) -> Result<Self, LearnError> {
        if let Some(embeddings) = dataset.embeddings() {
            return Self::of_rows(embeddings, dataset.len(), device).doing("putting the embeddings on the device");
        }
        let images = dataset.images();
        let normalisation = match dataset.normalisation() {
            Some(published) => published.clone(),
            None => measure(images, pool)?,
        };
        Self::upload(images, &normalisation, device).doing("putting the images on the device")
    }

    fn upload(images: &Images, normalisation: &Normalisation, device: Device) -> Result<Self, TchError> {
        let [height, width, channels] = [images.height, images.width, images.channels].map(|n| n as i64);
        let pixels = match images.bytes.is_mapped() {
            true => Pixels::InFile(Reader::new(images.clone())),
            false => Pixels::OnDevice(on_device(images, &images.bytes, device)?),
        };
        let per_channel =
            |values: Vec<f32>| Tensor::f_from_slice(&values)?.f_view([1, channels, 1, 1])?.f_to_device(device);
        let Normalisation { mean, std } = normalisation;
        Ok(Self {
            pixels,
            device,
            scale: per_channel(std.iter().map(|s| 1.0 / (255.0 * s)).collect())?,
            range: mean.iter().zip(std).map(|(m, s)| [-m / s, (1.0 - m) / s]).collect(),
            shift: per_channel(mean.iter().zip(std).map(|(m, s)| -m / s).collect())?,
            shape: ImageShape { channels, height, width },
            count: images.count,
            embedded: None,
            others: Vec::new(),
            replicas: None,
        })
    }

    /// Embeddings as they are, which [`Self::normalise`] leaves alone.
    fn of_rows(embeddings: &Embeddings, count: usize, device: Device) -> Result<Self, TchError> {
        let width = embeddings.width as i64;
        let rows = Tensor::f_from_slice(&embeddings.values)?.f_view([count as i64, width])?.f_to_device(device)?;
        let one = || Tensor::f_ones([1, 1], (Kind::Float, device));
        Ok(Self {
            pixels: Pixels::Rows(rows),
            device,
            scale: one()?,
            shift: one()?,
            range: Vec::new(),
            shape: ImageShape { channels: width, height: 1, width: 1 },
            count,
            embedded: None,
            others: Vec::new(),
            replicas: None,
        })
    }

    /// Whether there are embeddings in the place of images.
    pub(crate) fn are_rows(&self) -> bool {
        matches!(self.pixels, Pixels::Rows(_))
    }

    /// What [`Self::normalise`] does to bytes, in words.
    pub(crate) fn transform(&self) -> String {
        format!("{:?}", self.range)
    }

    /// Sizes of one image.
    pub(crate) fn shape(&self) -> ImageShape {
        self.shape
    }

    /// What bytes 0 and 255 become by normalisation, channel by channel.
    pub(crate) fn range(&self) -> &[[f32; 2]] {
        &self.range
    }

    /// Number of images.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Keeps embeddings of all images, `f32 [count, width]`, by a body that stays as it is.
    pub(crate) fn keep_embedded(&mut self, embeddings: Tensor) {
        self.embedded = Some(embeddings);
    }

    /// The embeddings that are kept.
    pub(crate) fn embedded(&self) -> Option<&Tensor> {
        self.embedded.as_ref()
    }

    /// Where the images are.
    pub(crate) fn device(&self) -> Device {
        self.device
    }

    /// Lets other devices share the work, and keeps copies of the model there.
    pub(crate) fn share_with(&mut self, others: Vec<Device>, replicas: Option<Replicas>) {
        (self.others, self.replicas) = (others, replicas);
    }

    /// Devices beside the first, which share its work.
    pub(crate) fn others(&self) -> &[Device] {
        &self.others
    }

    /// Copies of a model like this one on other devices.
    pub(crate) fn replicas_of(&self, model: &Model) -> Option<&Replicas> {
        self.replicas.as_ref().filter(|replicas| replicas.are_of(model))
    }

    /// Whether images come from a file, so that it pays to say early which are next.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.pixels, Pixels::InFile(_))
    }

    /// Begins to read images that [`Self::gather_rows`] is asked for next, where they come from a file.
    pub(crate) fn announce(&self, rows: &[i64]) {
        if let Pixels::InFile(reader) = &self.pixels {
            reader.announce(rows);
        }
    }

    /// The bytes of some images, `u8 [n, channels, height, width]`, or rows, `f32 [n, width]`; `ids` is `i64 [n]` on
    /// the device.
    pub(crate) fn gather(&self, ids: &Tensor) -> Result<Tensor, TchError> {
        match &self.pixels {
            Pixels::OnDevice(values) | Pixels::Rows(values) => values.f_index_select(0, ids),
            Pixels::InFile(_) => self.gather_rows(ids, &Vec::<i64>::try_from(&ids.f_to_device(Device::Cpu)?)?),
        }
    }

    /// The same by ids that the host has, too: asking the device for them would wait for it.
    pub(crate) fn gather_rows(&self, ids: &Tensor, rows: &[i64]) -> Result<Tensor, TchError> {
        match &self.pixels {
            Pixels::OnDevice(values) | Pixels::Rows(values) => values.f_index_select(0, ids),
            Pixels::InFile(reader) => on_device(reader.images(), &reader.read(rows), self.device),
        }
    }

    /// Images that strategies made, as [`Self::values`] takes them; `None` where there are none.
    ///
    /// # Errors
    /// If one has another size.
    pub(crate) fn upload_synthetic(&self, synthetic: &[Synthetic]) -> Result<Option<Tensor>, LearnError> {
        let ImageShape { channels, height, width } = self.shape;
        let floats = (channels * height * width) as usize;
        if let Some(image) = synthetic.iter().find(|image| image.values.len() != floats) {
            return config(format!(
                "the image that was made of sample {} has {} values, but images of this dataset have {floats}",
                image.sample,
                image.values.len()
            ));
        }
        if synthetic.is_empty() {
            return Ok(None);
        }
        let values: Vec<f32> = synthetic.iter().flat_map(|image| image.values.iter().copied()).collect();
        let upload = || {
            let shape = [synthetic.len() as i64, channels, height, width];
            Tensor::f_from_slice(&values)?.f_view(shape)?.f_to_device(self.device())
        };
        upload().doing("putting synthetic images on the device").map(Some)
    }

    /// Ids from which on [`Self::values`] counts synthetic images.
    pub(crate) fn first_synthetic(&self) -> i64 {
        self.count as i64
    }

    /// What [`Self::normalise`] takes, of images of the dataset and of `synthetic` ones, whose ids go on after the
    /// dataset's. Bytes where there are none of these, else `f32`. `rows` are the ids where the host has them.
    pub(crate) fn values(
        &self,
        ids: &Tensor,
        rows: Option<&[i64]>,
        synthetic: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let gather = |ids: &Tensor| rows.map_or_else(|| self.gather(ids), |rows| self.gather_rows(ids, rows));
        let Some(synthetic) = synthetic else { return gather(ids) };
        let first = self.first_synthetic();
        let real = gather(&ids.f_clamp_max(first - 1)?)?.f_to_kind(Kind::Float)?;
        let made = synthetic.f_index_select(0, &ids.f_sub_scalar(first)?.f_clamp_min(0)?)?;
        made.f_where_self(&ids.f_ge(first)?.f_view([-1, 1, 1, 1])?, &real)
    }

    /// Undoes [`Self::normalise`], without rounding to bytes.
    pub(crate) fn denormalise(&self, inputs: &Tensor) -> Result<Tensor, TchError> {
        inputs.f_sub(&self.shift)?.f_div(&self.scale)
    }

    /// Network inputs of bytes, or of such values as floats, `f32` of the same shape.
    pub(crate) fn normalise(&self, bytes: &Tensor) -> Result<Tensor, TchError> {
        if self.are_rows() {
            return Ok(bytes.shallow_clone());
        }
        bytes.f_to_kind(Kind::Float)?.f_mul_(&self.scale)?.f_add_(&self.shift)
    }

    /// Ids as an index into the images, `i64 [n]` on the device.
    ///
    /// # Errors
    /// If there is no such image.
    pub(crate) fn index(&self, ids: impl Iterator<Item = SampleId>) -> Result<Tensor, LearnError> {
        let mut rows = Vec::with_capacity(ids.size_hint().0);
        for id in ids {
            match i64::try_from(id.0) {
                Ok(row) if id.0 < self.count as u64 => rows.push(row),
                _ => return config(format!("there is no sample {id}: the dataset holds {} images", self.count)),
            }
        }
        Tensor::f_from_slice(&rows).and_then(|t| t.f_to_device(self.device())).doing("sending sample ids")
    }
}

/// Bytes of whole images as `u8 [images, channels, height, width]` on the device.
fn on_device(images: &Images, bytes: &[u8], device: Device) -> Result<Tensor, TchError> {
    let [height, width, channels] = [images.height, images.width, images.channels].map(|n| n as i64);
    let count = (bytes.len() / images.image_len()) as i64;
    let rows = Tensor::f_from_data_size(bytes, &[count, height, width, channels], Kind::Uint8)?;
    // Turned around where the copy is cheapest; for grey images this is only another name for the same bytes.
    rows.f_to_device(device)?.f_permute([0, 3, 1, 2])?.f_contiguous()
}

/// Mean and standard deviation of each channel over the pool, from exact sums.
///
/// A channel in which every pixel is alike has no spread; it is divided by 1.
fn measure(images: &Images, pool: &[SampleId]) -> Result<Normalisation, LearnError> {
    if pool.is_empty() {
        return config("an empty pool has no mean and standard deviation to normalise images with");
    }
    let channels = images.channels;
    let mut counts = vec![[0u64; 256]; channels];
    for &sample in pool {
        if sample.0 >= images.count as u64 {
            return config(format!("there is no sample {sample}: the dataset holds {} images", images.count));
        }
        for pixel in images.image(sample).chunks_exact(channels) {
            for (count, &value) in counts.iter_mut().zip(pixel) {
                count[usize::from(value)] += 1;
            }
        }
    }
    let (mean, std) = counts.iter().map(mean_and_std).unzip();
    Ok(Normalisation { mean, std })
}

/// Of a histogram of bytes, on the scale 0 to 1.
fn mean_and_std(counts: &[u64; 256]) -> (f32, f32) {
    let weighted = |f: fn(u128) -> u128| -> u128 {
        counts.iter().zip(0u128..).map(|(&count, value)| u128::from(count) * f(value)).sum()
    };
    let (n, sum, squares) = (weighted(|_| 1), weighted(|v| v), weighted(|v| v * v));
    let variance = (n * squares - sum * sum) as f64 / (n as f64 * n as f64);
    let std = if variance == 0.0 { 1.0 } else { variance.sqrt() / 255.0 };
    ((sum as f64 / n as f64 / 255.0) as f32, std as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::values;

    /// Two images of one row and two pixels, three channels.
    fn images() -> Images {
        let bytes = vec![0, 10, 7, 255, 20, 7, 51, 30, 7, 102, 40, 7];
        Images { bytes: bytes.into(), count: 2, height: 1, width: 2, channels: 3 }
    }

    #[test]
    fn statistics_are_those_of_the_pool_alone() {
        let all = measure(&images(), &[SampleId(0), SampleId(1)]).unwrap();
        assert!((f64::from(all.mean[0]) - 102.0 / 255.0).abs() < 1e-7);
        let variance = [0.0f64, 255.0, 51.0, 102.0].map(|v| (v - 102.0).powi(2)).iter().sum::<f64>() / 4.0;
        assert!((f64::from(all.std[0]) - variance.sqrt() / 255.0).abs() < 1e-7);
        assert_eq!(all.std[2], 1.0, "a constant channel");
        let one = measure(&images(), &[SampleId(1)]).unwrap();
        assert!((f64::from(one.mean[1]) - 35.0 / 255.0).abs() < 1e-7);
        assert!(measure(&images(), &[]).is_err());
        assert!(measure(&images(), &[SampleId(2)]).is_err());
    }

    #[test]
    fn pixels_keep_their_place_and_are_normalised() {
        querist_torchx::runtime::set_threads(1).unwrap();
        let normalisation = Normalisation { mean: vec![0.2, 0.0, 0.5], std: vec![0.5, 1.0, 0.25] };
        let store = ImageStore::upload(&images(), &normalisation, Device::Cpu).unwrap();
        let ids = store.index([SampleId(1), SampleId(0), SampleId(1)].into_iter()).unwrap();
        let inputs = store.normalise(&store.gather(&ids).unwrap()).unwrap();
        assert_eq!(inputs.size(), [3, 3, 1, 2]);
        let expected = |bytes: [f32; 6]| {
            let channel = |at: usize| at / 2;
            std::array::from_fn::<f32, 6, _>(|at| {
                (bytes[at] / 255.0 - normalisation.mean[channel(at)]) / normalisation.std[channel(at)]
            })
        };
        let (first, second) = ([0., 255., 10., 20., 7., 7.], [51., 102., 30., 40., 7., 7.]);
        let expected = [expected(second), expected(first), expected(second)].concat();
        for (found, expected) in values(&inputs).unwrap().into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        // The same from a file.
        let mapped = Images { bytes: querist_core::Buffer::mapped(images().bytes.to_vec()), ..images() };
        let in_file = ImageStore::upload(&mapped, &normalisation, Device::Cpu).unwrap();
        assert!(matches!(in_file.pixels, Pixels::InFile(_)));
        let read = in_file.gather(&ids).unwrap();
        assert_eq!((read.kind(), read.size()), (Kind::Uint8, vec![3, 3, 1, 2]));
        assert!(read.equal(&store.gather(&ids).unwrap()));
        assert!(store.index([SampleId(2)].into_iter()).is_err());
        assert!(store.index([SampleId(u64::MAX)].into_iter()).is_err());
    }
}
