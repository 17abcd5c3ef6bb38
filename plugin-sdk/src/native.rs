//! The boundary of a native plugin: the host's C table as [`HostCalls`], a [`Package`] as the plugin's table.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Once, OnceLock};

use querist_protocol::abi::{self, Bytes, Call, HostApi, NO_HANDLE, NO_ROW, PluginApi, Status};
use querist_protocol::{
    DesignOptions, Fault, FaultCode, Handle, HostCalls, Init, KmeansOptions, LogLevel, Merge, Metric, QueryInfo,
    Reduction, Selection, Similarity, SimilarityKind, StrategyError, StreamScope, Uncertainty,
};

use crate::host::Host;
use crate::package::Package;
use crate::strategy::Result;

/// The host's table, once this library was entered.
static HOST: OnceLock<&'static HostApi> = OnceLock::new();

/// Takes the host's table at the entry; `None` if the host is too old for this plugin.
///
/// # Safety
/// `host` is null or points to a table that lives as long as the process.
pub unsafe fn enter(host: *const HostApi) -> Option<()> {
    // SAFETY: the caller's promise.
    let host = unsafe { host.as_ref() }?;
    // Every function of this version is used, so a shorter table is of an older host.
    if (host.size as usize) < size_of::<HostApi>() {
        return None;
    }
    report_panics();
    HOST.get_or_init(|| host);
    Some(())
}

/// What plugins do on loading that bring nothing with them.
#[doc(hidden)]
pub fn nothing() {}

/// The host's side of one call into this plugin.
#[derive(Clone, Copy)]
pub struct Table {
    api: &'static HostApi,
    call: *mut Call,
}

impl Table {
    /// The host's side of `call`.
    ///
    /// # Panics
    /// If the library was not entered, which no host can cause by its table.
    pub fn of(call: *mut Call) -> Self {
        Self { api: HOST.get().expect("the host enters a plugin before it calls it"), call }
    }

    /// The host's functions.
    pub fn api(&self) -> &'static HostApi {
        self.api
    }

    /// The call, for functions of [`Table::api`].
    pub fn call(&self) -> *mut Call {
        self.call
    }

    /// The host as strategies use it.
    pub fn host(self) -> Host {
        Host::new(Rc::new(self))
    }

    /// Turns a status of the host into a result.
    ///
    /// # Errors
    /// The fault, if the call was refused.
    pub fn check(&self, status: Status) -> Result<(), Fault> {
        match status {
            abi::OK => Ok(()),
            refused => Err(self.fault(refused)),
        }
    }

    fn fault(&self, status: Status) -> Fault {
        let mut text = vec![0u8; 512];
        // SAFETY: the host writes up to the length it is given.
        let len = unsafe { (self.api.fault_text)(self.call, text.as_mut_ptr(), text.len()) };
        if len > text.len() {
            text.resize(len, 0);
            // SAFETY: as above.
            unsafe { (self.api.fault_text)(self.call, text.as_mut_ptr(), text.len()) };
        }
        text.truncate(len);
        Fault::new(FaultCode::of_status(status).unwrap_or(FaultCode::BadArgument), String::from_utf8_lossy(&text))
    }

    /// Tells the host why there is no answer.
    pub fn fail(&self, error: &StrategyError) {
        let (kind, fault) = match error {
            StrategyError::InvalidParams(_) => (abi::FAIL_INVALID_PARAMS, abi::OK),
            StrategyError::Unknown(_) => (abi::FAIL_UNKNOWN, abi::OK),
            StrategyError::Fault(fault) => (abi::FAIL_FAULT, fault.code.status()),
            _ => (abi::FAIL_FAILED, abi::OK),
        };
        let message = match error {
            StrategyError::InvalidParams(message) | StrategyError::Unknown(message) => message.clone(),
            other => other.to_string(),
        };
        // SAFETY: the message outlives the call.
        unsafe { (self.api.fail)(self.call, kind, fault, Bytes::of(message.as_bytes())) };
    }

    /// Answers with a text.
    ///
    /// # Errors
    /// If the host refuses it.
    pub fn answer_text(&self, text: &str) -> Result<()> {
        // SAFETY: the text outlives the call.
        Ok(self.check(unsafe { (self.api.answer_text)(self.call, Bytes::of(text.as_bytes())) })?)
    }

    /// Answers with rows, figures and state.
    ///
    /// # Errors
    /// If the host refuses them.
    pub fn answer_selection(&self, selection: &Selection) -> Result<()> {
        let Selection { rows, scores, diagnostics, state } = selection;
        if !scores.is_empty() && scores.len() != rows.len() {
            let message = format!("{} scores for {} rows", scores.len(), rows.len());
            return Err(StrategyError::Failed(message));
        }
        let values = if scores.is_empty() { std::ptr::null() } else { scores.as_ptr() };
        // SAFETY: as many values as rows, or null.
        self.check(unsafe { (self.api.answer_rows)(self.call, rows.as_ptr(), values, rows.len()) })?;
        for (name, value) in diagnostics {
            // SAFETY: the name outlives the call.
            self.check(unsafe { (self.api.answer_diagnostic)(self.call, Bytes::of(name.as_bytes()), *value) })?;
        }
        if let Some(state) = state {
            // SAFETY: the state outlives the call.
            self.check(unsafe { (self.api.answer_state)(self.call, Bytes::of(state)) })?;
        }
        Ok(())
    }
}

