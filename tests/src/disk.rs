//! Disks that fill up.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A small disk in memory; it goes away with the value.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, said, where this user may not mount.
    pub fn mount(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(at));
        }
        eprintln!("skipped: no file system can be mounted here");
        None
    }

    /// Gives it another size.
    pub fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A mount that stays behind is in nobody's way.
        let _ = Command::new("umount").args(["-l"]).arg(&self.0).status();
    }
}
