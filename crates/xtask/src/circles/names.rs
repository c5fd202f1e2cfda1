//! Resolves a path to the item behind it, through imports, re-exports and globs.

use super::sources::Tree;

/// Target of a path inside its crate.
#[derive(Debug, Clone, Copy)]
enum Target {
    /// An item, by the index of the file that defines it.
    Item(usize),
    /// A module, by its index.
    Module(usize),
}

/// Resolves a path that the code of a module names, to the file that defines its item and to the item's name in the
/// path. None is for modules, for what other crates define, and for local names.
pub(super) fn item<'a>(tree: &Tree, module: usize, path: &'a [String]) -> Option<(usize, &'a str)> {
    let mut resolver = Resolver { tree, asked: Vec::new() };
    (1..=path.len()).find_map(|end| match resolver.path(module, &path[..end])? {
        Target::Item(file) => Some((file, path[end - 1].as_str())),
        Target::Module(_) => None,
    })
}

struct Resolver<'a> {
    tree: &'a Tree,
    /// Modules and names that are being looked up: imports may lead back to where they began.
    asked: Vec<(usize, String)>,
}

impl Resolver<'_> {
    fn path(&mut self, module: usize, path: &[String]) -> Option<Target> {
        let mut here = Target::Module(module);
        for (index, segment) in path.iter().enumerate() {
            // What follows an item is its variant, its method, or its constant.
            let Target::Module(module) = here else { return Some(here) };
            here = match segment.as_str() {
                "crate" if index == 0 => Target::Module(0),
                "self" if index == 0 => here,
                "super" => Target::Module(self.tree.modules[module].parent?),
                name => self.name(module, name, index + 1 < path.len())?,
            };
        }
        Some(here)
    }

    /// Looks a name up in a module. A module and a function may have the same name: the first is meant where a path
    /// goes on.
    fn name(&mut self, module: usize, name: &str, goes_on: bool) -> Option<Target> {
        let found = &self.tree.modules[module];
        let child = found.children.get(name).copied().map(Target::Module);
        let item = found.items.contains(name).then_some(Target::Item(found.file));
        let own = if goes_on { child.or(item) } else { item.or(child) };
        if own.is_some() {
            return own;
        }
        let asked = (module, name.to_owned());
        if self.asked.contains(&asked) {
            return None;
        }
        self.asked.push(asked);
        let target = self.imported(module, name, goes_on);
        self.asked.pop();
        target
    }

    fn imported(&mut self, module: usize, name: &str, goes_on: bool) -> Option<Target> {
        let tree = self.tree;
        let found = &tree.modules[module];
        let named = found.imports.iter().filter(|(import, _)| import == name);
        named.map(|(_, path)| path).find_map(|path| self.path(module, path)).or_else(|| {
            found.globs.iter().find_map(|glob| match self.path(module, glob)? {
                Target::Module(from) => self.name(from, name, goes_on),
                Target::Item(_) => None,
            })
        })
    }
}
