//! HiGHS, a solver of mixed-integer programs, through its C interface.
//!
//! Huangfu and Hall, "Parallelizing the dual revised simplex method", Mathematical Programming Computation 10 (2018).
//! The solver's library is part of this one, so that the digest of the package covers it; it is loaded from memory
//! while the plugin is, because a worker without files could not do so later.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use rustix::fs::{MemfdFlags, memfd_create};

static BYTES: &[u8] = include_bytes!(env!("HIGHS_LIBRARY"));

/// Whole numbers of the interface; checked when it is loaded.
type Int = i32;
type Handle = *mut c_void;
type Callback = extern "C" fn(c_int, *const c_char, *const c_void, *mut Wish, *mut c_void);

/// What a callback may wish for; the first of the solver's fields.
#[repr(C)]
struct Wish {
    interrupt: c_int,
}

/// By rows.
const ROW_WISE: Int = 2;
const MINIMISE: Int = 1;
const SIMPLEX_INTERRUPT: c_int = 1;
const TREE_INTERRUPT: c_int = 6;
const OPTIMAL: Int = 7;
const INFEASIBLE: Int = 8;
const UNBOUNDED_OR_INFEASIBLE: Int = 9;
const FEASIBLE_POINT: Int = 2;
const OK: Int = 0;

type SetNumber<T> = unsafe extern "C" fn(Handle, *const c_char, T) -> Int;
type PassProgram = unsafe extern "C" fn(
    Handle,
    Int,
    Int,
    Int,
    Int,
    Int,
    f64,
    *const f64,
    *const f64,
    *const f64,
    *const f64,
    *const f64,
    *const Int,
    *const Int,
    *const f64,
    *const Int,
) -> Int;

struct Functions {
    create: unsafe extern "C" fn() -> Handle,
    destroy: unsafe extern "C" fn(Handle),
    set_bool: SetNumber<Int>,
    set_int: SetNumber<Int>,
    set_double: SetNumber<f64>,
    set_text: SetNumber<*const c_char>,
    pass_program: PassProgram,
    run: unsafe extern "C" fn(Handle) -> Int,
    status: unsafe extern "C" fn(Handle) -> Int,
    int_info: unsafe extern "C" fn(Handle, *const c_char, *mut Int) -> Int,
    double_info: unsafe extern "C" fn(Handle, *const c_char, *mut f64) -> Int,
    solution: unsafe extern "C" fn(Handle, *mut f64, *mut f64, *mut f64, *mut f64) -> Int,
    set_callback: unsafe extern "C" fn(Handle, Callback, *mut c_void) -> Int,
    start_callback: unsafe extern "C" fn(Handle, c_int) -> Int,
}

static FUNCTIONS: OnceLock<Result<Functions, String>> = OnceLock::new();

/// Loads the solver; what goes wrong is told when it is needed.
pub fn load() {
    FUNCTIONS.get_or_init(|| read().map_err(|error| format!("HiGHS cannot be loaded: {error}")));
}

fn read() -> Result<Functions, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let file = memfd_create("highs", MemfdFlags::CLOEXEC).map_err(|error| text(&error))?;
    let mut file = File::from(file);
    file.write_all(BYTES).map_err(|error| text(&error))?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: the bytes are the solver's, as it was published; its initialisers only fill its own tables.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| text(&error))?;
    macro_rules! function {
        ($name:literal) => {
            // SAFETY: the C interface of this version has this function with this type.
            *unsafe { library.get($name) }.map_err(|error| text(&error))?
        };
    }
    let int_bytes: unsafe extern "C" fn(Handle) -> Int = function!(b"Highs_getSizeofHighsInt\0");
    let functions = Functions {
        create: function!(b"Highs_create\0"),
        destroy: function!(b"Highs_destroy\0"),
        set_bool: function!(b"Highs_setBoolOptionValue\0"),
        set_int: function!(b"Highs_setIntOptionValue\0"),
        set_double: function!(b"Highs_setDoubleOptionValue\0"),
        set_text: function!(b"Highs_setStringOptionValue\0"),
        pass_program: function!(b"Highs_passMip\0"),
        run: function!(b"Highs_run\0"),
        status: function!(b"Highs_getModelStatus\0"),
        int_info: function!(b"Highs_getIntInfoValue\0"),
        double_info: function!(b"Highs_getDoubleInfoValue\0"),
        solution: function!(b"Highs_getSolution\0"),
        set_callback: function!(b"Highs_setCallback\0"),
        start_callback: function!(b"Highs_startCallback\0"),
    };
    // Never unloaded, and its name stays taken.
    std::mem::forget(library);
    std::mem::forget(file);
    // SAFETY: a solver that is created and destroyed here.
    let bytes = unsafe {
        let solver = (functions.create)();
        let bytes = int_bytes(solver);
        (functions.destroy)(solver);
        bytes
    };
    if bytes as usize != size_of::<Int>() {
        return Err(format!("its whole numbers have {bytes} bytes, expected {}", size_of::<Int>()));
    }
    Ok(functions)
}

