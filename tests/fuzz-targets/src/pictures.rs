//! Pictures, in folders and in archives.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use querist_core::config::DatasetConfig;
use querist_data::{Search, load};
use tar::{EntryType, Header};

use crate::runs::{in_memory, take};

/// A white PNG of 4 x 4 grey pixels.
pub const PNG: &[u8] = include_bytes!("white.png");

fn read(place: &Path, nothing: &Path, size: Option<u32>) {
    let path = place.to_str().map(str::to_owned);
    let config = DatasetConfig { path, size, ..DatasetConfig::named("folder") };
    match load(&config, &Search::at(nothing)) {
        Ok(dataset) => {
            let images = dataset.images();
            assert_eq!(images.bytes.len(), dataset.len() * images.height * images.width * images.channels);
        }
        Err(error) => drop(error.to_string()),
    }
}

/// A byte that chooses the ending, then the file of one picture beside two good ones.
pub fn pictures(data: &[u8]) {
    let Some((&kind, file)) = data.split_first() else { return };
    let name = ["x.png", "x.jpg", "x.jpeg", "x.PNG"][usize::from(kind) % 4];
    in_memory(|folder| {
        for (path, bytes) in [("set/a/1.png", PNG), ("set/b/1.png", PNG), (&format!("set/a/{name}"), file)] {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("the folder is ours");
            fs::write(path, bytes).expect("the folder is ours");
        }
        read(&folder.join("set"), folder, Some(4));
    });
}

/// A byte that chooses between a file as it comes and members from which an archive is made, then either.
///
/// A fuzzer finds no check sum of a header, so what is made has right ones around wrong contents.
pub fn archives(data: &[u8]) {
    let Some((name, archive)) = archive(data) else { return };
    in_memory(|folder| {
        fs::write(folder.join(name), archive).expect("the folder is ours");
        read(&folder.join(name), folder, Some(4));
    });
}

/// Name and bytes of an archive.
pub(crate) fn archive(data: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let (&form, rest) = data.split_first()?;
    let archive = if form & 1 == 0 { rest.to_vec() } else { made(rest) };
    Some(if form & 2 == 0 { ("set.tar", archive) } else { ("set.tar.gz", gzipped(&archive)) })
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
    writer.write_all(bytes).expect("memory can be written");
    writer.finish().expect("memory can be written")
}

/// Members, each: type, how its length is told, lengths of name and content, name, content. An archive may end
/// anywhere.
fn made(mut rest: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    while let Some(&[kind, told, name, low, high]) = take(&mut rest, 5) {
        let name = take(&mut rest, usize::from(name)).unwrap_or_default();
        let content = match u16::from_le_bytes([low, high]) {
            // The good picture, which fuzzers do not find.
            u16::MAX => PNG,
            length => take(&mut rest, usize::from(length)).unwrap_or_default(),
        };
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::new(kind));
        let old = header.as_old_mut();
        let length = name.len().min(old.name.len());
        old.name[..length].copy_from_slice(&name[..length]);
        header.set_mode(0o644);
        let size = content.len() as u64;
        header.set_size(match told & 7 {
            0 => size + 1,
            1 => u64::from(told) << 26,
            2 => u64::MAX >> (told >> 3),
            _ => size,
        });
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
        archive.extend_from_slice(content);
        if told & 0x80 == 0 {
            archive.resize(archive.len().next_multiple_of(512), 0);
        }
    }
    archive
}
