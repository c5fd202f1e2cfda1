//! Files on their way out.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rdev_runner::files::{BYTES_MAX, Decoder, FILES_MAX, Item, Why};

use crate::support::Place;

/// What is told of these patterns: each file with its bytes, or the reason that there are none.
fn collect(place: &Place, patterns: &[&str]) -> Vec<(String, Result<Vec<u8>, Why>)> {
    let mut command = place.command("collect");
    command.arg("--cwd").arg(place.path().join("work")).arg("--").args(patterns);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let (mut decoder, mut told, mut done) = (Decoder::default(), Vec::new(), false);
    decoder.push(&output.stdout);
    while let Some(item) = decoder.next_item().unwrap() {
        match item {
            Item::File { path, size } => told.push((path, size, Ok(Vec::new()))),
            Item::Piece(bytes) => told.last_mut().unwrap().2.as_mut().unwrap().extend_from_slice(&bytes),
            Item::Not { path, size, why } => told.push((path, size, Err(why))),
            Item::Done => done = true,
        }
    }
    assert!(done);
    let whole = |(path, size, kept): (String, u64, Result<Vec<u8>, Why>)| {
        assert!(kept.as_ref().is_ok_and(|bytes| bytes.len() as u64 == size) || kept.is_err(), "{path}");
        (path, kept)
    };
    told.into_iter().map(whole).collect()
}

fn write(place: &Place, path: &str, bytes: impl AsRef<[u8]>) {
    let path = place.path().join("work").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn paths(told: &[(String, Result<Vec<u8>, Why>)]) -> Vec<&str> {
    told.iter().map(|(path, _)| path.as_str()).collect()
}

#[test]
fn patterns_name_files_as_a_shell_has_it() {
    let place = Place::new();
    for path in ["a.xml", "b/c.xml", "b/d/e.xml", "b/f.txt", ".git/x.xml", "b/.hidden/y.xml", "[odd] name"] {
        write(&place, path, path);
    }
    for (pattern, expected) in [
        ("*.xml", &["a.xml"][..]),
        ("**/*.xml", &["a.xml", "b/c.xml", "b/d/e.xml"]),
        ("b/*.???", &["b/c.xml", "b/f.txt"]),
        ("b", &["b/.hidden/y.xml", "b/c.xml", "b/d/e.xml", "b/f.txt"]),
        ("b/**", &["b/c.xml", "b/d/e.xml", "b/f.txt"]),
        ("**", &["[odd] name", "a.xml", "b/c.xml", "b/d/e.xml", "b/f.txt"]),
        ("b/?", &["b/?"]),
        ("?odd? name", &["[odd] name"]),
        (".git/*", &[".git/x.xml"]),
    ] {
        let told = collect(&place, &[pattern]);
        assert_eq!(paths(&told), expected, "{pattern}");
        let whole = |(path, bytes): &(String, Result<Vec<u8>, Why>)| match bytes {
            Ok(bytes) => bytes == path.as_bytes(),
            Err(why) => *why == Why::Missing && path == pattern,
        };
        assert!(told.iter().all(whole), "{told:?}");
    }
    let twice = collect(&place, &["b/c.xml", "none", "**/c.xml"]);
    assert_eq!(paths(&twice), ["b/c.xml", "none"]);
    assert_eq!(twice[1].1, Err(Why::Missing));
}

#[test]
fn nothing_outside_the_folder_is_sent() {
    let place = Place::new();
    fs::write(place.path().join("secret"), "secret").unwrap();
    write(&place, "in/file", "inside");
    let link = |to: &str, at: &str| symlink(Path::new(to), place.path().join("work").join(at)).unwrap();
    link("../secret", "out");
    link("..", "up");
    link("in/file", "same");
    link(".", "in/circle");
    link("nowhere", "dangling");
    for (pattern, why) in [("out", Why::Unreadable), ("up", Why::Unreadable), ("dangling", Why::Unreadable)] {
        let told = collect(&place, &[pattern]);
        assert_eq!(told, [(pattern.to_owned(), Err(why))]);
    }
    let told = collect(&place, &["same", "in", "up/secret"]);
    let expected = [
        ("in/circle", Err(Why::Unreadable)),
        ("in/file", Ok(b"inside".to_vec())),
        ("same", Ok(b"inside".to_vec())),
        ("up/secret", Err(Why::Unreadable)),
    ];
    assert_eq!(told, expected.map(|(path, kept)| (path.to_owned(), kept)));
}

#[test]
fn what_is_too_much_is_told() {
    let place = Place::new();
    write(&place, "a", vec![1; BYTES_MAX as usize]);
    write(&place, "b", "");
    write(&place, "c", "x");
    let told = collect(&place, &["?"]);
    assert_eq!(paths(&told), ["a", "b", "c"]);
    assert_eq!((&told[1].1, &told[2].1), (&Ok(Vec::new()), &Err(Why::TooLarge)));
    for n in 0..=FILES_MAX {
        write(&place, &format!("many/{n}"), "");
    }
    let told = collect(&place, &["many"]);
    assert_eq!((told.len(), told.last().unwrap()), (FILES_MAX + 1, &("many".to_owned(), Err(Why::TooMany))));
}

#[test]
fn a_folder_that_is_not_there_has_no_files() {
    let told = collect(&Place::new(), &["a"]);
    assert_eq!(told, [("a".to_owned(), Err(Why::Missing))]);
    for args in ["collect", "collect --cwd /tmp", "collect -- a", "collect --id x --cwd /tmp -- a"] {
        assert_eq!(Place::new().call(args).status.code(), Some(64), "{args}");
    }
}
