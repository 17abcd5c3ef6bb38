//! Pictures of the simplest form, PPM and PGM of bytes: GTSRB is published so.

use super::Pixels;
use super::header::Header;

/// What the header says.
pub(super) struct Pnm {
    pub width: u32,
    pub height: u32,
    pub grey: bool,
    /// Bytes of the header.
    pub offset: usize,
}

/// Reads `P6 width height 255` and the one blank behind it; `#` begins a comment.
pub(super) fn parse(next: &mut dyn FnMut() -> Result<u8, String>) -> Result<Pnm, String> {
    let mut offset = 0;
    let mut byte = || {
        offset += 1;
        // Far more than four numbers take.
        if offset > 4096 { Err("a PPM header of more than 4096 bytes".to_owned()) } else { next() }
    };
    let grey = match [byte()?, byte()?] {
        [b'P', b'5'] => true,
        [b'P', b'6'] => false,
        _ => return Err("a PPM of another kind than P5 and P6".to_owned()),
    };
    let mut numbers = [0u32; 3];
    for number in &mut numbers {
        let mut letter = byte()?;
        while letter.is_ascii_whitespace() || letter == b'#' {
            if letter == b'#' {
                while byte()? != b'\n' {}
            }
            letter = byte()?;
        }
        while letter.is_ascii_digit() {
            let next = number.checked_mul(10).and_then(|n| n.checked_add(u32::from(letter - b'0')));
            *number = next.ok_or("a PPM with a number of more than 32 bits")?;
            letter = byte()?;
        }
        if !letter.is_ascii_whitespace() {
            return Err("a PPM header that is none".to_owned());
        }
    }
    let [width, height, most] = numbers;
    if most != 255 {
        return Err(format!("a PPM of values up to {most}, expected 255"));
    }
    Ok(Pnm { width, height, grey, offset })
}

/// The pixels, which stand in the file as they are.
pub(super) fn decode(bytes: &[u8], header: &Header) -> Result<Pixels, String> {
    let mut rest = bytes.iter();
    let Pnm { width, height, grey, offset } =
        parse(&mut || rest.next().copied().ok_or_else(|| "the file ends in its header".to_owned()))?;
    if (width, height, grey) != (header.width, header.height, header.grey) {
        return Err("a header that was changed".to_owned());
    }
    let channels = if grey { 1 } else { 3 };
    let length = width as usize * height as usize * channels;
    match bytes.get(offset..).and_then(|pixels| pixels.get(..length)) {
        Some(pixels) => Ok(Pixels { width, height, channels, bytes: pixels.to_vec() }),
        None => Err(format!("the file ends after {} of {length} bytes of pixels", bytes.len().saturating_sub(offset))),
    }
}