thread_local! {
    /// Text of the last panic on this thread.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps message and place of a panic for the host, instead of printing them.
fn report_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let text = panic.to_string();
            PANIC.with_borrow_mut(|kept| *kept = Some(text));
        }));
    });
}

/// Runs the body of an exported function: errors and panics become a status, and the host is told.
#[expect(clippy::not_unsafe_ptr_arg_deref, reason = "the pointer goes back to the host; nothing here looks behind it")]
pub fn guarded(call: *mut Call, body: impl FnOnce(Table) -> Result<()>) -> Status {
    // What a caught panic may leave half done belongs to the strategy, which the host then no longer calls.
    match catch_unwind(AssertUnwindSafe(|| {
        let table = Table::of(call);
        body(table).inspect_err(|error| table.fail(error))
    })) {
        Ok(Ok(())) => abi::OK,
        Ok(Err(_)) => abi::FAILED,
        Err(payload) => {
            let text = PANIC.with_borrow_mut(Option::take).unwrap_or_else(|| payload_text(&*payload));
            if let Some(api) = HOST.get() {
                // SAFETY: the text outlives the call.
                unsafe { (api.fail)(call, abi::FAIL_PANIC, abi::OK, Bytes::of(text.as_bytes())) };
            }
            abi::PANICKED
        }
    }
}

fn payload_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

/// A text that the host handed in.
///
/// # Errors
/// If it is not UTF-8.
///
/// # Safety
/// As for [`Bytes::get`].
pub unsafe fn text<'a>(bytes: Bytes) -> Result<&'a str> {
    // SAFETY: the caller's promise.
    std::str::from_utf8(unsafe { bytes.get() }).map_err(|_| StrategyError::Failed("a text is not UTF-8".to_owned()))
}

/// Names the package that a library exports.
pub trait Exports {
    /// The package.
    const PACKAGE: &'static Package;
}

/// The table of a package whose strategies answer from arrays.
pub const fn table<P: Exports>() -> PluginApi {
    PluginApi {
        size: size_of::<PluginApi>() as u32,
        minor: abi::ABI_MINOR as u32,
        describe: Some(describe::<P>),
        needs: Some(needs::<P>),
        score: Some(score::<P>),
        select: Some(select::<P>),
        create: None,
        destroy: None,
        has_hooks: None,
        plan_round: None,
        train_begin: None,
        epoch_begin: None,
        batch_loss: None,
        batch_step: None,
        epoch_end: None,
        train_end: None,
        query: None,
        save_state: None,
    }
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StrategyError::Failed(error.to_string()))
}

unsafe extern "C" fn describe<P: Exports>(call: *mut Call) -> Status {
    guarded(call, |table| table.answer_text(&json(&P::PACKAGE.describe())?))
}

