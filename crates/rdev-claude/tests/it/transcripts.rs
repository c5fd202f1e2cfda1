//! Recorded transcripts: standard output of Claude Code, by version.

use std::path::{Path, PathBuf};

/// Transcript as it was recorded.
pub(crate) struct Recorded {
    /// Version and name, such as `2.1.329/text-success`.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Returns all transcripts, by their names in order.
pub(crate) fn all() -> Vec<Recorded> {
    let mut all = Vec::new();
    for version in ["2.1.197", "2.1.329"] {
        for file in std::fs::read_dir(data().join(version)).unwrap() {
            let path = file.unwrap().path();
            let name = format!("{version}/{}", path.file_stem().unwrap().to_str().unwrap());
            all.push(Recorded { name, bytes: std::fs::read(path).unwrap() });
        }
    }
    assert!(all.len() > 100, "{} transcripts", all.len());
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Returns the transcript of that name.
pub(crate) fn named(name: &str) -> Vec<u8> {
    std::fs::read(data().join(format!("{name}.jsonl"))).unwrap()
}

pub(crate) fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}
