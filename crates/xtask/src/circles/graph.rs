//! The files of a crate and their imports as a graph, and the circles in it.

use std::collections::{BTreeMap, BTreeSet};

use super::names::item;
use super::sources::Tree;

/// Files that import each other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Circle {
    /// Paths from the crate's folder, in their order.
    pub(crate) files: Vec<String>,
    /// The imports among them.
    pub(crate) ties: Vec<Tie>,
}

/// Names that one file of a circle takes from another one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tie {
    /// The file that imports.
    pub(crate) from: String,
    /// The file that defines.
    pub(crate) to: String,
    /// The items that are named.
    pub(crate) names: Vec<String>,
}

/// For each file the files that it imports, with the names.
type Graph = BTreeMap<usize, BTreeMap<usize, BTreeSet<String>>>;

/// Returns the circles of a crate.
pub(super) fn circles(tree: &Tree) -> Vec<Circle> {
    let graph = graph(tree);
    let reached: BTreeMap<usize, BTreeSet<usize>> =
        graph.keys().map(|file| (*file, reach(&graph, *file))).collect();
    let mut done = BTreeSet::new();
    let mut circles = Vec::new();
    for (file, ahead) in &reached {
        if !ahead.contains(file) || !done.insert(*file) {
            continue;
        }
        let back = |other: &&usize| reached.get(other).is_some_and(|ahead| ahead.contains(file));
        let members: BTreeSet<usize> = ahead.iter().filter(back).copied().collect();
        done.extend(&members);
        circles.push(circle(tree, &graph, &members));
    }
    circles
}

fn circle(tree: &Tree, graph: &Graph, members: &BTreeSet<usize>) -> Circle {
    let name = |file: &usize| tree.files[*file].display().to_string();
    let mut files: Vec<String> = members.iter().map(name).collect();
    files.sort();
    let mut ties = Vec::new();
    for from in members {
        for (to, names) in graph[from].iter().filter(|(to, _)| members.contains(to)) {
            ties.push(Tie { from: name(from), to: name(to), names: names.iter().cloned().collect() });
        }
    }
    ties.sort_by(|one, other| (&one.from, &one.to).cmp(&(&other.from, &other.to)));
    Circle { files, ties }
}

fn graph(tree: &Tree) -> Graph {
    let mut graph = Graph::new();
    for (index, module) in tree.modules.iter().enumerate() {
        for path in &module.mentions {
            let Some((file, name)) = item(tree, index, path) else { continue };
            if file != module.file {
                graph.entry(module.file).or_default().entry(file).or_default().insert(name.to_owned());
            }
        }
    }
    graph
}

/// Returns the files that a file imports, directly or through others; itself among them if a circle leads back.
fn reach(graph: &Graph, from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        let ahead = graph.get(&file).into_iter().flat_map(BTreeMap::keys);
        open.extend(ahead.filter(|next| reached.insert(**next)));
    }
    reached
}
