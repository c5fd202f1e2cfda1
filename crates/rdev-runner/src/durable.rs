//! Names that survive a power cut: a file's own flush keeps its content, not its name.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a folder and those above it, for their owner alone, so that a power cut leaves them there: what is flushed in a
/// folder is lost with its name.
///
/// # Errors
/// When one of them cannot be made or flushed.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(above)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        // Whoever else has made it may be killed before it is flushed.
        Err(_) if folder.is_dir() => flush_names(above),
        Err(error) => Err(error),
        Ok(()) => flush_names(above),
    }
}

/// Has the disk keep the names in a folder as they are.
///
/// # Errors
/// When it cannot be read or flushed.
pub fn flush_names(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_and_what_is_in_the_way_is_told() {
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
