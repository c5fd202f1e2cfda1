//! Searches files in a tree. Links to folders are never followed, so every search ends; the number of
//! visited names has a limit besides.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::listed::listed;
use super::pattern::Pattern;
use crate::files::{FILES_MAX, PATH_BYTES_MAX, Why};

/// Limits of a search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Most names in folders.
    pub(super) names: usize,
    /// Longest time: less than the 30 s after which a silent program is given up.
    pub(super) time: Duration,
}

/// More names than a large checkout with its packages has.
pub(super) const LIMITS: Limits = Limits { names: 1_000_000, time: Duration::from_secs(15) };

/// Result of a search.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Files by their listed names; `None`: not readable.
    pub(super) files: BTreeMap<String, Option<PathBuf>>,
    /// Indices of patterns with matches.
    fitted: BTreeSet<usize>,
    /// Indices of patterns that were cut, with the reason.
    cut: BTreeMap<usize, Why>,
}

/// A folder to visit.
struct Folder {
    path: PathBuf,
    /// Components that patterns expect in the folder, by the pattern's index.
    wanted: Vec<(usize, Vec<usize>)>,
    /// Indices of patterns that match everything in the folder.
    whole: Vec<usize>,
}

struct Search<'a> {
    root: &'a Path,
    patterns: &'a [Pattern],
    open: VecDeque<Folder>,
    found: Found,
}

/// Searches the folder for files that match the patterns, those near its top first.
pub(super) fn search(root: &Path, patterns: &[Pattern], limits: Limits) -> Found {
    let wanted = patterns.iter().enumerate().map(|(number, pattern)| (number, pattern.start())).collect();
    let top = Folder { path: root.to_owned(), wanted, whole: Vec::new() };
    let mut search = Search { root, patterns, open: VecDeque::from([top]), found: Found::default() };
    let (mut names_left, until) = (limits.names, Instant::now() + limits.time);
    while let Some(folder) = search.open.pop_front() {
        let names = match names(&folder.path, &mut names_left, until) {
            Ok(names) => names,
            Err(error) => {
                search.cannot_list(&folder, &error);
                continue;
            }
        };
        for (at, name) in names.iter().enumerate() {
            // A look at the type of a name takes time too.
            if at % 64 == 0 && Instant::now() >= until {
                names_left = 0;
                break;
            }
            search.see(&folder, name);
        }
        if names_left == 0 {
            search.open.push_front(folder);
            search.give_up();
        }
    }
    search.found
}

/// Returns the names in a folder, sorted, within the limits of number and time.
fn names(folder: &Path, left: &mut usize, until: Instant) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        if *left == 0 || Instant::now() >= until {
            *left = 0;
            break;
        }
        *left -= 1;
        names.push(entry?.file_name());
    }
    names.sort();
    Ok(names)
}