unsafe extern "C" fn needs<P: Exports>(call: *mut Call, id: Bytes, params: Bytes) -> Status {
    guarded(call, |table| {
        // SAFETY: the host's texts live through the call.
        let (id, params) = unsafe { (text(id)?, text(params)?) };
        let needs: Vec<String> = P::PACKAGE.needs(id, params)?.iter().map(ToString::to_string).collect();
        table.answer_text(&json(&needs)?)
    })
}

unsafe extern "C" fn score<P: Exports>(call: *mut Call, id: Bytes, params: Bytes) -> Status {
    guarded(call, |table| {
        // SAFETY: the host's texts live through the call.
        let (id, params) = unsafe { (text(id)?, text(params)?) };
        let scores = P::PACKAGE.score(id, params, table.host())?;
        let second = scores.second.map_or(NO_HANDLE, |second| second.into_handle());
        // SAFETY: handles of this call.
        Ok(table.check(unsafe { (table.api.answer_scores)(call, scores.primary.into_handle(), second) })?)
    })
}

unsafe extern "C" fn select<P: Exports>(call: *mut Call, id: Bytes, params: Bytes, state: Bytes) -> Status {
    guarded(call, |table| {
        // SAFETY: the host's texts and bytes live through the call.
        let (id, params, state) = unsafe { (text(id)?, text(params)?, state.get()) };
        let state = (!state.is_empty()).then(|| state.to_vec());
        table.answer_selection(&P::PACKAGE.select(id, params, state, table.host())?)
    })
}

/// Exports a package as a native plugin: the entry function and the identity section. Once in a library of crate type
/// `cdylib`.
///
/// ```ignore
/// export_native!(strategy_badge::PACKAGE);
/// ```
///
/// `on_load = FUNCTION` names a `fn()` that is called once, when the plugin is loaded: for a library that it brings with
/// it in a memory file. A plugin in a worker process can have one such file, and can open nothing else.
#[macro_export]
macro_rules! export_native {
    ($package:path) => {
        $crate::export_native!($package, on_load = $crate::native::nothing);
    };
    ($package:path, on_load = $load:path) => {
        const _: () = {
            struct Library;
            impl $crate::native::Exports for Library {
                const PACKAGE: &'static $crate::Package = &$package;
            }
            static TABLE: $crate::protocol::abi::PluginApi = $crate::native::table::<Library>();

            $crate::native_entry!(TABLE, $load);
            $crate::native_identity!($package.name, $package.version, $crate::protocol::abi::TIER_PLAIN, 0, "");
        };
    };
}

/// The entry function of a native plugin with this table.
#[doc(hidden)]
#[macro_export]
macro_rules! native_entry {
    ($table:ident) => {
        $crate::native_entry!($table, $crate::native::nothing);
    };
    ($table:ident, $load:path) => {
        /// # Safety
        /// `host` is the host's table.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn querist_plugin_v1(
            host: *const $crate::protocol::abi::HostApi,
        ) -> *const $crate::protocol::abi::PluginApi {
            // SAFETY: the host's promise.
            match unsafe { $crate::native::enter(host) } {
                Some(()) => {
                    $load();
                    &raw const $table
                }
                None => std::ptr::null(),
            }
        }
    };
}

/// The identity section of a native plugin.
#[doc(hidden)]
#[macro_export]
macro_rules! native_identity {
    ($name:expr, $version:expr, $tier:expr, $cxx11:expr, $libtorch:expr) => {
        #[used]
        #[unsafe(link_section = ".querist")]
        static IDENTITY: $crate::protocol::abi::Identity = $crate::protocol::abi::Identity {
            magic: $crate::protocol::abi::IDENTITY_MAGIC,
            size: size_of::<$crate::protocol::abi::Identity>() as u32,
            abi_major: $crate::protocol::abi::ABI_MAJOR,
            abi_minor: $crate::protocol::abi::ABI_MINOR,
            panic: if cfg!(panic = "abort") {
                $crate::protocol::abi::PANIC_ABORT
            } else {
                $crate::protocol::abi::PANIC_UNWIND
            },
            tier: $tier,
            cxx11: $cxx11,
            reserved: 0,
            package: $crate::protocol::abi::padded($name),
            version: $crate::protocol::abi::padded($version),
            compiler: $crate::protocol::abi::padded($crate::native::COMPILER),
            target: $crate::protocol::abi::padded($crate::native::TARGET),
            libtorch: $crate::protocol::abi::padded($libtorch),
            description: [0; 32],
        };
    };
}

