//! How long 500 projects take to be found, and a change of one to be seen, beside one bare list of the same
//! pods in the same run: `cargo bench -p rdev-kube`.

fn main() {}
