//! Sending the files of a folder that fit some patterns.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, ReadDir};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern, glob_with};
use rustix::fs::OFlags;
use rustix::stdio::stdout;

use crate::fault::Fault;
use crate::files::{BYTES_MAX, FILES_MAX, Item, Why, encode_piece};
use crate::out::write_all;

/// Bytes of a file that are read, and sent, at once.
const PIECE_BYTES: usize = 64 * 1024;
/// As shells have it: what begins with a dot has to be named, or `**` would find all of git's own files.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Sends every file in the folder that one of the patterns names, once; and a word on each pattern without any.
pub(crate) fn collect(folder: &Path, patterns: &[String]) -> Result<(), Fault> {
    let mut found = Found::default();
    // A folder that is not there has no files.
    let root = fs::canonicalize(folder).ok();
    for pattern in patterns {
        let problem = match &root {
            Some(root) => found.search(root, pattern)?,
            None => Some(Why::Missing),
        };
        if let Some(why) = problem {
            found.not.push(Item::Not { path: pattern.clone(), size: 0, why });
        }
    }
    let mut room = BYTES_MAX;
    for (path, file) in &found.files {
        send(path, file.as_deref(), &mut room)?;
    }
    for item in found.not.iter().chain([&Item::Done]) {
        say(item)?;
    }
    Ok(())
}

#[derive(Default)]
struct Found {
    /// By their paths in the folder; `None`: nothing that can be read.
    files: BTreeMap<String, Option<PathBuf>>,
    not: Vec<Item>,
}

impl Found {
    /// Adds what fits the pattern, or says why there is less.
    fn search(&mut self, root: &Path, pattern: &str) -> Result<Option<Why>, Fault> {
        // By itself `**` stands for folders, here for all that is in them.
        let all = if pattern.ends_with("**") { "/*" } else { "" };
        let whole = format!("{}/{pattern}{all}", Pattern::escape(&root.to_string_lossy()));
        let paths = glob_with(&whole, OPTIONS)
            .map_err(|error| Fault::usage(format!("{pattern:?} is no pattern: {error}")))?;
        let last = pattern.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let (names_folders, mut missing) = (!last.contains(['*', '?']), true);
        for path in paths {
            let path = match path {
                Ok(path) => path,
                Err(error) => error.path().to_owned(),
            };
            let has_room = match inside(root, &path).filter(|real| real.is_dir()) {
                Some(_) if !names_folders => continue,
                Some(folder) => self.walk(root, &folder),
                None => self.add(root, &path),
            };
            missing = false;
            if !has_room {
                return Ok(Some(Why::TooMany));
            }
        }
        Ok(missing.then_some(Why::Missing))
    }

    /// Adds all files of a folder; false when there are too many. Links to other folders are not followed: they
    /// could lead into a circle.
    fn walk(&mut self, root: &Path, folder: &Path) -> bool {
        let mut open: Vec<ReadDir> = self.entries(root, folder).into_iter().collect();
        while let Some(entries) = open.last_mut() {
            let Some(entry) = entries.next() else {
                open.pop();
                continue;
            };
            let Ok(entry) = entry else { continue };
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.extend(self.entries(root, &entry.path()));
            } else if !self.add(root, &entry.path()) {
                return false;
            }
        }
        true
    }

    /// The entries of a folder; one that may not be read is told of as a file is.
    fn entries(&mut self, root: &Path, folder: &Path) -> Option<ReadDir> {
        let entries = fs::read_dir(folder).ok();
        if entries.is_none() {
            self.files.insert(name(root, folder), None);
        }
        entries
    }

    /// Adds a file; false when there are too many.
    fn add(&mut self, root: &Path, path: &Path) -> bool {
        let name = name(root, path);
        if self.files.len() >= FILES_MAX && !self.files.contains_key(&name) {
            return false;
        }
        self.files.insert(name, inside(root, path));
        true
    }
}

fn name(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

/// What the path leads to, if that is in the folder.
fn inside(root: &Path, path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok().filter(|real| real.starts_with(root))
}

fn send(path: &str, file: Option<&Path>, room: &mut u64) -> Result<(), Fault> {
    let not = |size, why| say(&Item::Not { path: path.to_owned(), size, why });
    let Some((mut file, size)) = file.and_then(|file| open(file).ok()) else {
        return not(0, Why::Unreadable);
    };
    if size > *room {
        return not(size, Why::TooLarge);
    }
    *room -= size;
    say(&Item::File { path: path.to_owned(), size })?;
    let (mut piece, mut out, mut left) = (vec![0; PIECE_BYTES], Vec::new(), size);
    while left > 0 {
        let most = left.min(PIECE_BYTES as u64) as usize;
        let read =
            file.read(&mut piece[..most]).map_err(|e| Fault::io(format!("cannot read {path:?}"), e))?;
        if read == 0 {
            return Err(Fault::failed(format!("{path:?} has become shorter")));
        }
        left -= read as u64;
        out.clear();
        encode_piece(&mut out, &piece[..read]);
        write(&out)?;
    }
    Ok(())
}

/// Opens a regular file; a pipe in its place would never end.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok((file, about.len()))
}

fn say(item: &Item) -> Result<(), Fault> {
    let mut out = Vec::new();
    item.encode(&mut out);
    write(&out)
}

fn write(bytes: &[u8]) -> Result<(), Fault> {
    write_all(stdout(), bytes).map_err(|e| Fault::io("cannot write to standard output", e))
}
