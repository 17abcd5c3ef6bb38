//! Objects of the host, and what is easier said with them than with the calls alone.

use querist_protocol::{BLOCK_BYTES, Metric, Reduction, math};

pub use crate::generated::objects::{
    Clustering, Design, Facility, Graph, Mask, Matrix, Nearest, Points, Stream, Vector,
};
use crate::strategy::Result;

/// Makes a type of a kind of object.
macro_rules! object {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name {
            host: Host,
            handle: querist_protocol::Handle,
        }

        impl $name {
            pub(crate) fn adopt(host: &Host, handle: querist_protocol::Handle) -> Self {
                Self { host: host.clone(), handle }
            }

            /// The handle, for a call.
            #[allow(dead_code, reason = "not every kind is an argument of another's calls")]
            pub(crate) fn handle(&self) -> querist_protocol::Handle {
                self.handle
            }

            /// The host that it lives in.
            #[allow(dead_code, reason = "not every kind makes others in hand-written code")]
            pub(crate) fn host(&self) -> &Host {
                &self.host
            }

            /// Gives the handle away; whoever takes it releases it.
            #[doc(hidden)]
            pub fn into_handle(self) -> querist_protocol::Handle {
                let handle = self.handle;
                // The host is reference-counted in a native build, so it must still be dropped.
                let mut this = std::mem::ManuallyDrop::new(self);
                // SAFETY: `this` is never dropped, so its host is dropped exactly once, here.
                unsafe { std::ptr::drop_in_place(&mut this.host) };
                handle
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.host.calls().release(self.handle);
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.handle)
            }
        }
    };
}

pub(crate) use object;

impl Stream {
    /// The next uniform number in (0, 1).
    ///
    /// # Errors
    /// If the host refuses.
    pub fn uniform(&self) -> Result<f64> {
        Ok(self.uniforms(1)?[0])
    }

    /// A whole number below `bound`, each equally likely to within 2^-53.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn below(&self, bound: u32) -> Result<u32> {
        Ok(((self.uniform()? * f64::from(bound)) as u32).min(bound.saturating_sub(1)))
    }
}

impl Vector {
    /// Whether there are no values.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// One value.
    ///
    /// # Errors
    /// If there is no such row.
    pub fn get(&self, row: u32) -> Result<f64> {
        Ok(self.read(row, 1)?[0])
    }

    /// All values.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn to_vec(&self) -> Result<Vec<f64>> {
        self.read(0, self.len()?)
    }
}

impl Nearest {
    /// Furthest-first traversal: `count` times the row that is farthest from all points so far and not in `taken` joins
    /// the points and `taken`. The rows with their distances; fewer than `count` once none lies at a distance.
    ///
    /// # Errors
    /// If the host refuses; once the user has cancelled or time is up.
    pub fn furthest_first(&self, count: u32, taken: &Mask) -> Result<Vec<(u32, f64)>> {
        let mut picks = Vec::new();
        while (picks.len() as u32) < count
            && let Some((row, distance)) = self.farthest(Some(taken))?
            && distance > 0.0
        {
            taken.exclude(&[row])?;
            self.add(&[row])?;
            picks.push((row, distance));
            self.host().progress(picks.len() as u64, u64::from(count))?;
        }
        Ok(picks)
    }
}

impl Matrix {
    /// The rows with a constant 1 as last column, so that what is linear in a row has a bias.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn with_ones(&self) -> Result<Self> {
        let (rows, columns) = self.shape()?;
        let mut values = Vec::with_capacity(rows as usize * (columns as usize + 1));
        self.for_each_row(|_, row| {
            values.extend_from_slice(row);
            values.push(1.0);
            Ok(())
        })?;
        self.host().matrix(rows, columns + 1, &values)
    }

    /// Position of the largest value of each row, the lowest among equals: the predicted classes, where rows are
    /// logits.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn argmax(&self) -> Result<Vec<u32>> {
        let mut positions = Vec::with_capacity(self.shape()?.0 as usize);
        self.for_each_row(|_, row| {
            positions.push(math::argmax(row) as u32);
            Ok(())
        })?;
        Ok(positions)
    }

    /// The row that is nearest to the mean of all, the lowest among equals, and its distance.
    ///
    /// # Errors
    /// If there are no rows.
    pub fn nearest_to_mean(&self, metric: Metric) -> Result<(u32, f64)> {
        let mean: Vec<f32> = self.mean()?.iter().map(|&x| x as f32).collect();
        let centre = self.host().matrix(1, mean.len() as u32, &mean)?;
        let distances = self.distance_reduce(&centre, metric, Reduction::Min)?.to_vec()?;
        let nearest = math::argmin(&distances);
        Ok((nearest as u32, distances[nearest]))
    }

    /// Calls `visit(row, values)` for every row in order.
    ///
    /// # Errors
    /// The first error of `visit` or of the host.
    pub fn for_each_row(&self, mut visit: impl FnMut(u32, &[f32]) -> Result<()>) -> Result<()> {
        let columns = self.shape()?.1.max(1) as usize;
        self.for_each_block(|start, block| {
            (start..).zip(block.chunks_exact(columns)).try_for_each(|(row, values)| visit(row, values))
        })
    }

    /// Calls `visit(first_row, values)` for blocks of whole rows that fit the cache, in order.
    ///
    /// # Errors
    /// The first error of `visit` or of the host.
    pub fn for_each_block(&self, mut visit: impl FnMut(u32, &[f32]) -> Result<()>) -> Result<()> {
        let (rows, columns) = self.shape()?;
        let block = (BLOCK_BYTES as u32 / (4 * columns.max(1))).max(1);
        let mut start = 0;
        while start < rows {
            let count = block.min(rows - start);
            visit(start, &self.read(start, count)?)?;
            start += count;
        }
        Ok(())
    }
}
