//! JPEG by libjpeg: its pixels are those that every other tool shows.
//!
//! Decoders in Rust were tried first: on pictures of odd sizes and samplings each differs from libjpeg by 20 levels and
//! more somewhere, and none says of every cut file that it is cut (`docs/benchmarks` has the figures). This is
//! libjpeg-turbo's code as MozJPEG ships it, whose decoder is the same; it is C, so it is told as little as possible:
//! bytes in memory, a bound for its own memory, a bound for the passes over a picture.
//!
//! libjpeg goes on after damage and fills with grey; it *warns*. Here a warning ends the work, but for the harmless
//! ones. The library's way of ending is a call that does not return. Here it unwinds through the C code, which is built
//! for that (feature `unwinding`), and is caught at the one place where the library is entered.

use std::any::Any;
use std::ffi::CStr;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;

use mozjpeg_sys as ffi;
use mozjpeg_sys::{J_COLOR_SPACE, jpeg_common_struct, jpeg_decompress_struct, jpeg_error_mgr, jpeg_progress_mgr};

/// Passes over a picture at most: each costs the time of the whole picture and few bytes. Encoders make ten.
const MAX_SCANS: i32 = 100;
/// Eighths to which a picture may be reduced while it is decoded, for which libjpeg has transforms.
const EIGHTHS: [u32; 4] = [1, 2, 4, 8];

/// A picture that is about to be decoded.
pub(super) struct Jpeg<'a> {
    bytes: &'a [u8],
    /// From a box, but not in one: the library keeps addresses of its parts.
    state: NonNull<State>,
}

/// What the library works with.
struct State {
    info: jpeg_decompress_struct,
    error: jpeg_error_mgr,
    progress: jpeg_progress_mgr,
}

/// What the library said before it was ended.
struct Refusal(String);

/// Pixels as the library yields them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Output {
    pub width: u32,
    pub height: u32,
    /// 1 for grey, 3 for red-green-blue.
    pub channels: usize,
}

impl<'a> Jpeg<'a> {
    /// Reads the header; the library will take at most `most_bytes` of memory.
    pub fn open(bytes: &'a [u8], most_bytes: u64) -> Result<Self, String> {
        // SAFETY: the three are plain C structures, for which zeros are no value that Rust forbids: pointers are null,
        // functions absent, and the library's own constructors fill them before anything reads them.
        let state = Box::new(unsafe { mem::zeroed::<State>() });
        let mut jpeg = Self { bytes, state: NonNull::from(Box::leak(state)) };
        entered(|| jpeg.begin(most_bytes))?;
        let components = jpeg.info().num_components;
        match components {
            1 | 3 | 4 => Ok(jpeg),
            _ => Err(format!("a JPEG of {components} components, 1, 3 or 4 are read")),
        }
    }

    fn begin(&mut self, most_bytes: u64) {
        // SAFETY: nobody else has a reference to it.
        let State { info, error, progress } = unsafe { self.state.as_mut() };
        // SAFETY: the structures lie in a box that lives as long as the library uses them, and the bytes outlive it.
        // The version and size are those of the bindings, which the library compares with its own.
        unsafe {
            ffi::jpeg_std_error(error);
            error.error_exit = Some(end);
            error.emit_message = Some(end_at_damage);
            error.output_message = None;
            info.common.err = error;
            ffi::jpeg_create_decompress(info);
            progress.progress_monitor = Some(end_after_many_scans);
            info.common.progress = progress;
            (*info.common.mem).max_memory_to_use = most_bytes.try_into().unwrap_or(std::ffi::c_long::MAX);
            ffi::jpeg_mem_src(info, self.bytes.as_ptr(), self.bytes.len() as std::ffi::c_ulong);
            ffi::jpeg_read_header(info, 1);
        }
        info.out_color_space = match info.num_components {
            1 => J_COLOR_SPACE::JCS_GRAYSCALE,
            4 => J_COLOR_SPACE::JCS_CMYK,
            _ => J_COLOR_SPACE::JCS_RGB,
        };
    }

