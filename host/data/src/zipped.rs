//! Members of zip archives, stored or deflated.
//!
//! The general reader believes the count of members that an archive claims and allocates for it before it reads one; a
//! strict one is short. The directory stands at the end of the file, has a bound, and every place in it is checked
//! against the length of the file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use flate2::CrcReader;
use flate2::read::DeflateDecoder;
use querist_files::{Links, length_of};

use crate::error::DataError;
use crate::memory::reserve;
use crate::source::DEFLATE_RATIO;

/// Largest directory, of some tens of thousands of members.
pub(crate) const MAX_DIRECTORY: u64 = 4 << 20;
/// The record at the end, and the longest comment behind it.
const END: usize = 22;
const MAX_COMMENT: u64 = 65_535;
const END_64: usize = 56;
const LOCATOR: usize = 20;
const ENTRY: usize = 46;
const LOCAL: u64 = 30;
/// What a member made on Unix says of its type.
const UNIX: u8 = 3;
const FILE_TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

/// An archive whose directory was read.
pub(crate) struct Zip {
    file: File,
    length: u64,
    name: String,
    members: Vec<Member>,
}

/// A member of it, as the directory describes it.
pub(crate) struct Member {
    pub name: String,
    /// Whether the name is UTF-8; others are shown with marks in the place of what is not.
    pub is_utf8: bool,
    /// Whether it is a link or a device by the rights that Unix gave it.
    pub is_special: bool,
    /// Bytes that it claims to hold.
    pub size: u64,
    is_encrypted: bool,
    method: u16,
    checksum: u32,
    stored: u64,
    local: u64,
}

impl Zip {
    /// Opens an archive and reads its directory, of at most `most_bytes` bytes.
    pub fn open(path: &Path, most_bytes: u64) -> Result<Self, DataError> {
        let mut file = querist_files::open(path, Links::Follow)?;
        let length = length_of(&file, path)?;
        let name = path.display().to_string();
        let members = directory(&mut file, length, most_bytes).map_err(|found| {
            DataError::malformed(&name, "", format!("no readable zip archive ({found})"), "a zip archive")
        })?;
        Ok(Self { file, length, name, members })
    }

