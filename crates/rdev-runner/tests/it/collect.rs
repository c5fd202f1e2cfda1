//! Collection of files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rdev_runner::files::{BYTES_MAX, Decoder, FILES_MAX, Item, Why};

use crate::support::Sandbox;

/// Returns the items for these patterns: each file with its bytes, or the reason for none.
fn collect(sandbox: &Sandbox, patterns: &[&str]) -> Vec<(String, Result<Vec<u8>, Why>)> {
    let mut command = sandbox.command("collect");
    command.arg("--cwd").arg(sandbox.path().join("work")).arg("--").args(patterns);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let (mut decoder, mut items, mut done) = (Decoder::default(), Vec::new(), false);
    decoder.push(&output.stdout);
    while let Some(item) = decoder.next_item().unwrap() {
        match item {
            Item::File { path, size } => items.push((path, size, Ok(Vec::new()))),
            Item::Piece(bytes) => items.last_mut().unwrap().2.as_mut().unwrap().extend_from_slice(&bytes),
            Item::Not { path, size, why } => items.push((path, size, Err(why))),
            Item::Done => done = true,
        }
    }
    assert!(done);
    let whole = |(path, size, kept): (String, u64, Result<Vec<u8>, Why>)| {
        assert!(kept.as_ref().is_ok_and(|bytes| bytes.len() as u64 == size) || kept.is_err(), "{path}");
        (path, kept)
    };
    items.into_iter().map(whole).collect()
}

fn write(sandbox: &Sandbox, path: &str, bytes: impl AsRef<[u8]>) {
    let path = sandbox.path().join("work").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn paths(items: &[(String, Result<Vec<u8>, Why>)]) -> Vec<&str> {
    items.iter().map(|(path, _)| path.as_str()).collect()
}

#[test]
fn patterns_match_as_in_a_shell() {
    let sandbox = Sandbox::new();
    for path in ["a.xml", "b/c.xml", "b/d/e.xml", "b/f.txt", ".git/x.xml", "b/.hidden/y.xml", "[odd] name"] {
        write(&sandbox, path, path);
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
        let items = collect(&sandbox, &[pattern]);
        assert_eq!(paths(&items), expected, "{pattern}");
        let whole = |(path, bytes): &(String, Result<Vec<u8>, Why>)| match bytes {
            Ok(bytes) => bytes == path.as_bytes(),
            Err(why) => *why == Why::Missing && path == pattern,
        };
        assert!(items.iter().all(whole), "{items:?}");
    }
    let twice = collect(&sandbox, &["b/c.xml", "none", "**/c.xml"]);
    assert_eq!(paths(&twice), ["b/c.xml", "none"]);
    assert_eq!(twice[1].1, Err(Why::Missing));
}

#[test]
fn nothing_outside_the_folder_is_sent() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("secret"), "secret").unwrap();
    write(&sandbox, "in/file", "inside");
    let link = |to: &str, at: &str| symlink(Path::new(to), sandbox.path().join("work").join(at)).unwrap();
    link("../secret", "out");
    link("..", "up");
    link("in/file", "same");
    link(".", "in/circle");
    link("nowhere", "dangling");
    for (pattern, why) in [("out", Why::Unreadable), ("up", Why::Unreadable), ("dangling", Why::Unreadable)] {
        let items = collect(&sandbox, &[pattern]);
        assert_eq!(items, [(pattern.to_owned(), Err(why))]);
    }
    // A link to a folder is listed, and not followed.
    let items = collect(&sandbox, &["same", "in", "up/secret"]);
    let expected = [
        ("in/circle", Err(Why::Unreadable)),
        ("in/file", Ok(b"inside".to_vec())),
        ("same", Ok(b"inside".to_vec())),
        ("up", Err(Why::Unreadable)),
    ];
    assert_eq!(items, expected.map(|(path, kept)| (path.to_owned(), kept)));
}

#[test]
fn files_over_the_limits_are_reported() {
    let sandbox = Sandbox::new();
    write(&sandbox, "a", vec![1; BYTES_MAX as usize]);
    write(&sandbox, "b", "");
    write(&sandbox, "c", "x");
    let items = collect(&sandbox, &["?"]);
    assert_eq!(paths(&items), ["a", "b", "c"]);
    assert_eq!((&items[1].1, &items[2].1), (&Ok(Vec::new()), &Err(Why::TooLarge)));
    for n in 0..=FILES_MAX {
        write(&sandbox, &format!("many/{n}"), "");
    }
    let items = collect(&sandbox, &["many"]);
    assert_eq!(
        (items.len(), items.last().unwrap()),
        (FILES_MAX + 1, &("many".to_owned(), Err(Why::TooMany)))
    );
}