/// The compiler of this SDK, and so of the plugin.
#[doc(hidden)]
pub const COMPILER: &str = env!("QUERIST_COMPILER");
/// The target triple.
#[doc(hidden)]
pub const TARGET: &str = env!("QUERIST_TARGET");

macro_rules! fetch {
    // A call that writes its one result to a variable.
    ($self:ident.$name:ident($($arg:expr),*)) => {{
        let mut out = Default::default();
        // SAFETY: handles are checked by the host, and `out` has room for the result.
        $self.check(unsafe { ($self.api.$name)($self.call, $($arg,)* &raw mut out) })?;
        out
    }};
}

macro_rules! list {
    // A call that fills a list whose length is known.
    ($self:ident.$name:ident($($arg:expr),*), $len:expr) => {{
        let mut out = vec![Default::default(); $len as usize];
        // SAFETY: the host writes as many values as were asked for, and there is room for them.
        $self.check(unsafe { ($self.api.$name)($self.call, $($arg,)* out.as_mut_ptr()) })?;
        out
    }};
}

macro_rules! measured {
    // A call that tells how long its list is.
    ($self:ident.$name:ident($($arg:expr),*)) => {{
        let mut count = 0u32;
        // SAFETY: without room nothing is written but the length.
        $self.check(unsafe { ($self.api.$name)($self.call, $($arg,)* std::ptr::null_mut(), 0, &raw mut count) })?;
        let mut out = vec![Default::default(); count as usize];
        // SAFETY: there is room for `count` values.
        $self.check(unsafe { ($self.api.$name)($self.call, $($arg,)* out.as_mut_ptr(), count, &raw mut count) })?;
        out
    }};
}

fn handle_or_none(handle: Option<Handle>) -> u32 {
    handle.unwrap_or(NO_HANDLE)
}

fn row_or_none(row: u32) -> Option<u32> {
    (row != NO_ROW).then_some(row)
}

fn bytes(text: &str) -> Bytes {
    Bytes::of(text.as_bytes())
}

fn metric(metric: Metric) -> u32 {
    match metric {
        Metric::SqEuclidean => 0,
        Metric::Euclidean => 1,
        Metric::Cosine => 2,
    }
}

impl HostCalls for Table {
    fn release(&self, handle: Handle) {
        // SAFETY: the host checks handles.
        unsafe { (self.api.release)(self.call, handle) };
    }

    fn info(&self) -> QueryInfo {
        let mut info = abi::Info::default();
        // SAFETY: `info` has room. The call cannot be refused; zeros would show it.
        unsafe { (self.api.info)(self.call, &raw mut info) };
        let abi::Info { rows, first_row, labelled_rows, classes, batch, round } = info;
        QueryInfo { rows, first_row, labelled_rows, classes, batch, round }
    }

    fn ids(&self, start: u32, count: u32) -> Result<Vec<u64>, Fault> {
        Ok(list!(self.ids(start, count), count))
    }

    fn input(&self, name: &str) -> Result<Handle, Fault> {
        Ok(fetch!(self.input(bytes(name))))
    }

    fn labels(&self, name: &str, start: u32, count: u32) -> Result<Vec<u32>, Fault> {
        Ok(list!(self.labels(bytes(name), start, count), count))
    }

    fn log(&self, level: LogLevel, message: &str) -> Result<(), Fault> {
        let level = match level {
            LogLevel::Debug => 0,
            LogLevel::Info => 1,
            LogLevel::Warning => 2,
        };
        // SAFETY: the message outlives the call.
        self.check(unsafe { (self.api.log)(self.call, level, bytes(message)) })
    }