    /// Bytes that all members are stored in; more than the file has where they lie over one another.
    pub fn stored(&self) -> u64 {
        self.members.iter().fold(0, |sum, member| sum.saturating_add(member.stored))
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The members, in the order of the directory.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The whole content of the member with this name, which `shown` names in errors. Its checksum is checked; its
    /// claim of a size is believed only as far as its stored bytes can carry it.
    pub fn read(&mut self, member: &str, shown: &str) -> Result<Option<Vec<u8>>, DataError> {
        let mut same = self.members.iter().enumerate().filter(|(_, found)| found.name == member);
        let Some((at, _)) = same.next() else { return Ok(None) };
        if same.next().is_some() {
            return Err(self.twice(member));
        }
        self.content(at, shown).map(Some)
    }

    /// Why two members of one name are refused.
    pub fn twice(&self, member: &str) -> DataError {
        DataError::malformed(&self.name, "", format!("two members of the name `{member}`"), "each name once")
    }

    /// The whole content of the member at `index`, likewise.
    pub fn content(&mut self, index: usize, shown: &str) -> Result<Vec<u8>, DataError> {
        let bad = |found: String| DataError::malformed(shown, "", found, "a stored or deflated zip member");
        let Some(found) = self.members.get(index) else { return Err(bad("no such member".to_owned())) };
        let &Member { is_encrypted, method, checksum, stored, size, local, .. } = found;
        let most = match method {
            0 => stored,
            8 => stored.saturating_mul(DEFLATE_RATIO),
            _ => return Err(bad(format!("compression method {method}"))),
        };
        if is_encrypted {
            return Err(bad("an encrypted member".to_owned()));
        }
        if stored > self.length || size > most || (method == 0 && size != stored) {
            return Err(bad(format!("the archive claims {size} bytes made of {stored}, which cannot be")));
        }
        let start = self.content_at(local, stored).map_err(bad)?;
        let mut bytes = reserve(size, shown)?;
        let io = |error: std::io::Error| bad(error.to_string());
        self.file.seek(SeekFrom::Start(start)).map_err(io)?;
        let raw = (&mut self.file).take(stored);
        let content: Box<dyn Read> = if method == 0 { Box::new(raw) } else { Box::new(DeflateDecoder::new(raw)) };
        let mut content = CrcReader::new(content);
        content.by_ref().take(size.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 != size {
            return Err(bad(format!("{} bytes where the archive claims {size}", bytes.len())));
        }
        if content.crc().sum() != checksum {
            return Err(bad("a wrong checksum".to_owned()));
        }
        Ok(bytes)
    }

    /// Where the content of a member begins, behind its local header.
    fn content_at(&mut self, local: u64, stored: u64) -> Result<u64, String> {
        let header: Vec<u8> = at(&mut self.file, self.length, local, LOCAL)?;
        if !header.starts_with(b"PK\x03\x04") {
            return Err("no member where the directory says".to_owned());
        }
        let start = local + LOCAL + u64::from(u16_at(&header, 26)) + u64::from(u16_at(&header, 28));
        match start.checked_add(stored) {
            Some(end) if end <= self.length => Ok(start),
            _ => Err("a member beyond the end of the file".to_owned()),
        }
    }
}

/// Reads the directory; errors say what is wrong.
fn directory(file: &mut File, length: u64, most_bytes: u64) -> Result<Vec<Member>, String> {
    let tail_length = length.min(END as u64 + MAX_COMMENT);
    let tail_start = length - tail_length;
    let tail = at(file, length, tail_start, tail_length)?;
    // The record whose comment ends where the file does.
    let is_end = |from: &usize| {
        let record = &tail[*from..];
        record.starts_with(b"PK\x05\x06")
            && record.len() >= END
            && record.len() == END + usize::from(u16_at(record, 20))
    };
    let from = (0..tail.len().saturating_sub(END - 1)).rev().find(is_end).ok_or("no end of a directory")?;
    let record = &tail[from..];
    let (mut count, mut size, mut start) =
        (u64::from(u16_at(record, 10)), u64::from(u32_at(record, 12)), u64::from(u32_at(record, 16)));
    if count == 0xffff || size == 0xffff_ffff || start == 0xffff_ffff {
        let locator_at = (tail_start + from as u64).checked_sub(LOCATOR as u64).ok_or("no 64-bit directory")?;
        let locator = at(file, length, locator_at, LOCATOR as u64)?;
        if locator.starts_with(b"PK\x06\x07") {
            let record = at(file, length, u64_at(&locator, 8), END_64 as u64)?;
            if !record.starts_with(b"PK\x06\x06") {
                return Err("no 64-bit directory where it should be".to_owned());
            }
            (count, size, start) = (u64_at(&record, 32), u64_at(&record, 40), u64_at(&record, 48));
        }
    }
    if size > most_bytes {
        return Err(format!("a directory of {size} bytes, at most {most_bytes} are read"));
    }
    let directory = at(file, length, start, size)?;
    let mut members = Vec::new();
    let mut rest = &directory[..];
    while !rest.is_empty() {
        let (member, after) = entry(rest).ok_or("a damaged directory")?;
        members.push(member);
        rest = after;
    }
    if members.len() as u64 != count {
        return Err(format!("{} members where {count} are claimed", members.len()));
    }
    Ok(members)
}

/// One entry of the directory, and what comes after it.
fn entry(bytes: &[u8]) -> Option<(Member, &[u8])> {
    let header = bytes.get(..ENTRY).filter(|header| header.starts_with(b"PK\x01\x02"))?;
    let length = |from| usize::from(u16_at(header, from));
    let (name, rest) = bytes[ENTRY..].split_at_checked(length(28))?;
    let (extra, rest) = rest.split_at_checked(length(30))?;
    let (_comment, rest) = rest.split_at_checked(length(32))?;
    let mut member = Member {
        name: String::from_utf8_lossy(name).into_owned(),
        is_utf8: std::str::from_utf8(name).is_ok(),
        is_special: header[5] == UNIX && !matches!(u32_at(header, 38) >> 16 & FILE_TYPE, 0 | REGULAR | FOLDER),
        is_encrypted: u16_at(header, 8) & 1 == 1,
        method: u16_at(header, 10),
        checksum: u32_at(header, 16),
        stored: u64::from(u32_at(header, 20)),
        size: u64::from(u32_at(header, 24)),
        local: u64::from(u32_at(header, 42)),
    };
    // Numbers that did not fit stand in an extra field, in this order.
    let mut long = extra_64(extra);
    for number in [&mut member.size, &mut member.stored, &mut member.local] {
        if *number == 0xffff_ffff {
            let (first, after) = long.split_at_checked(8)?;
            (*number, long) = (u64_at(first, 0), after);
        }
    }
    Some((member, rest))
}

/// The 64-bit numbers among the extra fields of an entry.
fn extra_64(mut extra: &[u8]) -> &[u8] {
    while let Some((head, rest)) = extra.split_at_checked(4) {
        let Some((field, after)) = rest.split_at_checked(usize::from(u16_at(head, 2))) else { break };
        if u16_at(head, 0) == 1 {
            return field;
        }
        extra = after;
    }
    &[]
}

/// `count` bytes at `start`, which must lie in the file.
fn at(file: &mut File, length: u64, start: u64, count: u64) -> Result<Vec<u8>, String> {
    if start.checked_add(count).is_none_or(|end| end > length) {
        return Err("a place beyond the end of the file".to_owned());
    }
    let mut bytes = vec![0; count as usize];
    let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
    read.map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], from: usize) -> u16 {
    u16::from_le_bytes([bytes[from], bytes[from + 1]])
}

fn u32_at(bytes: &[u8], from: usize) -> u32 {
    u32::from(u16_at(bytes, from)) | u32::from(u16_at(bytes, from + 2)) << 16
}

fn u64_at(bytes: &[u8], from: usize) -> u64 {
    u64::from(u32_at(bytes, from)) | u64::from(u32_at(bytes, from + 4)) << 32
}