#[test]
fn a_missing_folder_has_no_files() {
    let items = collect(&Sandbox::new(), &["a"]);
    assert_eq!(items, [("a".to_owned(), Err(Why::Missing))]);
    for args in ["collect", "collect --cwd /tmp", "collect -- a", "collect --id x --cwd /tmp -- a"] {
        assert_eq!(Sandbox::new().call(args).status.code(), Some(64), "{args}");
    }
}

/// Creates a link in the folder.
fn link(sandbox: &Sandbox, to: &str, at: &str) {
    let at = sandbox.path().join("work").join(at);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    symlink(Path::new(to), at).unwrap();
}

#[test]
fn links_to_folders_lead_no_pattern_astray() {
    let circles = Sandbox::new();
    write(&circles, "report.xml", "r");
    ["a", "b"].iter().for_each(|at| link(&circles, ".", at));
    assert_eq!(collect(&circles, &["**/*.xml"]), [("report.xml".to_owned(), Ok(b"r".to_vec()))]);

    // Like the links of pnpm between the packages of a workspace.
    let workspace = Sandbox::new();
    write(&workspace, "out/junit.xml", "j");
    for package in ["a", "b", "c", "d", "e", "f"] {
        for other in ["a", "b", "c", "d", "e", "f"].iter().filter(|&&other| other != package) {
            link(&workspace, &format!("../../{other}"), &format!("packages/{package}/node_modules/{other}"));
        }
    }
    assert_eq!(collect(&workspace, &["**/junit.xml"]), [("out/junit.xml".to_owned(), Ok(b"j".to_vec()))]);

    let small = Sandbox::new();
    write(&small, "d/one.txt", "1");
    link(&small, ".", "loop");
    link(&small, "..", "d/up");
    assert_eq!(paths(&collect(&small, &["**/*.txt", "**"])), ["d/one.txt"]);
}

#[test]
fn names_that_are_not_text_stay_distinct() {
    let sandbox = Sandbox::new();
    write(&sandbox, "report.xml", "r");
    for (name, content) in [(&b"\xff"[..], "ff"), (b"\xfe", "fe"), (b"%FF", "percent")] {
        write(&sandbox, "fixtures/x", "");
        let name = std::os::unix::ffi::OsStrExt::from_bytes(name);
        let folder = sandbox.path().join("work/fixtures");
        fs::rename(folder.join("x"), folder.join::<&std::ffi::OsStr>(name)).unwrap();
        fs::write(folder.join::<&std::ffi::OsStr>(name), content).unwrap();
    }
    let items = collect(&sandbox, &["**/*.xml", "fixtures/"]);
    let expected =
        [("fixtures/%25FF", "percent"), ("fixtures/%FE", "fe"), ("fixtures/%FF", "ff"), ("report.xml", "r")];
    assert_eq!(items, expected.map(|(path, bytes)| (path.to_owned(), Ok(bytes.as_bytes().to_vec()))));
    assert_eq!(paths(&collect(&sandbox, &["fixtures/?"])), ["fixtures/%FE", "fixtures/%FF"]);
}

/// Returns a pseudo-random number below `below`; the sequence depends on the seed alone.
fn chance(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % below
}

#[test]
fn the_search_of_every_tree_ends() {
    for seed in 0..12_u64 {
        let (sandbox, mut state) = (Sandbox::new(), seed);
        let mut folders = vec![String::new()];
        for n in 0..40 {
            let folder = folders[chance(&mut state, folders.len())].clone();
            match chance(&mut state, 3) {
                0 => {
                    fs::create_dir_all(sandbox.path().join(format!("work/{folder}{n}"))).unwrap();
                    folders.push(format!("{folder}{n}/"));
                }
                1 => write(&sandbox, &format!("{folder}{n}.xml"), ""),
                _ => {
                    let up =
                        "../".repeat(chance(&mut state, 3)) + &folders[chance(&mut state, folders.len())];
                    link(&sandbox, if up.is_empty() { "." } else { &up }, &format!("{folder}{n}"));
                }
            }
        }
        let items = collect(&sandbox, &["**/*.xml", "**", "*/**/?*", "*"]);
        assert!(
            items.iter().filter(|(_, kept)| kept.is_ok()).all(|(path, _)| path.ends_with(".xml")),
            "{items:?}"
        );
    }
}
