//! Clusters of the dataset: by average linkage, remembered by sample id.

use querist_sdk::Dendrogram;
use querist_sdk::prelude::*;

use crate::{Cut, Distance};

/// The cluster of each row.
///
/// Where there are more than `most` rows, a random part of them is linked, and the others join the cluster with the
/// nearest mean.
pub(crate) fn clustered(query: &Query, rows: Matrix, metric: Distance, cut: Cut, most: u32) -> Result<Vec<u32>> {
    let rows = if metric == Distance::Cosine { rows.normalise()? } else { rows };
    let (count, _) = rows.shape()?;
    if count <= most {
        return linked(&rows, metric, cut, count);
    }
    let part = query.part_of_dataset("linked", most)?;
    let linked_rows = rows.gather(&part)?;
    let clusters = linked(&linked_rows, metric, cut, most)?;
    let means = means(query, &linked_rows, &clusters)?;
    drop(linked_rows);
    let by = if metric == Distance::Cosine { Metric::Cosine } else { Metric::SqEuclidean };
    let nearest = rows.distance_reduce(&means, by, Reduction::Argmin)?.to_vec()?;
    let mut all: Vec<u32> = nearest.into_iter().map(|cluster| cluster as u32).collect();
    for (&row, &cluster) in part.iter().zip(&clusters) {
        all[row as usize] = cluster;
    }
    Ok(all)
}

/// Clusters of rows by average linkage, numbered by their lowest rows in order.
fn linked(rows: &Matrix, metric: Distance, cut: Cut, count: u32) -> Result<Vec<u32>> {
    // The cosine distance of rows of norm 1 is half their squared Euclidean one.
    let (by, scale) = match metric {
        Distance::Cosine => (Metric::SqEuclidean, 0.5),
        Distance::Sqeuclidean => (Metric::SqEuclidean, 1.0),
        Distance::Euclidean => (Metric::Euclidean, 1.0),
    };
    let tree = Dendrogram::from(rows.average_linkage(by)?);
    Ok(match cut {
        Cut::Threshold(height) => tree.cut_at(height / scale),
        Cut::NClusters(clusters) => tree.cut_into(clusters as usize),
        Cut::AvgSize(size) => tree.cut_into((f64::from(count) / size).ceil() as usize),
    })
}

/// Mean row of each cluster.
fn means(query: &Query, rows: &Matrix, clusters: &[u32]) -> Result<Matrix> {
    let (_, columns) = rows.shape()?;
    let columns = columns as usize;
    let count = clusters.iter().max().map_or(0, |&last| last as usize + 1);
    let mut sums = vec![0.0f64; count * columns];
    let mut sizes = vec![0.0f64; count];
    rows.for_each_block(|start, block| {
        for (row, values) in block.chunks_exact(columns.max(1)).enumerate() {
            let cluster = clusters[start as usize + row] as usize;
            sizes[cluster] += 1.0;
            let sums = &mut sums[cluster * columns..][..columns];
            sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        Ok(())
    })?;
    let mean = |(at, sum): (usize, &f64)| (sum / sizes[at / columns.max(1)].max(1.0)) as f32;
    let means: Vec<f32> = sums.iter().enumerate().map(mean).collect();
    query.new_matrix(count as u32, columns as u32, &means)
}

/// Clusters by sample id, as the state keeps them: ids ascending, then their clusters.
pub(crate) struct Clusters {
    ids: Vec<u64>,
    clusters: Vec<u32>,
}

/// Bytes of one sample in the state.
const ENTRY: usize = 12;

impl Clusters {
    pub(crate) fn write(ids: &[u64], clusters: &[u32]) -> Vec<u8> {
        let mut entries: Vec<(u64, u32)> = ids.iter().copied().zip(clusters.iter().copied()).collect();
        entries.sort_unstable();
        entries.iter().flat_map(|(id, cluster)| id.to_le_bytes().into_iter().chain(cluster.to_le_bytes())).collect()
    }

    pub(crate) fn read(state: &[u8]) -> Result<Self> {
        let (entries, rest) = state.as_chunks::<ENTRY>();
        if !rest.is_empty() {
            let message = format!("the state of {} bytes is no list of samples with their clusters", state.len());
            return Err(StrategyError::Failed(message));
        }
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        Ok(Self {
            ids: entries.iter().map(|entry| number(&entry[..8])).collect(),
            clusters: entries.iter().map(|entry| number(&entry[8..]) as u32).collect(),
        })
    }

    /// The cluster of a sample.
    pub(crate) fn of(&self, id: u64) -> Result<u32> {
        match self.ids.binary_search(&id) {
            Ok(at) => Ok(self.clusters[at]),
            Err(_) => Err(StrategyError::Failed(format!(
                "sample {id} was not there when the dataset was clustered; set `recluster` to `every-round` where the \
                 dataset grows"
            ))),
        }
    }
}
