//! Small crates, and the circles that are seen in them.

use std::path::Path;

use super::{Circle, graph, sources};

type Files = &'static [(&'static str, &'static str)];

fn circles(files: Files) -> Vec<Circle> {
    let read = |file: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == file);
        found.map(|(_, text)| (*text).to_owned())
    };
    graph::circles(&sources::Tree::read(Path::new("src/lib.rs"), &read).unwrap())
}

fn members(files: Files) -> Vec<Vec<String>> {
    circles(files).into_iter().map(|circle| circle.files).collect()
}

#[test]
fn two_files_that_import_each_other_are_a_circle_with_their_names() {
    let found = circles(&[
        ("src/lib.rs", "mod pod; mod status;"),
        ("src/pod.rs", "use crate::status::over; pub(crate) struct Pod; fn f() { over(); }"),
        ("src/status.rs", "use super::pod::Pod; pub(crate) fn over() {} fn g(_: &Pod) {}"),
    ]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].files, ["src/pod.rs", "src/status.rs"]);
    let ties: Vec<_> =
        found[0].ties.iter().map(|tie| (tie.from.as_str(), tie.to.as_str(), &tie.names)).collect();
    assert_eq!(
        ties,
        [
            ("src/pod.rs", "src/status.rs", &vec!["over".to_owned()]),
            ("src/status.rs", "src/pod.rs", &vec!["Pod".to_owned()])
        ]
    );
}

#[test]
fn a_circle_through_three_files_is_one_circle() {
    let found = members(&[
        ("src/lib.rs", "mod a; mod b; mod c; mod d;"),
        ("src/a.rs", "pub fn a() { crate::b::b(); }"),
        ("src/b.rs", "pub fn b() { crate::c::c(); }"),
        ("src/c.rs", "pub fn c() { crate::a::a(); crate::d::d(); }"),
        ("src/d.rs", "pub fn d() {}"),
    ]);
    assert_eq!(found, [["src/a.rs", "src/b.rs", "src/c.rs"]]);
}

#[test]
fn one_way_is_no_circle() {
    let found = members(&[
        ("src/lib.rs", "mod a; mod b; mod c;"),
        ("src/a.rs", "use crate::{b::B, c::C}; fn f(_: B, _: C) {}"),
        ("src/b.rs", "use crate::c::C; pub struct B(C);"),
        ("src/c.rs", "pub struct C;"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_parent_that_only_declares_and_reexports_imports_nothing() {
    let found = members(&[
        ("src/lib.rs", "mod db; pub use db::Db;"),
        ("src/db/mod.rs", "mod pool; pub use pool::Db; pub const LIMIT: u32 = 1;"),
        ("src/db/pool.rs", "use super::LIMIT; pub struct Db; fn f() -> u32 { LIMIT }"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_parent_whose_items_its_children_use_and_which_uses_them_is_in_a_circle() {
    let found = members(&[
        ("src/lib.rs", "mod db;"),
        (
            "src/db/mod.rs",
            "mod pool; pub use pool::Db; pub const LIMIT: u32 = 1; fn open() -> Db { pool::make() }",
        ),
        ("src/db/pool.rs", "use super::LIMIT; pub struct Db; pub fn make() -> Db { f(LIMIT) }"),
    ]);
    assert_eq!(found, [["src/db/mod.rs", "src/db/pool.rs"]]);
}

#[test]
fn a_reexport_leads_to_the_file_that_defines() {
    // `crate::Pod` is defined in pod.rs, wherever it is taken from.
    let found = members(&[
        ("src/lib.rs", "mod pod; mod status; pub use pod::*;"),
        ("src/pod.rs", "use crate::status as s; pub struct Pod; fn f() { s::over(); }"),
        ("src/status.rs", "use crate::Pod; pub fn over() {} fn g(_: Pod) {}"),
    ]);
    assert_eq!(found, [["src/pod.rs", "src/status.rs"]]);
}

#[test]
fn a_module_that_is_named_and_not_used_is_no_import() {
    let found = members(&[
        ("src/lib.rs", "mod a; mod b;"),
        ("src/a.rs", "use super::b; pub fn a() { let b = 1; f(b); }"),
        ("src/b.rs", "use super::a::a; pub fn b() { a(); }"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn paths_inside_macros_are_imports() {
    let found = members(&[
        ("src/lib.rs", "mod a; mod b;"),
        ("src/a.rs", "pub const A: u32 = 1; fn f() { println!(\"{}\", [crate::b::B]); }"),
        ("src/b.rs", "pub const B: u32 = 1; macro_rules! m { () => { $crate::a::A } }"),
    ]);
    assert_eq!(found, [["src/a.rs", "src/b.rs"]]);
}

#[test]
fn a_macro_is_an_item_of_its_file() {
    let found = members(&[
        ("src/lib.rs", "mod a; mod b;"),
        ("src/a.rs", "macro_rules! turn { () => {} } pub(crate) use turn; use crate::b::B; fn f(_: B) {}"),
        ("src/b.rs", "pub struct B; fn f() { crate::a::turn!(); }"),
    ]);
    assert_eq!(found, [["src/a.rs", "src/b.rs"]]);
}

#[test]
fn tests_may_import_what_they_like() {
    let found = members(&[
        ("src/lib.rs", "mod a; mod b; #[cfg(test)] mod tests;"),
        ("src/a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::b::B; fn f(_: B) {} }"),
        ("src/b.rs", "use crate::a::A; pub struct B(A);"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_module_inside_a_file_belongs_to_the_file() {
    let found = members(&[
        ("src/lib.rs", "mod a; mod b;"),
        (
            "src/a.rs",
            "pub mod inner { use super::super::b::B; pub fn f(_: B) {} } fn g() { inner::f(todo!()); }",
        ),
        ("src/b.rs", "pub struct B; fn f() { crate::a::inner::f(B); }"),
    ]);
    assert_eq!(found, [["src/a.rs", "src/b.rs"]]);
}

#[test]
fn names_of_other_crates_are_no_imports() {
    let found = members(&[
        ("src/lib.rs", "mod a; mod serde;"),
        (
            "src/a.rs",
            "use ::serde::Serialize; use tokio::sync::Mutex; pub fn a(_: &dyn Serialize, _: Mutex<u8>) {}",
        ),
        ("src/serde.rs", "use crate::a::a; pub struct Serialize; fn f() { a(); }"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn an_import_of_itself_ends() {
    assert!(members(&[("src/lib.rs", "use self::x; pub use crate::*; fn f() { x(); }")]).is_empty());
}

#[test]
fn a_declared_module_without_a_file_is_told() {
    let read = |file: &Path| (file == Path::new("src/lib.rs")).then(|| "mod gone;".to_owned());
    let error = sources::Tree::read(Path::new("src/lib.rs"), &read).unwrap_err();
    assert_eq!(error.to_string(), "module gone has no file in src/");
}