    fn panicked(&self, message: &str) {
        // SAFETY: the message outlives the call.
        unsafe { (self.api.fail)(self.call, abi::FAIL_PANIC, abi::OK, bytes(message)) };
    }

    fn progress(&self, done: u64, total: u64) -> Result<(), Fault> {
        // SAFETY: numbers only.
        self.check(unsafe { (self.api.progress)(self.call, done, total) })
    }

    fn stream(&self, tag: &str, scope: StreamScope) -> Result<Handle, Fault> {
        let scope = match scope {
            StreamScope::Round => 0,
            StreamScope::Run => 1,
        };
        Ok(fetch!(self.stream(bytes(tag), scope)))
    }

    fn stream_uniforms(&self, stream: Handle, count: u32) -> Result<Vec<f64>, Fault> {
        Ok(list!(self.stream_uniforms(stream, count), count))
    }

    fn stream_by_row(&self, stream: Handle, step: u32) -> Result<Handle, Fault> {
        Ok(fetch!(self.stream_by_row(stream, step)))
    }

    fn vector(&self, values: &[f64]) -> Result<Handle, Fault> {
        Ok(fetch!(self.vector(values.as_ptr(), values.len())))
    }

    fn vector_len(&self, vector: Handle) -> Result<u32, Fault> {
        Ok(fetch!(self.vector_len(vector)))
    }

    fn vector_read(&self, vector: Handle, start: u32, count: u32) -> Result<Vec<f64>, Fault> {
        Ok(list!(self.vector_read(vector, start, count), count))
    }

    fn vector_top(
        &self,
        vector: Handle,
        second: Option<Handle>,
        count: u32,
        excluded: Option<Handle>,
    ) -> Result<Vec<u32>, Fault> {
        // No more rows than values come back, so no more room is needed.
        let room = count.min(self.vector_len(vector)?);
        let mut rows = vec![0u32; room as usize];
        let mut written = 0;
        let (second, excluded) = (handle_or_none(second), handle_or_none(excluded));
        // SAFETY: there is room for `room` rows, and the host writes no more than it is asked for.
        self.check(unsafe {
            (self.api.vector_top)(self.call, vector, second, room, excluded, rows.as_mut_ptr(), &raw mut written)
        })?;
        rows.truncate(written as usize);
        Ok(rows)
    }

    fn vector_draw(&self, vector: Handle, stream: Handle, excluded: Option<Handle>) -> Result<Option<u32>, Fault> {
        Ok(row_or_none(fetch!(self.vector_draw(vector, stream, handle_or_none(excluded)))))
    }

    fn mask(&self, rows: u32) -> Result<Handle, Fault> {
        Ok(fetch!(self.mask(rows)))
    }

    fn mask_exclude(&self, mask: Handle, rows: &[u32]) -> Result<(), Fault> {
        // SAFETY: the list outlives the call.
        self.check(unsafe { (self.api.mask_exclude)(self.call, mask, rows.as_ptr(), rows.len()) })
    }

    fn mask_count(&self, mask: Handle) -> Result<u32, Fault> {
        Ok(fetch!(self.mask_count(mask)))
    }

    fn matrix(&self, rows: u32, columns: u32, values: &[f32]) -> Result<Handle, Fault> {
        let wanted = u64::from(rows) * u64::from(columns);
        if wanted != values.len() as u64 {
            let message = format!("{} values for a matrix of {rows} x {columns}", values.len());
            return Err(Fault::new(FaultCode::BadShape, message));
        }
        Ok(fetch!(self.matrix(rows, columns, values.as_ptr())))
    }

    fn matrix_shape(&self, matrix: Handle) -> Result<(u32, u32), Fault> {
        let (mut rows, mut columns) = (0, 0);
        // SAFETY: there is room for both numbers.
        self.check(unsafe { (self.api.matrix_shape)(self.call, matrix, &raw mut rows, &raw mut columns) })?;
        Ok((rows, columns))
    }

