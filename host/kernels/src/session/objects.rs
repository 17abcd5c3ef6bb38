//! The objects that handles name: one pool for each kind.

use std::sync::Arc;

use querist_protocol::philox::Stream;
use querist_protocol::{Fault, FaultCode, Handle, Kind, PLACE_BITS};

use crate::check;
use crate::design::Design;
use crate::facility::Facility;
use crate::graph::Graph;
use crate::kmeans::Clustering;
use crate::matrix::Rows;
use crate::memory::Charged;
use crate::nearest::Nearest;
use crate::points::Points;

/// A set of excluded rows.
pub(super) struct Mask {
    pub(super) excluded: Arc<Charged<bool>>,
    pub(super) count: u32,
}

impl Mask {
    pub(super) fn exclude(&mut self, rows: &[u32]) -> Result<(), Fault> {
        check::rows(rows, self.excluded.len())?;
        // Kernels share a mask only while they run.
        let Some(excluded) = Arc::get_mut(&mut self.excluded) else {
            return Err(Fault::new(FaultCode::BadHandle, "the mask is in use"));
        };
        for &row in rows {
            let place = &mut excluded[row as usize];
            self.count += u32::from(!*place);
            *place = true;
        }
        Ok(())
    }
}

/// Objects of one kind by their places; freed places are used again.
pub(super) struct Pool<T> {
    /// `None` where nothing lies, or where the object is at work.
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Pool<T> {
    fn insert(&mut self, object: T) -> Option<u32> {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(object);
            return Some(place);
        }
        let place = u32::try_from(self.places.len()).ok().filter(|place| place >> PLACE_BITS == 0)?;
        self.places.push(Some(object));
        Some(place)
    }

    fn remove(&mut self, place: u32) {
        if self.places.get_mut(place as usize).and_then(Option::take).is_some() {
            self.free.push(place);
        }
    }

    fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

/// What a handle may name, in the pool of its kind.
pub(super) trait Object: Sized {
    const KIND: Kind;
    /// The kind in messages.
    const NAME: &'static str;
    fn pool(objects: &mut Objects) -> &mut Pool<Self>;
}

macro_rules! objects {
    ($($pool:ident: $type:ty, $kind:ident, $name:literal;)*) => {
        $(impl Object for $type {
            const KIND: Kind = Kind::$kind;
            const NAME: &'static str = $name;

            fn pool(objects: &mut Objects) -> &mut Pool<Self> {
                &mut objects.$pool
            }
        })*

        /// All objects of a session.
        #[derive(Default)]
        pub(super) struct Objects {
            $($pool: Pool<$type>,)*
        }

        impl Objects {
            /// Live objects.
            pub(super) fn len(&self) -> usize {
                0 $(+ self.$pool.len())*
            }

            /// Releases an object; what is not there is ignored.
            pub(super) fn release(&mut self, handle: Handle) {
                let place = place(handle);
                match Kind::of(handle) {
                    $(Some(Kind::$kind) => self.$pool.remove(place),)*
                    None => {}
                }
            }

            fn name(kind: Option<Kind>) -> &'static str {
                match kind {
                    $(Some(Kind::$kind) => $name,)*
                    None => "nothing",
                }
            }
        }
    };
}

objects! {
    streams: Stream, Stream, "a stream";
    vectors: Arc<Charged<f64>>, Vector, "a vector";
    masks: Mask, Mask, "a mask";
    matrices: Rows, Matrix, "a matrix";
    graphs: Arc<Graph>, Graph, "a graph";
    clusterings: Arc<Clustering>, Clustering, "a clustering";
    points: Arc<Points>, Points, "points";
    nearest: Box<Nearest>, Nearest, "a nearest engine";
    facilities: Box<Facility>, Facility, "a facility engine";
    designs: Box<Design>, Design, "a design";
}

fn place(handle: Handle) -> u32 {
    handle & ((1 << PLACE_BITS) - 1)
}

impl Objects {
    /// Keeps an object if fewer than `limit` are alive.
    pub(super) fn insert<T: Object>(&mut self, object: T, limit: u32) -> Result<Handle, Fault> {
        if self.len() < limit as usize
            && let Some(place) = T::pool(self).insert(object)
        {
            return Ok(T::KIND.handle(place));
        }
        let message = format!("{limit} objects are alive, which is the limit; release what is no longer needed");
        Err(Fault::new(FaultCode::Quota, message))
    }

    /// The object of a handle.
    pub(super) fn get<T: Object>(&mut self, handle: Handle) -> Result<&mut T, Fault> {
        self.place::<T>(handle)?.as_mut().ok_or_else(|| not_live(handle))
    }

    /// Takes an object out for a time; [`Objects::put_back`] returns it.
    pub(super) fn take_out<T: Object>(&mut self, handle: Handle) -> Result<T, Fault> {
        self.place::<T>(handle)?.take().ok_or_else(|| not_live(handle))
    }

    /// Returns an object that was taken out.
    pub(super) fn put_back<T: Object>(&mut self, handle: Handle, object: T) -> Result<(), Fault> {
        *self.place::<T>(handle)? = Some(object);
        Ok(())
    }

    fn place<T: Object>(&mut self, handle: Handle) -> Result<&mut Option<T>, Fault> {
        let kind = Kind::of(handle);
        if kind != Some(T::KIND) {
            let message = format!("handle {handle} names {}, expected {}", Self::name(kind), T::NAME);
            return Err(Fault::new(FaultCode::BadHandle, message));
        }
        T::pool(self).places.get_mut(place(handle) as usize).ok_or_else(|| not_live(handle))
    }
}

fn not_live(handle: Handle) -> Fault {
    Fault::new(FaultCode::BadHandle, format!("handle {handle} names no live object"))
}