/// A program: least cost, over columns between 0 and a bound of 1 or infinity, of which some are whole.
#[derive(Debug, Default)]
pub struct Program {
    costs: Vec<f64>,
    bounds: Vec<f64>,
    whole: Vec<Int>,
    /// Where each row's entries start.
    starts: Vec<Int>,
    columns: Vec<Int>,
    entries: Vec<f64>,
    lower: Vec<f64>,
    upper: Vec<f64>,
}

/// The best solution of a program, as far as it was looked for.
#[derive(Debug)]
pub struct Best {
    /// The columns.
    pub values: Vec<f64>,
    /// What one more of each column would cost; only where no column is whole.
    pub reduced: Vec<f64>,
    /// No solution costs less.
    pub bound: f64,
    /// Whether it is known that none costs less.
    pub is_proven: bool,
}

/// How a program may end.
#[derive(Debug, PartialEq)]
pub enum End {
    /// The columns of a solution, not always the cheapest.
    Solution(Vec<f64>),
    Infeasible,
    /// A limit, the caller's wish, or numerical trouble.
    Stopped,
}

/// What one program may spend.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    pub seconds: f64,
    /// Nodes of the tree.
    pub nodes: Option<u64>,
}

impl Program {
    /// Adds a column and tells its number.
    pub fn column(&mut self, cost: f64, is_whole: bool) -> usize {
        self.bounded(cost, is_whole, 1.0)
    }

    /// Adds a column that may be any number of 0 or more, and tells its number.
    pub fn open_column(&mut self, cost: f64) -> usize {
        self.bounded(cost, false, f64::INFINITY)
    }

    fn bounded(&mut self, cost: f64, is_whole: bool, bound: f64) -> usize {
        self.costs.push(cost);
        self.bounds.push(bound);
        self.whole.push(Int::from(is_whole));
        self.costs.len() - 1
    }

    /// Adds a row: the sum of these columns lies between the two.
    pub fn row(&mut self, columns: impl IntoIterator<Item = usize>, lower: f64, upper: f64) {
        self.weighted_row(columns.into_iter().map(|column| (column, 1.0)), lower, upper);
    }

    /// Adds a row: the sum of so many times these columns lies between the two.
    pub fn weighted_row(&mut self, entries: impl IntoIterator<Item = (usize, f64)>, lower: f64, upper: f64) {
        self.starts.push(self.columns.len() as Int);
        for (column, entry) in entries {
            self.columns.push(column as Int);
            self.entries.push(entry);
        }
        self.lower.push(lower);
        self.upper.push(upper);
    }

    /// Looks for a solution, the first that is found. `is_wanted` is asked often whether to go on.
    ///
    /// # Errors
    /// If the solver cannot be loaded, or refuses the program.
    pub fn solve(&self, budget: Budget, is_wanted: &dyn Fn() -> bool) -> Result<End, String> {
        let solver = self.solver()?;
        solver.set_up(budget)?;
        checked(solver.set_int(c"mip_max_improving_sols", 1), "setting its options")?;
        solver.pass(self)?;
        let mut asked: &dyn Fn() -> bool = is_wanted;
        solver.listen((&raw mut asked).cast())?;
        solver.run(self.costs.len())
    }

    /// Looks for the best solution, within a number of nodes.
    ///
    /// # Errors
    /// If the solver cannot be loaded, refuses the program, or finds none.
    pub fn best(&self, nodes: Option<u64>, is_wanted: &dyn Fn() -> bool) -> Result<Best, String> {
        let solver = self.solver()?;
        solver.set_up(Budget { seconds: f64::INFINITY, nodes })?;
        // To the end, and not to within a share of it.
        [(c"mip_rel_gap", 0.0), (c"mip_abs_gap", 0.0)]
            .into_iter()
            .try_for_each(|(name, value)| checked(solver.set_double(name, value), "setting its options"))?;
        solver.pass(self)?;
        let mut asked: &dyn Fn() -> bool = is_wanted;
        solver.listen((&raw mut asked).cast())?;
        let values = match solver.run(self.costs.len())? {
            End::Solution(values) => values,
            End::Infeasible => return Err("HiGHS says that the program has no solution".to_owned()),
            End::Stopped => return Err("HiGHS was stopped before it found a solution".to_owned()),
        };
        let is_proven = solver.is_optimal();
        let is_whole = self.whole.contains(&1);
        let cost = values.iter().zip(&self.costs).map(|(value, cost)| value * cost).sum();
        let bound = if is_whole && !is_proven { solver.bound().unwrap_or(f64::NEG_INFINITY) } else { cost };
        let reduced = if is_whole { Vec::new() } else { solver.reduced(self.costs.len())? };
        Ok(Best { values, reduced, bound, is_proven })
    }

