//! Sends the files of a folder that match some patterns.

mod listed;
mod pattern;
mod search;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::stdio::stdout;

use crate::fault::Fault;
use crate::files::{BYTES_MAX, Item, Why, encode_piece};
use crate::out::write_all;
use pattern::Pattern;
use search::{LIMITS, search};

/// Bytes of a file in one piece.
const PIECE_BYTES: usize = 64 * 1024;

/// Sends every file in the folder that a pattern names, once; and the reason for each pattern with
/// missing files.
pub(crate) fn collect(folder: &Path, patterns: &[String]) -> Result<(), Fault> {
    let parsed = patterns.iter().map(|pattern| Pattern::parse(pattern)).collect::<Result<Vec<_>, _>>()?;
    // A missing folder has no files.
    let found = fs::canonicalize(folder).ok().map(|root| search(&root, &parsed, LIMITS)).unwrap_or_default();
    let mut room = BYTES_MAX;
    for (path, file) in &found.files {
        send(path, file.as_deref(), &mut room)?;
    }
    for (number, pattern) in patterns.iter().enumerate() {
        if let Some(why) = found.why_less(number) {
            say(&Item::Not { path: pattern.clone(), size: 0, why })?;
        }
    }
    say(&Item::Done)
}

/// Sends a readable file.
fn send(path: &str, file: Option<&Path>, room: &mut u64) -> Result<(), Fault> {
    let not = |size, why| say(&Item::Not { path: path.to_owned(), size, why });
    let Some((file, size)) = file.and_then(|file| open(file).ok()) else {
        return not(0, Why::Unreadable);
    };
    if size > *room {
        return not(size, Why::TooLarge);
    }
    // The file is read whole before it is announced: a disk error in the middle costs this file alone.
    let mut bytes = Vec::with_capacity(size as usize);
    if file.take(size).read_to_end(&mut bytes).is_err() {
        return not(size, Why::Unreadable);
    }
    *room -= bytes.len() as u64;
    say(&Item::File { path: path.to_owned(), size: bytes.len() as u64 })?;
    let mut out = Vec::new();
    for piece in bytes.chunks(PIECE_BYTES) {
        out.clear();
        encode_piece(&mut out, piece);
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