    fn matrix_read(&self, matrix: Handle, start: u32, count: u32) -> Result<Vec<f32>, Fault> {
        let (rows, columns) = self.matrix_shape(matrix)?;
        // More rows than there are would be refused; no room is made for them.
        let mut out = vec![0f32; count.min(rows) as usize * columns as usize];
        // SAFETY: the host checks that what it writes fits the room.
        self.check(unsafe { (self.api.matrix_read)(self.call, matrix, start, count, out.as_mut_ptr(), out.len()) })?;
        Ok(out)
    }

    fn matrix_gather(&self, matrix: Handle, rows: &[u32]) -> Result<Handle, Fault> {
        Ok(fetch!(self.matrix_gather(matrix, rows.as_ptr(), rows.len())))
    }

    fn matrix_normalise(&self, matrix: Handle) -> Result<Handle, Fault> {
        Ok(fetch!(self.matrix_normalise(matrix)))
    }

    fn matrix_sq_norms(&self, matrix: Handle) -> Result<Handle, Fault> {
        Ok(fetch!(self.matrix_sq_norms(matrix)))
    }

    fn matrix_mean(&self, matrix: Handle) -> Result<Vec<f64>, Fault> {
        Ok(measured!(self.matrix_mean(matrix)))
    }

    fn matrix_product(&self, left: Handle, right: Handle, transpose_right: bool) -> Result<Handle, Fault> {
        Ok(fetch!(self.matrix_product(left, right, transpose_right)))
    }

    fn softmax(&self, logits: Handle) -> Result<Handle, Fault> {
        Ok(fetch!(self.softmax(logits)))
    }

    fn residual(&self, logits: Handle) -> Result<Handle, Fault> {
        Ok(fetch!(self.residual(logits)))
    }

    fn uncertainty(&self, logits: Handle, measure: Uncertainty) -> Result<(Handle, Handle), Fault> {
        let measure = match measure {
            Uncertainty::LeastConfidence => 0,
            Uncertainty::Margin => 1,
            Uncertainty::Ratio => 2,
            Uncertainty::Entropy => 3,
        };
        let (mut first, mut second) = (0, 0);
        // SAFETY: there is room for both handles.
        self.check(unsafe { (self.api.uncertainty)(self.call, logits, measure, &raw mut first, &raw mut second) })?;
        Ok((first, second))
    }

    fn distance_reduce(
        &self,
        rows: Handle,
        centres: Handle,
        distance: Metric,
        reduction: Reduction,
    ) -> Result<Handle, Fault> {
        let (reduction, radius) = match reduction {
            Reduction::Min => (0, 0.0),
            Reduction::Argmin => (1, 0.0),
            Reduction::Sum => (2, 0.0),
            Reduction::CountWithin(radius) => (3, radius),
        };
        Ok(fetch!(self.distance_reduce(rows, centres, metric(distance), reduction, radius)))
    }

    fn neighbour_distance(&self, rows: Handle, neighbours: u32, distance: Metric) -> Result<Handle, Fault> {
        Ok(fetch!(self.neighbour_distance(rows, neighbours, metric(distance))))
    }

    fn neighbours_within(&self, rows: Handle, radius: f64, distance: Metric) -> Result<Handle, Fault> {
        Ok(fetch!(self.neighbours_within(rows, radius, metric(distance))))
    }

    fn graph_degrees(&self, graph: Handle) -> Result<Handle, Fault> {
        Ok(fetch!(self.graph_degrees(graph)))
    }

    fn graph_neighbours(&self, graph: Handle, row: u32) -> Result<Vec<u32>, Fault> {
        Ok(measured!(self.graph_neighbours(graph, row)))
    }

    fn points(&self, matrix: Handle) -> Result<Handle, Fault> {
        Ok(fetch!(self.points(matrix)))
    }

    fn points_factored(&self, left: Handle, right: Handle) -> Result<Handle, Fault> {
        Ok(fetch!(self.points_factored(left, right)))
    }

    fn points_sq_norms(&self, points: Handle) -> Result<Handle, Fault> {
        Ok(fetch!(self.points_sq_norms(points)))
    }