    fn info(&mut self) -> &mut jpeg_decompress_struct {
        // SAFETY: it lives as long as this does, and only this leads to it while the library is not at work.
        unsafe { &mut (*self.state.as_ptr()).info }
    }

    /// Size of the whole picture.
    pub fn size(&mut self) -> (u32, u32) {
        (self.info().image_width, self.info().image_height)
    }

    /// Reduces the picture while it is decoded as far as both sides stay at least so long.
    pub fn reduce(&mut self, least: u32) {
        let info = self.info();
        let short = u64::from(info.image_width.min(info.image_height));
        let fits = |eighths: &&u32| short * u64::from(**eighths) >= 8 * u64::from(least);
        let eighths = *EIGHTHS.iter().find(fits).unwrap_or(&8);
        (info.scale_num, info.scale_denom) = (eighths, 8);
    }

    /// What [`Self::decode`] will yield.
    pub fn output(&mut self) -> Result<Output, String> {
        let info = self.info();
        // SAFETY: the header was read, after which the library can compute this at any time.
        entered(|| unsafe { ffi::jpeg_calc_output_dimensions(info) })?;
        let channels = if info.num_components == 1 { 1 } else { 3 };
        Ok(Output { width: info.output_width, height: info.output_height, channels })
    }

    /// Decodes into `to`, which has room for exactly what [`Self::output`] says.
    pub fn decode(mut self, to: &mut [u8]) -> Result<(), String> {
        let Output { width, height, channels } = self.output()?;
        let row = width as usize * channels;
        if to.len() != row * height as usize || row == 0 {
            return Err(format!(
                "a picture of {width}x{height} pixels with {channels} channels for {} bytes",
                to.len()
            ));
        }
        let inks = self.info().num_components == 4;
        let mut line = vec![0; if inks { width as usize * 4 } else { 0 }];
        let info = self.info();
        entered(|| {
            // SAFETY: the header was read. A row has `output_width` pixels of `output_components` bytes, which is 4 for
            // inks and else `channels`: the line and the rows are as long.
            unsafe { ffi::jpeg_start_decompress(info) };
            for row in to.chunks_exact_mut(row) {
                let mut place = if inks { line.as_mut_ptr() } else { row.as_mut_ptr() };
                // SAFETY: see above; one row is asked for, and one pointer is given.
                unsafe { ffi::jpeg_read_scanlines(info, &mut place, 1) };
                if inks {
                    line.chunks_exact(4).zip(row.chunks_exact_mut(3)).for_each(|(inks, pixel)| print(inks, pixel));
                }
            }
            // SAFETY: all rows were read. What is missing at the end is said here.
            unsafe { ffi::jpeg_finish_decompress(info) };
        })
    }
}

impl Drop for Jpeg<'_> {
    fn drop(&mut self) {
        // SAFETY: the library frees what it took; before its constructor ran, that is nothing, which a null pointer
        // tells. It calls none of the functions that end it. The state came from a box and nobody uses it any more.
        unsafe {
            ffi::jpeg_destroy_decompress(self.info());
            drop(Box::from_raw(self.state.as_ptr()));
        }
    }
}

/// Red, green and blue of four inks, which files hold inverted: as Adobe writes them, and as everybody reads them.
fn print(inks: &[u8], pixel: &mut [u8]) {
    let black = u32::from(inks[3]);
    for (value, &ink) in pixel.iter_mut().zip(inks) {
        let covered = u32::from(255 - ink) * black + 128;
        *value = (black - (((covered >> 8) + covered) >> 8)) as u8;
    }
}

/// Enters the library and comes back, also where it was ended.
fn entered<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|thrown: Box<dyn Any + Send>| match thrown.downcast::<Refusal>() {
        Ok(refusal) => refusal.0,
        // A panic of our own is a mistake of our own.
        Err(thrown) => resume_unwind(thrown),
    })
}

