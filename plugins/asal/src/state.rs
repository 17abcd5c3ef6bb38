//! What outlives a round: the networks, and the pool's coordinates where those do not move.

use std::collections::BTreeMap;

use querist_sdk_torch::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

use crate::gan::Networks;
use crate::matching::Pca;

/// Parts of the networks, as their tensors are named.
const PARTS: [&str; 3] = ["generator", "critic", "autoencoder"];

/// Coordinates of samples in a feature space that does not change.
#[derive(Debug)]
pub struct Index {
    /// The space.
    pub pca: Pca,
    /// Samples, ascending.
    pub ids: Vec<u64>,
    /// Their coordinates, `f32 [ids, k]`.
    pub coordinates: Tensor,
}

impl Index {
    /// Coordinates `f32 [n, k]` of these samples.
    ///
    /// # Errors
    /// If one is not in the index.
    pub fn of(&self, ids: &[u64]) -> Result<Tensor> {
        let at = |id: &u64| {
            let found = self.ids.binary_search(id).map(|at| at as i64);
            found.map_err(|_| Error::failed(format!("sample {id} was not in the pool of the first round")))
        };
        let at = Tensor::f_from_slice(&ids.iter().map(at).collect::<Result<Vec<_>>>()?)?;
        Ok(self.coordinates.f_index_select(0, &at.f_to_device(self.coordinates.device())?)?)
    }
}

/// Networks and index as bytes.
///
/// # Errors
/// If libtorch fails.
pub fn write(networks: &Networks, index: Option<&Index>) -> Result<Vec<u8>> {
    let mut tensors: BTreeMap<String, Packed> = BTreeMap::new();
    for (part, store) in PARTS.iter().zip(&networks.stores) {
        for (name, tensor) in store.variables() {
            tensors.insert(format!("{part}.{name}"), packed(&tensor)?);
        }
    }
    if let Some(Index { pca, ids, coordinates }) = index {
        tensors.insert("index.mean".to_owned(), packed(&pca.mean)?);
        tensors.insert("index.components".to_owned(), packed(&pca.components)?);
        tensors.insert("index.coordinates".to_owned(), packed(coordinates)?);
        let bytes = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        tensors.insert("index.ids".to_owned(), (vec![ids.len()], bytes, Dtype::U64));
    }
    let views = tensors.iter().map(view).collect::<Result<Vec<_>>>()?;
    serialize(views, None).map_err(unwritable)
}

/// Shape, bytes and type of a tensor.
type Packed = (Vec<usize>, Vec<u8>, Dtype);

fn view<'a>((name, (shape, bytes, kind)): (&'a String, &'a Packed)) -> Result<(&'a str, TensorView<'a>)> {
    Ok((name, TensorView::new(*kind, shape.clone(), bytes).map_err(unwritable)?))
}

fn unwritable(error: safetensors::SafeTensorError) -> Error {
    Error::failed(format!("the networks cannot be written: {error}"))
}

fn packed(tensor: &Tensor) -> Result<Packed> {
    let shape = tensor.size().iter().map(|&n| n as usize).collect();
    let values = floats(tensor)?;
    Ok((shape, values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect(), Dtype::F32))
}

/// Reads what [`write`] wrote into networks of the same sizes.
///
/// # Errors
/// If the bytes are of other networks, or no such state.
pub fn read(bytes: &[u8], networks: &Networks) -> Result<Option<Index>> {
    let wrong = |what: String| {
        Error::failed(format!("the state of the round before does not fit: {what}; start the run again from round 0"))
    };
    let file = SafeTensors::deserialize(bytes).map_err(|error| wrong(error.to_string()))?;
    let device = networks.stores[0].device();
    let _no_grad = tch::no_grad_guard();
    let read = |name: &str| -> Result<Tensor> {
        let view = file.tensor(name).map_err(|error| wrong(error.to_string()))?;
        if view.dtype() != Dtype::F32 {
            return Err(wrong(format!("`{name}` is of type {:?}", view.dtype())));
        }
        let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        let values: Vec<f32> =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok(Tensor::f_from_slice(&values)?.f_view(shape.as_slice())?.f_to_device(device)?)
    };
    for (part, store) in PARTS.iter().zip(&networks.stores) {
        for (name, mut tensor) in store.variables() {
            let name = format!("{part}.{name}");
            let kept = read(&name)?;
            if kept.size() != tensor.size() {
                return Err(wrong(format!("`{name}` has shape {:?}, expected {:?}", kept.size(), tensor.size())));
            }
            tensor.f_copy_(&kept)?;
        }
    }
    let Ok(ids) = file.tensor("index.ids") else { return Ok(None) };
    let ids = ids.data().chunks_exact(8).map(|b| u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]));
    let pca = Pca { mean: read("index.mean")?, components: read("index.components")? };
    Ok(Some(Index { pca, ids: ids.collect(), coordinates: read("index.coordinates")? }))
}