    /// A solver without options or program.
    fn solver(&self) -> Result<Solver<'static>, String> {
        load();
        let Some(Ok(functions)) = FUNCTIONS.get() else {
            return Err(FUNCTIONS.get().and_then(|loaded| loaded.as_ref().err().cloned()).unwrap_or_default());
        };
        let too_large = self.columns.len().max(self.costs.len()).max(self.lower.len()) > Int::MAX as usize;
        if too_large {
            return Err("the program has more than 2^31 entries; lower `max_points`".to_owned());
        }
        // SAFETY: makes a solver, which is destroyed with `Solver`.
        Ok(Solver { functions, handle: unsafe { (functions.create)() } })
    }
}

/// A solver with one program.
struct Solver<'a> {
    functions: &'a Functions,
    handle: Handle,
}

impl Drop for Solver<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `create`, and not used afterwards.
        unsafe { (self.functions.destroy)(self.handle) };
    }
}

/// Asks the caller, whose question `data` points to, whether to go on.
extern "C" fn ask(_: c_int, _: *const c_char, _: *const c_void, wish: *mut Wish, data: *mut c_void) {
    // SAFETY: `data` is the question that `Program::solve` keeps alive while the solver runs.
    let is_wanted = unsafe { &*data.cast::<&dyn Fn() -> bool>() };
    if !is_wanted() && !wish.is_null() {
        // SAFETY: the solver's own record, whose first field this is.
        unsafe { (*wish).interrupt = 1 };
    }
}

fn checked(status: Int, doing: &str) -> Result<(), String> {
    // 1 is a warning.
    if status == OK || status == 1 { Ok(()) } else { Err(format!("HiGHS failed while {doing}")) }
}