/// Ends the library with its present message. No panic hook is called: this is how it ends, not a mistake.
unsafe extern "C-unwind" fn end(info: &mut jpeg_common_struct) {
    // SAFETY: the library calls this with the error manager that it was given.
    let error = unsafe { &*info.err };
    resume_unwind(Box::new(Refusal(said(error))))
}

/// Ends the library where a message tells of damage; traces are passed over.
unsafe extern "C-unwind" fn end_at_damage(info: &mut jpeg_common_struct, level: i32) {
    // SAFETY: as above.
    let code = unsafe { (*info.err).msg_code };
    if level < 0 && !is_harmless(code) {
        // SAFETY: the same call.
        unsafe { end(info) };
    }
}

/// Bytes between markers, headers from a version to come, and numbers that mean nothing in a baseline file, which some
/// telephones write: what they belong to is read whole.
fn is_harmless(code: i32) -> bool {
    [ffi::JWRN_EXTRANEOUS_DATA, ffi::JWRN_ADOBE_XFORM, ffi::JWRN_JFIF_MAJOR, ffi::JWRN_NOT_SEQUENTIAL].contains(&code)
}

/// Ends the library in a file of very many scans.
unsafe extern "C-unwind" fn end_after_many_scans(info: &mut jpeg_common_struct) {
    let info: *mut jpeg_common_struct = info;
    // SAFETY: only a decompressor was given this function, and it begins with what is common to all.
    let scans = unsafe { (*info.cast::<jpeg_decompress_struct>()).input_scan_number };
    if scans > MAX_SCANS {
        resume_unwind(Box::new(Refusal(format!("more than {MAX_SCANS} scans"))));
    }
}

/// The library's words, with the first numbers in them.
fn said(error: &jpeg_error_mgr) -> String {
    let code = error.msg_code;
    if !(0..=error.last_jpeg_message).contains(&code) {
        return format!("libjpeg's message {code}");
    }
    // SAFETY: the table has a text that ends with zero for each code up to the last, or none.
    let text = unsafe {
        let text = *error.jpeg_message_table.add(code as usize);
        if text.is_null() { c"damaged" } else { CStr::from_ptr(text.cast()) }
    };
    fill(&text.to_string_lossy(), &error.msg_parm._bindgen_data_)
}

/// Puts numbers in the places of `%d` and the like; a text among them stays out.
fn fill(text: &str, numbers: &[u32]) -> String {
    let mut numbers = numbers.iter();
    let mut pieces = text.split('%');
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0);
        let number = numbers.next().copied().unwrap_or_default();
        match piece.as_bytes().get(end) {
            Some(b'd' | b'u') => filled += &(number as i32).to_string(),
            Some(b'x') => filled += &format!("{number:02x}"),
            _ => filled.push('?'),
        }
        filled += piece.get(end + 1..).unwrap_or_default();
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_numbers() {
        assert_eq!(fill("SOF type 0x%02x", &[0xc3]), "SOF type 0xc3");
        assert_eq!(fill("found marker 0x%02x instead of RST%d", &[217, 3]), "found marker 0xd9 instead of RST3");
        assert_eq!(fill("%s at %d", &[1, 2]), "? at 2");
        assert_eq!(fill("100%", &[]), "100?");
        assert_eq!(Jpeg::open(&[], 1 << 20).err().unwrap(), "Empty input file");
        assert_eq!(Jpeg::open(b"GIF89a", 1 << 20).err().unwrap(), "Not a JPEG file: starts with 0x47 0x49");
    }

    #[test]
    fn inks_become_light() {
        for (inks, expected) in
            [([255; 4], [255; 3]), ([255, 255, 255, 0], [0; 3]), ([0, 255, 128, 255], [0, 255, 128])]
        {
            let mut pixel = [9; 3];
            print(&inks, &mut pixel);
            assert_eq!(pixel, expected);
        }
    }
}
