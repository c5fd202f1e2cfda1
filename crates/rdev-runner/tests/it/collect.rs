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
    // A link to a folder is named, and not gone through.
    let told = collect(&place, &["same", "in", "up/secret"]);
    let expected = [
        ("in/circle", Err(Why::Unreadable)),
        ("in/file", Ok(b"inside".to_vec())),
        ("same", Ok(b"inside".to_vec())),
        ("up", Err(Why::Unreadable)),
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

/// A link in the folder.
fn link(place: &Place, to: &str, at: &str) {
    let at = place.path().join("work").join(at);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    symlink(Path::new(to), at).unwrap();
}

#[test]
fn links_to_folders_lead_no_pattern_astray() {
    let circles = Place::new();
    write(&circles, "report.xml", "r");
    ["a", "b"].iter().for_each(|at| link(&circles, ".", at));
    assert_eq!(collect(&circles, &["**/*.xml"]), [("report.xml".to_owned(), Ok(b"r".to_vec()))]);

    // As pnpm links the packages of a workspace into one another.
    let workspace = Place::new();
    write(&workspace, "out/junit.xml", "j");
    for package in ["a", "b", "c", "d", "e", "f"] {
        for other in ["a", "b", "c", "d", "e", "f"].iter().filter(|&&other| other != package) {
            link(&workspace, &format!("../../{other}"), &format!("packages/{package}/node_modules/{other}"));
        }
    }
    assert_eq!(collect(&workspace, &["**/junit.xml"]), [("out/junit.xml".to_owned(), Ok(b"j".to_vec()))]);

    let small = Place::new();
    write(&small, "d/one.txt", "1");
    link(&small, ".", "loop");
    link(&small, "..", "d/up");
    assert_eq!(paths(&collect(&small, &["**/*.txt", "**"])), ["d/one.txt"]);
}

#[test]
fn names_that_are_no_text_are_kept_apart() {
    let place = Place::new();
    write(&place, "report.xml", "r");
    for (name, content) in [(&b"\xff"[..], "ff"), (b"\xfe", "fe"), (b"%FF", "percent")] {
        write(&place, "fixtures/x", "");
        let name = std::os::unix::ffi::OsStrExt::from_bytes(name);
        let folder = place.path().join("work/fixtures");
        fs::rename(folder.join("x"), folder.join::<&std::ffi::OsStr>(name)).unwrap();
        fs::write(folder.join::<&std::ffi::OsStr>(name), content).unwrap();
    }
    let told = collect(&place, &["**/*.xml", "fixtures/"]);
    let expected =
        [("fixtures/%25FF", "percent"), ("fixtures/%FE", "fe"), ("fixtures/%FF", "ff"), ("report.xml", "r")];
    assert_eq!(told, expected.map(|(path, bytes)| (path.to_owned(), Ok(bytes.as_bytes().to_vec()))));
    assert_eq!(paths(&collect(&place, &["fixtures/?"])), ["fixtures/%FE", "fixtures/%FF"]);
}

/// Steps that never end the same way twice, made of one number.
fn chance(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % below
}

#[test]
fn every_tree_comes_to_an_end() {
    for seed in 0..12_u64 {
        let (place, mut state) = (Place::new(), seed);
        let mut folders = vec![String::new()];
        for n in 0..40 {
            let folder = folders[chance(&mut state, folders.len())].clone();
            match chance(&mut state, 3) {
                0 => {
                    fs::create_dir_all(place.path().join(format!("work/{folder}{n}"))).unwrap();
                    folders.push(format!("{folder}{n}/"));
                }
                1 => write(&place, &format!("{folder}{n}.xml"), ""),
                _ => {
                    let up =
                        "../".repeat(chance(&mut state, 3)) + &folders[chance(&mut state, folders.len())];
                    link(&place, if up.is_empty() { "." } else { &up }, &format!("{folder}{n}"));
                }
            }
        }
        let told = collect(&place, &["**/*.xml", "**", "*/**/?*", "*"]);
        assert!(
            told.iter().filter(|(_, kept)| kept.is_ok()).all(|(path, _)| path.ends_with(".xml")),
            "{told:?}"
        );
    }
}