impl Solver<'_> {
    fn set_up(&self, budget: Budget) -> Result<(), String> {
        let (f, h) = (self.functions, self.handle);
        let nodes = budget.nodes.map_or(Int::MAX, |nodes| Int::try_from(nodes).unwrap_or(Int::MAX));
        // SAFETY: options of this version, with values of their types; texts end with 0.
        let all = unsafe {
            [
                (f.set_bool)(h, c"output_flag".as_ptr(), 0),
                // One thread: the same program has the same answer.
                (f.set_int)(h, c"threads".as_ptr(), 1),
                (f.set_text)(h, c"parallel".as_ptr(), c"off".as_ptr()),
                (f.set_int)(h, c"mip_max_nodes".as_ptr(), nodes),
                (f.set_double)(h, c"time_limit".as_ptr(), budget.seconds),
            ]
        };
        all.into_iter().try_for_each(|status| checked(status, "setting its options"))
    }

    fn pass(&self, program: &Program) -> Result<(), String> {
        let columns = program.costs.len();
        let zeros = vec![0.0; columns];
        // SAFETY: every pointer leads to as many values as the counts before say.
        let status = unsafe {
            (self.functions.pass_program)(
                self.handle,
                columns as Int,
                program.lower.len() as Int,
                program.columns.len() as Int,
                ROW_WISE,
                MINIMISE,
                0.0,
                program.costs.as_ptr(),
                zeros.as_ptr(),
                program.bounds.as_ptr(),
                program.lower.as_ptr(),
                program.upper.as_ptr(),
                program.starts.as_ptr(),
                program.columns.as_ptr(),
                program.entries.as_ptr(),
                program.whole.as_ptr(),
            )
        };
        checked(status, "reading the program")
    }

    fn listen(&self, question: *mut c_void) -> Result<(), String> {
        // SAFETY: the question lives until the solver is destroyed.
        checked(unsafe { (self.functions.set_callback)(self.handle, ask, question) }, "setting its callback")?;
        [SIMPLEX_INTERRUPT, TREE_INTERRUPT].into_iter().try_for_each(|kind| {
            // SAFETY: a kind of callback of this version.
            checked(unsafe { (self.functions.start_callback)(self.handle, kind) }, "starting its callback")
        })
    }

    fn run(&self, columns: usize) -> Result<End, String> {
        // SAFETY: a solver with a program.
        unsafe { (self.functions.run)(self.handle) };
        // SAFETY: the same.
        let status = unsafe { (self.functions.status)(self.handle) };
        if status == INFEASIBLE || status == UNBOUNDED_OR_INFEASIBLE {
            return Ok(End::Infeasible);
        }
        if self.info(c"primal_solution_status") != Some(FEASIBLE_POINT) {
            return Ok(End::Stopped);
        }
        let mut values = vec![0.0; columns];
        // SAFETY: room for every column; what is not wanted may be null.
        let status =
            unsafe { (self.functions.solution)(self.handle, values.as_mut_ptr(), null_mut(), null_mut(), null_mut()) };
        checked(status, "giving its solution")?;
        Ok(End::Solution(values))
    }

    fn set_int(&self, name: &CStr, value: Int) -> Int {
        // SAFETY: an option of this version, with a value of its type.
        unsafe { (self.functions.set_int)(self.handle, name.as_ptr(), value) }
    }

    fn set_double(&self, name: &CStr, value: f64) -> Int {
        // SAFETY: as before.
        unsafe { (self.functions.set_double)(self.handle, name.as_ptr(), value) }
    }

    fn is_optimal(&self) -> bool {
        // SAFETY: a solver with a program.
        unsafe { (self.functions.status)(self.handle) == OPTIMAL }
    }

    /// What no solution of a program with whole columns costs less than.
    fn bound(&self) -> Option<f64> {
        let mut value = 0.0;
        let name = c"mip_dual_bound";
        // SAFETY: a text that ends with 0, and room for a number.
        let status = unsafe { (self.functions.double_info)(self.handle, name.as_ptr(), &raw mut value) };
        (status == OK).then_some(value)
    }

    /// What one more of each column would cost.
    fn reduced(&self, columns: usize) -> Result<Vec<f64>, String> {
        let mut values = vec![0.0; columns];
        // SAFETY: room for every column; what is not wanted may be null.
        let status =
            unsafe { (self.functions.solution)(self.handle, null_mut(), values.as_mut_ptr(), null_mut(), null_mut()) };
        checked(status, "giving its reduced costs")?;
        Ok(values)
    }

    fn info(&self, name: &CStr) -> Option<Int> {
        let mut value = 0;
        // SAFETY: a text that ends with 0, and room for a number.
        let status = unsafe { (self.functions.int_info)(self.handle, name.as_ptr(), &raw mut value) };
        (status == OK).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { seconds: 30.0, nodes: None };

    #[test]
    fn small_programs() {
        let mut program = Program::default();
        let columns: Vec<usize> = (0..3).map(|_| program.column(1.0, true)).collect();
        for pair in [[0, 1], [1, 2], [0, 2]] {
            program.row(pair.map(|at| columns[at]), 1.0, f64::INFINITY);
        }
        let End::Solution(values) = program.solve(BUDGET, &|| true).unwrap() else { panic!("it has solutions") };
        assert!(values.iter().sum::<f64>() > 1.99);
        // Half of each would do, but whole numbers do not.
        program.row(columns.clone(), 0.0, 1.5);
        assert_eq!(program.solve(BUDGET, &|| true), Ok(End::Infeasible));
    }

    #[test]
    fn it_stops_when_it_is_told() {
        // The blocks of a Steiner system of 45 points, which are hard to hit with few points.
        let mut program = Program::default();
        let columns: Vec<usize> = (0..45).map(|_| program.column(1.0, true)).collect();
        let at = |i: usize, level: usize| columns[3 * (i % 15) + level % 3];
        for i in 0..15 {
            program.row([at(i, 0), at(i, 1), at(i, 2)], 1.0, f64::INFINITY);
            for (j, level) in (0..i).flat_map(|j| (0..3).map(move |level| (j, level))) {
                // The middle of two numbers modulo 15.
                program.row([at(i, level), at(j, level), at((i + j) * 8, level + 1)], 1.0, f64::INFINITY);
            }
        }
        program.row(columns, 0.0, 29.0);
        let asked = std::cell::Cell::new(0);
        let never = || {
            asked.set(asked.get() + 1);
            false
        };
        assert_eq!(program.solve(BUDGET, &never), Ok(End::Stopped));
        assert!(asked.get() > 0);
        assert_eq!(program.solve(Budget { seconds: 0.0, nodes: None }, &|| true), Ok(End::Stopped));
    }
}
