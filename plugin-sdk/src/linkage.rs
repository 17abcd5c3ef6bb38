//! Flat clusters of a hierarchy.

use querist_protocol::Merge;

/// The merges of a hierarchy of clusters, the lowest first. [`Matrix::average_linkage`](crate::Matrix::average_linkage)
/// gives them.
#[derive(Debug, Clone)]
pub struct Dendrogram {
    merges: Vec<Merge>,
}

impl From<Vec<Merge>> for Dendrogram {
    fn from(mut merges: Vec<Merge>) -> Self {
        merges.sort_by(|a, b| a.height.total_cmp(&b.height));
        Self { merges }
    }
}

impl Dendrogram {
    /// The cluster of each row after all merges up to this height: clusters are numbered by their lowest rows in order.
    pub fn cut_at(&self, height: f64) -> Vec<u32> {
        self.after(self.merges.partition_point(|merge| merge.height <= height))
    }

    /// The cluster of each row where so many clusters are left, at least one.
    pub fn cut_into(&self, clusters: usize) -> Vec<u32> {
        self.after(self.merges.len().saturating_sub(clusters.max(1) - 1))
    }

    fn after(&self, count: usize) -> Vec<u32> {
        // N rows have N - 1 merges, which name clusters by their lowest rows: a row's root is the lowest of its
        // cluster.
        let mut parent: Vec<u32> = (0..=self.merges.len() as u32).collect();
        for merge in &self.merges[..count] {
            let (a, b) = (root(&mut parent, merge.left), root(&mut parent, merge.right));
            parent[a.max(b) as usize] = a.min(b);
        }
        let mut numbers = vec![0u32; parent.len()];
        let mut next = 0;
        for row in 0..parent.len() as u32 {
            let root = root(&mut parent, row);
            numbers[row as usize] = if root == row { next } else { numbers[root as usize] };
            next += u32::from(root == row);
        }
        numbers
    }
}

fn root(parent: &mut [u32], row: u32) -> u32 {
    let mut at = row;
    while parent[at as usize] != at {
        parent[at as usize] = parent[parent[at as usize] as usize];
        at = parent[at as usize];
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_numbered_by_their_lowest_rows() {
        let merge = |left, right, height| Merge { left, right, height };
        let tree = Dendrogram::from(vec![
            merge(0, 1, 5.0),
            merge(1, 3, 1.0),
            merge(0, 4, 2.0),
            merge(2, 5, 2.0),
            merge(0, 2, 9.0),
        ]);
        assert_eq!(tree.cut_into(6), [0, 1, 2, 3, 4, 5]);
        assert_eq!(tree.cut_at(1.0), [0, 1, 2, 1, 3, 4]);
        assert_eq!(tree.cut_at(2.0), [0, 1, 2, 1, 0, 2]);
        assert_eq!(tree.cut_into(2), [0, 0, 1, 0, 0, 1]);
        assert_eq!((tree.cut_into(0), tree.cut_at(9.0)), (vec![0; 6], vec![0; 6]));
        assert_eq!(Dendrogram::from(Vec::new()).cut_into(3), [0]);
    }
}