impl Search<'_> {
    fn see(&mut self, folder: &Folder, name: &OsString) {
        let path = folder.path.join(name);
        let mut takers: Vec<usize> = folder.whole.clone();
        let (mut by_name, mut wild, mut through) = (Vec::new(), Vec::new(), Vec::new());
        let mut wanted = Vec::new();
        for (number, next) in &folder.wanted {
            let fit = self.patterns[*number].fit(next, name);
            if fit.whole {
                if fit.by_name { by_name.push(*number) } else { wild.push(*number) }
            }
            if !fit.next.is_empty() {
                if fit.by_name {
                    through.push(*number);
                }
                wanted.push((*number, fit.next));
            }
        }
        if takers.is_empty() && by_name.is_empty() && wild.is_empty() && wanted.is_empty() {
            return;
        }
        let kind = fs::symlink_metadata(&path).map(|about| about.file_type());
        if kind.as_ref().is_ok_and(fs::FileType::is_dir) {
            self.found.fitted.extend(&by_name);
            takers.extend(by_name);
            if !takers.is_empty() || !wanted.is_empty() {
                self.open.push_back(Folder { path, wanted, whole: takers });
            }
            return;
        }
        let leads_to_folder = kind.is_ok_and(|kind| kind.is_symlink()) && path.is_dir();
        if leads_to_folder {
            // A link to a folder is listed, and not followed.
            takers.extend(by_name);
            takers.extend(through);
        } else {
            let files = by_name.into_iter().chain(wild);
            takers.extend(files.filter(|&number| !self.patterns[number].folders_only()));
        }
        self.add(&path, &takers);
    }

    /// Adds a file that these patterns match. The file may be a link to one in the folder.
    fn add(&mut self, path: &Path, takers: &[usize]) {
        let takers: Vec<usize> =
            takers.iter().copied().filter(|number| !self.found.cut.contains_key(number)).collect();
        if takers.is_empty() {
            return;
        }
        let name = listed(path.strip_prefix(self.root).unwrap_or(path));
        if name.len() > PATH_BYTES_MAX {
            return self.cut(&takers, Why::Unsearched);
        }
        if self.found.files.len() >= FILES_MAX && !self.found.files.contains_key(&name) {
            return self.cut(&takers, Why::TooMany);
        }
        self.found.fitted.extend(takers);
        let inside = fs::canonicalize(path).ok().filter(|real| real.starts_with(self.root));
        self.found.files.insert(name, inside);
    }

    /// Lists an unreadable folder like an unreadable file.
    fn cannot_list(&mut self, folder: &Folder, error: &io::Error) {
        if error.kind() != io::ErrorKind::NotFound && folder.path != self.root {
            let takers: Vec<usize> =
                folder.whole.iter().copied().chain(folder.wanted.iter().map(|(number, _)| *number)).collect();
            self.add(&folder.path, &takers);
        }
    }

    fn cut(&mut self, patterns: &[usize], why: Why) {
        for number in patterns {
            self.found.cut.entry(*number).or_insert(why);
        }
        // Patterns that were cut are not searched any further.
        let done = |number: &usize| self.found.cut.contains_key(number);
        for folder in &mut self.open {
            folder.wanted.retain(|(number, _)| !done(number));
            folder.whole.retain(|number| !done(number));
        }
        self.open.retain(|folder| !folder.wanted.is_empty() || !folder.whole.is_empty());
    }

    /// Gives up all folders that were not visited yet.
    fn give_up(&mut self) {
        let folders = std::mem::take(&mut self.open);
        for folder in folders {
            for number in folder.whole.into_iter().chain(folder.wanted.into_iter().map(|(number, _)| number))
            {
                self.found.cut.entry(number).or_insert(Why::Unsearched);
            }
        }
    }
}

impl Found {
    /// Returns why a pattern has fewer files than it matches; `None` when it has all.
    pub(super) fn why_less(&self, pattern: usize) -> Option<Why> {
        let missing = (!self.fitted.contains(&pattern)).then_some(Why::Missing);
        self.cut.get(&pattern).copied().or(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(root: &Path, patterns: &[&str], limits: Limits) -> (Vec<String>, Vec<Option<Why>>) {
        let patterns: Vec<Pattern> = patterns.iter().map(|p| Pattern::parse(p).unwrap()).collect();
        let found = search(root, &patterns, limits);
        let why = (0..patterns.len()).map(|number| found.why_less(number)).collect();
        (found.files.into_keys().collect(), why)
    }

    #[test]
    fn a_search_of_a_tree_that_is_too_large_returns_files_near_its_top_and_the_reason() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        fs::create_dir_all(root.join("a/deep")).unwrap();
        for n in 0..20 {
            fs::write(root.join(format!("a/deep/{n}.xml")), "").unwrap();
        }
        fs::write(root.join("top.xml"), "").unwrap();
        let patterns = ["top.xml", "**/*.xml", "a/none"];
        let (files, why) = found(&root, &patterns, Limits { names: 5, ..LIMITS });
        assert_eq!(files[files.len() - 1], "top.xml");
        assert_eq!(why, [None, Some(Why::Unsearched), Some(Why::Missing)]);
        let (files, why) = found(&root, &patterns, Limits { time: Duration::ZERO, ..LIMITS });
        assert_eq!((files.len(), why), (0, vec![Some(Why::Unsearched); 3]));
        let (files, why) = found(&root, &patterns, LIMITS);
        assert_eq!((files.len(), why), (21, vec![None, None, Some(Why::Missing)]));
    }
}
