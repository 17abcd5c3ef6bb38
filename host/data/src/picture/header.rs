//! What the first bytes of a picture say of it: enough to plan, and nothing is decoded.

use std::io::{self, BufRead, BufReader, Read, Seek};

use image::metadata::Orientation;

use super::pnm;

/// Most bytes that may stand before the pixels.
const MAX_HEADER_BYTES: u64 = 16 << 20;
/// What is read at once: most headers lie in it.
const BLOCK: usize = 4096;
const PNG_SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// Longest Exif data of a PNG; in a JPEG it is 64 KiB by its form.
const MAX_EXIF: u64 = 1 << 20;

/// Which of the formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    Pnm,
}

/// A picture as its header describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub format: Format,
    /// Size as it lies in the file, before it is turned.
    pub width: u32,
    pub height: u32,
    /// Whether the format has one channel for it.
    pub grey: bool,
    /// Whether it has a channel of transparency, as some PNGs have.
    pub clear: bool,
    /// Whether it is of the four inks of a printer, as some JPEGs are.
    pub inks: bool,
    /// Bits of a value.
    pub bits: u8,
    /// How it is to be turned to be seen upright.
    pub orientation: Orientation,
}

impl Header {
    /// Reads as little as it can from the beginning of a file.
    pub fn read(file: impl Read + Seek) -> Result<Self, String> {
        let mut bytes = Bytes { reader: BufReader::with_capacity(BLOCK, file), read: 0 };
        let begin = bytes.reader.fill_buf().map_err(|error| error.to_string())?;
        match begin {
            [0xff, 0xd8, ..] => jpeg(&mut bytes).map_err(|error| said(&error)),
            _ if begin.starts_with(&PNG_SIGNATURE) => png(&mut bytes).map_err(|error| said(&error)),
            [b'P', b'5' | b'6', ..] => {
                let pnm = pnm::parse(&mut || bytes.byte().map_err(|error| said(&error)))?;
                let pnm::Pnm { width, height, grey, .. } = pnm;
                let orientation = Orientation::NoTransforms;
                Ok(Self { format: Format::Pnm, width, height, grey, clear: false, inks: false, bits: 8, orientation })
            }
            [] => Err("an empty file".to_owned()),
            _ => Err("neither JPEG nor PNG by its first bytes".to_owned()),
        }
    }

    /// Height, width and channels of the picture as it is seen.
    pub fn shape(&self) -> [usize; 3] {
        let (width, height) = if self.lies() { (self.height, self.width) } else { (self.width, self.height) };
        [height as usize, width as usize, if self.grey { 1 } else { 3 }]
    }

    /// Whether it lies on its side.
    fn lies(&self) -> bool {
        use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
        matches!(self.orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
    }
}

fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the file ends in its header".to_owned(),
        _ => error.to_string(),
    }
}

fn wrong(found: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, found)
}

/// The bytes of a header, counted.
struct Bytes<R> {
    reader: BufReader<R>,
    read: u64,
}

impl<R: Read + Seek> Bytes<R> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.count(N as u64)?;
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.array().map(|[byte]| byte)
    }

    fn vec(&mut self, count: u64) -> io::Result<Vec<u8>> {
        self.count(count)?;
        let mut bytes = Vec::new();
        (&mut self.reader).take(count).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == count { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        self.count(count)?;
        self.reader.seek_relative(count as i64)
    }

    fn count(&mut self, bytes: u64) -> io::Result<()> {
        self.read = self.read.saturating_add(bytes);
        if self.read > MAX_HEADER_BYTES { Err(wrong("more than 16 MiB before the pixels")) } else { Ok(()) }
    }
}

/// Goes from marker to marker, as libjpeg does, until the pixels begin.
fn jpeg(bytes: &mut Bytes<impl Read + Seek>) -> io::Result<Header> {
    let mut frame = None;
    let mut orientation = None;
    bytes.skip(2)?;
    loop {
        match marker(bytes)? {
            0x01 | 0xd0..=0xd8 => {}
            0xd9 => return Err(wrong("a JPEG without a picture")),
            code => {
                let length = u64::from(u16::from_be_bytes(bytes.array()?));
                let length = length.checked_sub(2).ok_or_else(|| wrong("a segment of a wrong length"))?;
                match code {
                    0xda => break,
                    0xe1 if orientation.is_none() => orientation = turned(&bytes.vec(length)?),
                    0xc0..=0xcf if ![0xc4, 0xc8, 0xcc].contains(&code) => {
                        let [bits, h1, h0, w1, w0, components] = bytes.array()?;
                        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
                        frame.get_or_insert((width, height, components, bits));
                        bytes.skip(length.checked_sub(6).ok_or_else(|| wrong("a frame of a wrong length"))?)?;
                    }
                    _ => bytes.skip(length)?,
                }
            }
        }
    }
    let (width, height, components, bits) = frame.ok_or_else(|| wrong("a JPEG without a frame"))?;
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    let (width, height) = (width.into(), height.into());
    let (grey, inks) = (components == 1, components == 4);
    Ok(Header { format: Format::Jpeg, width, height, grey, clear: false, inks, bits, orientation })
}

/// The next marker; what stands before it is passed over.
fn marker(bytes: &mut Bytes<impl Read + Seek>) -> io::Result<u8> {
    loop {
        while bytes.byte()? != 0xff {}
        let mut code = 0xff;
        while code == 0xff {
            code = bytes.byte()?;
        }
        if code != 0 {
            return Ok(code);
        }
    }
}

/// What Exif data in a JPEG's segment says of the orientation.
fn turned(segment: &[u8]) -> Option<Orientation> {
    Orientation::from_exif_chunk(segment.strip_prefix(b"Exif\0\0")?)
}

/// Goes from chunk to chunk until the pixels begin.
fn png(bytes: &mut Bytes<impl Read + Seek>) -> io::Result<Header> {
    bytes.skip(PNG_SIGNATURE.len() as u64)?;
    let mut header = None;
    loop {
        let length = u64::from(u32::from_be_bytes(bytes.array()?));
        match (&bytes.array::<4>()?, &mut header) {
            (b"IHDR", None) if length == 13 => header = Some(frame(bytes)?),
            (_, None) => return Err(wrong("a PNG that does not begin with its header")),
            (b"IDAT" | b"IEND", Some(header)) => return Ok(*header),
            (b"eXIf", Some(header)) if length <= MAX_EXIF => {
                let exif = bytes.vec(length)?;
                header.orientation = Orientation::from_exif_chunk(&exif).unwrap_or(Orientation::NoTransforms);
            }
            _ => bytes.skip(length)?,
        }
        // The check sum is the decoder's to look at.
        bytes.skip(4)?;
    }
}

fn frame(bytes: &mut Bytes<impl Read + Seek>) -> io::Result<Header> {
    let (width, height) = (u32::from_be_bytes(bytes.array()?), u32::from_be_bytes(bytes.array()?));
    let [bits, colours, ..] = bytes.array::<5>()?;
    // Grey, and grey with transparency.
    let (grey, clear) = (matches!(colours, 0 | 4), matches!(colours, 4 | 6));
    let orientation = Orientation::NoTransforms;
    Ok(Header { format: Format::Png, width, height, grey, clear, inks: false, bits, orientation })
}
