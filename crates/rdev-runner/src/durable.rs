//! Names that survive a power cut: the flush of a file keeps its content, not its name.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Creates a folder and its parents, readable for their owner alone, and flushes their names: flushed
/// content is lost when the name of its folder is.
///
/// # Errors
/// When a folder cannot be created or flushed.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(above)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        // Another process may have created the folder, and may be killed before it flushes the name.
        Err(_) if folder.is_dir() => flush_names(above),
        Err(error) => Err(error),
        Ok(()) => flush_names(above),
    }
}

/// Flushes the names in a folder.
///
/// # Errors
/// When the folder cannot be read or flushed.
pub fn flush_names(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_and_an_obstacle_is_reported() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("a/b/c");
        make_folder(&inner).unwrap();
        make_folder(&inner).unwrap();
        assert!(inner.is_dir());
        std::fs::write(outer.path().join("file"), "").unwrap();
        assert!(make_folder(&outer.path().join("file")).is_err());
        assert!(make_folder(&outer.path().join("file/a")).is_err());
    }
}
