//! Parts of rows by first neighbours, without any parameter.
//!
//! Sarfraz, Sharma and Stiefelhagen, "Efficient Parameter-free Clustering Using First Neighbor Relations", CVPR 2019.

use querist_sdk::prelude::*;

/// The part of each of some rows, numbered by their first ones: each row is with its nearest other one, by the angle.
/// Parts are parted again by their means until at most `most` are left.
pub(crate) fn partition(query: &Query, embeddings: &Matrix, rows: &[u32], most: u32) -> Result<Vec<u32>> {
    let mut left = rows.len() as u32;
    let mut parts: Vec<u32> = (0..left).collect();
    // Held no longer than its neighbours are looked for: it is as large as the embeddings.
    let mut means = if left > most.max(1) { Some(embeddings.gather(rows)?) } else { None };
    while let Some(here) = means.take() {
        let joined = joined(&here, left)?;
        drop(here);
        let fewer = joined.iter().max().map_or(0, |&last| last + 1);
        if fewer < left {
            parts.iter_mut().for_each(|part| *part = joined[*part as usize]);
            left = fewer;
            if left > most.max(1) {
                means = Some(means_of(query, embeddings, (rows, &parts), left)?);
            }
        }
    }
    Ok(parts)
}

/// Which rows hang together if each is joined to its nearest other one; numbered by their first rows.
fn joined(rows: &Matrix, count: u32) -> Result<Vec<u32>> {
    let nearest = rows.nearest_rows(rows, 2.min(count), Metric::Cosine)?.0.to_vec()?;
    let mut root: Vec<u32> = (0..count).collect();
    for row in 0..count {
        let mut two = nearest[row as usize * 2..].iter().take(2).map(|&other| other as u32);
        // A copy of another row may have itself nowhere.
        let other = two.find(|&other| other != row).unwrap_or(row);
        let (a, b) = (find(&mut root, row), find(&mut root, other));
        root[a.max(b) as usize] = a.min(b);
    }
    let mut numbers: Vec<Option<u32>> = vec![None; count as usize];
    let mut next = 0;
    let mut parts = Vec::with_capacity(count as usize);
    for row in 0..count {
        let first = find(&mut root, row);
        let number = *numbers[first as usize].get_or_insert_with(|| {
            next += 1;
            next - 1
        });
        parts.push(number);
    }
    Ok(parts)
}

/// The lowest row that a row hangs together with.
fn find(root: &mut [u32], row: u32) -> u32 {
    let mut at = row;
    while root[at as usize] != at {
        root[at as usize] = root[root[at as usize] as usize];
        at = root[at as usize];
    }
    at
}

/// The mean of each part, added in the order of its rows.
fn means_of(query: &Query, embeddings: &Matrix, (rows, parts): (&[u32], &[u32]), count: u32) -> Result<Matrix> {
    const AT_ONCE: usize = 1024;
    let (_, columns) = embeddings.shape()?;
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&at| parts[at]);
    let mut means: Vec<f32> = Vec::with_capacity(count as usize * columns as usize);
    let (mut sum, mut size) = (vec![0.0f64; columns as usize], 0usize);
    for (block, some) in order.chunks(AT_ONCE).enumerate() {
        let here: Vec<u32> = some.iter().map(|&at| rows[at]).collect();
        embeddings.gather(&here)?.for_each_row(|row, values| {
            let at = block * AT_ONCE + row as usize;
            sum.iter_mut().zip(values).for_each(|(sum, &x)| *sum += f64::from(x));
            size += 1;
            let is_last = order.get(at + 1).is_none_or(|&next| parts[next] != parts[order[at]]);
            if is_last {
                means.extend(sum.iter().map(|sum| (sum / size as f64) as f32));
                sum.fill(0.0);
                size = 0;
            }
            Ok(())
        })?;
    }
    query.new_matrix(count, columns, &means)
}
