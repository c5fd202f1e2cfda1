//! Folders and names that survive a power cut: the flush of a file keeps its content, not its name.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Creates a folder in an existing one, or with its missing parents; readable for the owner alone, with flushed names.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    let mut missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.is_dir()).collect();
    while let Some(folder) = missing.pop() {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if !folder.is_dir() => return Err(error),
            _ => folder.parent().map_or(Ok(()), flush_names)?,
        }
    }
    Ok(())
}

/// Flushes the names in a folder.
pub(crate) fn flush_names(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_with_their_parents_and_an_obstacle_is_reported() {
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