    fn nearest(&self, points: Handle, distance: Metric) -> Result<Handle, Fault> {
        Ok(fetch!(self.nearest(points, metric(distance))))
    }

    fn nearest_add(&self, nearest: Handle, rows: &[u32]) -> Result<(), Fault> {
        // SAFETY: the list outlives the call.
        self.check(unsafe { (self.api.nearest_add)(self.call, nearest, rows.as_ptr(), rows.len()) })
    }

    fn nearest_add_points(&self, nearest: Handle, points: Handle) -> Result<(), Fault> {
        // SAFETY: handles only.
        self.check(unsafe { (self.api.nearest_add_points)(self.call, nearest, points) })
    }

    fn nearest_farthest(&self, nearest: Handle, excluded: Option<Handle>) -> Result<Option<(u32, f64)>, Fault> {
        let (mut row, mut distance) = (0, 0.0);
        let excluded = handle_or_none(excluded);
        // SAFETY: there is room for both numbers.
        self.check(unsafe {
            (self.api.nearest_farthest)(self.call, nearest, excluded, &raw mut row, &raw mut distance)
        })?;
        Ok(row_or_none(row).map(|row| (row, distance)))
    }

    fn nearest_draw(&self, nearest: Handle, stream: Handle, excluded: Option<Handle>) -> Result<Option<u32>, Fault> {
        Ok(row_or_none(fetch!(self.nearest_draw(nearest, stream, handle_or_none(excluded)))))
    }

    fn nearest_values(&self, nearest: Handle) -> Result<Handle, Fault> {
        Ok(fetch!(self.nearest_values(nearest)))
    }

    fn kmeans(
        &self,
        rows: Handle,
        weights: Option<Handle>,
        options: KmeansOptions,
        stream: Handle,
    ) -> Result<Handle, Fault> {
        let KmeansOptions { clusters, restarts, max_iterations, tolerance, init } = options;
        let init = match init {
            Init::KmeansPlusPlus => 0,
            Init::RandomPoints => 1,
        };
        let options = abi::Kmeans { clusters, restarts, max_iterations, init, tolerance };
        Ok(fetch!(self.kmeans(rows, handle_or_none(weights), &raw const options, stream)))
    }

    fn clustering_sizes(&self, clustering: Handle) -> Result<Vec<u32>, Fault> {
        Ok(measured!(self.clustering_sizes(clustering)))
    }

    fn clustering_read(&self, clustering: Handle, start: u32, count: u32) -> Result<Vec<u32>, Fault> {
        Ok(list!(self.clustering_read(clustering, start, count), count))
    }

    fn clustering_centres(&self, clustering: Handle) -> Result<Handle, Fault> {
        Ok(fetch!(self.clustering_centres(clustering)))
    }

    fn clustering_inertia(&self, clustering: Handle) -> Result<f64, Fault> {
        Ok(fetch!(self.clustering_inertia(clustering)))
    }

    fn clustering_representatives(
        &self,
        clustering: Handle,
        excluded: Option<Handle>,
    ) -> Result<Vec<Option<u32>>, Fault> {
        let rows: Vec<u32> = measured!(self.clustering_representatives(clustering, handle_or_none(excluded)));
        Ok(rows.into_iter().map(row_or_none).collect())
    }

    fn labelled_ids(&self, start: u32, count: u32) -> Result<Vec<u64>, Fault> {
        Ok(list!(self.labelled_ids(start, count), count))
    }

    fn matrix_stack(&self, top: Handle, bottom: Handle) -> Result<Handle, Fault> {
        Ok(fetch!(self.matrix_stack(top, bottom)))
    }

    fn facility(
        &self,
        rows: Handle,
        references: Handle,
        weights: Option<Handle>,
        similarity: Similarity,
    ) -> Result<Handle, Fault> {
        let kind = match similarity.kind {
            SimilarityKind::Rbf => 0,
            SimilarityKind::Laplace => 1,
            SimilarityKind::Student => 2,
            SimilarityKind::Cauchy => 3,
            SimilarityKind::TopHat => 4,
        };
        Ok(fetch!(self.facility(rows, references, handle_or_none(weights), kind, similarity.width)))
    }

