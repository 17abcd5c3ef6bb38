//! Parts of rows by first neighbours, without any parameter.
//!
//! Sarfraz, Sharma and Stiefelhagen, "Efficient Parameter-free Clustering Using First Neighbor Relations", CVPR 2019.

use querist_sdk::prelude::*;

/// The part of each row, numbered by their first rows: each row is with its nearest other one, by the angle. Parts are
/// parted again by their means until at most `most` are left.
pub(crate) fn partition(query: &Query, rows: &Matrix, most: u32) -> Result<Vec<u32>> {
    let (count, _) = rows.shape()?;
    let mut parts: Vec<u32> = (0..count).collect();
    let mut left = count;
    let mut means = rows.gather(&parts)?;
    while left > most.max(1) {
        let joined = joined(&means, left)?;
        let fewer = joined.iter().max().map_or(0, |&last| last + 1);
        if fewer == left {
            break;
        }
        parts.iter_mut().for_each(|part| *part = joined[*part as usize]);
        left = fewer;
        means = means_of(query, rows, &parts, left)?;
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

fn means_of(query: &Query, rows: &Matrix, parts: &[u32], count: u32) -> Result<Matrix> {
    let (_, columns) = rows.shape()?;
    let columns = columns as usize;
    let (mut sums, mut sizes) = (vec![0.0f64; count as usize * columns], vec![0.0f64; count as usize]);
    rows.for_each_row(|row, values| {
        let part = parts[row as usize] as usize;
        sizes[part] += 1.0;
        sums[part * columns..][..columns].iter_mut().zip(values).for_each(|(sum, &x)| *sum += f64::from(x));
        Ok(())
    })?;
    let mean = |(at, sum): (usize, &f64)| (sum / sizes[at / columns.max(1)]) as f32;
    let values: Vec<f32> = sums.iter().enumerate().map(mean).collect();
    query.new_matrix(count, columns as u32, &values)
}