    fn facility_add(&self, facility: Handle, rows: &[u32]) -> Result<(), Fault> {
        // SAFETY: the list outlives the call.
        self.check(unsafe { (self.api.facility_add)(self.call, facility, rows.as_ptr(), rows.len()) })
    }

    fn facility_add_others(&self, facility: Handle, others: Handle) -> Result<(), Fault> {
        // SAFETY: handles only.
        self.check(unsafe { (self.api.facility_add_others)(self.call, facility, others) })
    }

    fn facility_best(&self, facility: Handle, excluded: Option<Handle>) -> Result<Option<(u32, f64)>, Fault> {
        let (mut row, mut gain) = (0, 0.0);
        let excluded = handle_or_none(excluded);
        // SAFETY: there is room for both numbers.
        self.check(unsafe { (self.api.facility_best)(self.call, facility, excluded, &raw mut row, &raw mut gain) })?;
        Ok(row_or_none(row).map(|row| (row, gain)))
    }

    fn mixture_entropy(&self, log_probs: Handle, weights: Handle, shares: Handle) -> Result<Handle, Fault> {
        Ok(fetch!(self.mixture_entropy(log_probs, weights, shares)))
    }

    fn average_linkage(&self, rows: Handle, distance: Metric) -> Result<Vec<Merge>, Fault> {
        // Asking for the length would cluster once for nothing, and it is known.
        let (count, _) = self.matrix_shape(rows)?;
        let mut merges = vec![abi::Merge::default(); count as usize];
        let mut written = 0;
        // SAFETY: there is room for as many merges as rows, and there is one fewer.
        self.check(unsafe {
            (self.api.average_linkage)(self.call, rows, metric(distance), merges.as_mut_ptr(), count, &raw mut written)
        })?;
        merges.truncate(written as usize);
        Ok(merges.into_iter().map(|abi::Merge { left, right, height }| Merge { left, right, height }).collect())
    }

    fn design(
        &self,
        pool: (Handle, Handle),
        labelled: (Handle, Handle),
        options: DesignOptions,
    ) -> Result<Handle, Fault> {
        let DesignOptions { rank, ridge, labelled_weight, added_weight } = options;
        let options = abi::Design { rank, ridge, labelled_weight, added_weight };
        Ok(fetch!(self.design(pool.0, pool.1, labelled.0, labelled.1, &raw const options)))
    }

    fn design_best(&self, design: Handle) -> Result<Option<(u32, f64)>, Fault> {
        let (mut row, mut fall) = (0, 0.0);
        // SAFETY: there is room for both numbers.
        self.check(unsafe { (self.api.design_best)(self.call, design, &raw mut row, &raw mut fall) })?;
        Ok(row_or_none(row).map(|row| (row, fall)))
    }

    fn design_least(&self, design: Handle) -> Result<Option<(u32, f64)>, Fault> {
        let (mut row, mut rise) = (0, 0.0);
        // SAFETY: there is room for both numbers.
        self.check(unsafe { (self.api.design_least)(self.call, design, &raw mut row, &raw mut rise) })?;
        Ok(row_or_none(row).map(|row| (row, rise)))
    }

    fn design_add(&self, design: Handle, row: u32) -> Result<(), Fault> {
        // SAFETY: numbers only.
        self.check(unsafe { (self.api.design_add)(self.call, design, row) })
    }

    fn design_remove(&self, design: Handle, row: u32) -> Result<(), Fault> {
        // SAFETY: numbers only.
        self.check(unsafe { (self.api.design_remove)(self.call, design, row) })
    }

    fn has(&self, name: &str) -> Result<bool, Fault> {
        Ok(fetch!(self.has(bytes(name))))
    }

    fn head_logits(&self, embeddings: Handle) -> Result<Handle, Fault> {
        Ok(fetch!(self.head_logits(embeddings)))
    }

    fn head_gradients(&self, embeddings: Handle, classes: &[u32]) -> Result<Handle, Fault> {
        Ok(fetch!(self.head_gradients(embeddings, classes.as_ptr(), classes.len())))
    }
}
