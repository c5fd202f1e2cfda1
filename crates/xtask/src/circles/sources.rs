//! The modules of a crate: what each defines, imports and names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItemFn, Item, ItemMod, ItemUse, UseTree, Visibility};

/// Segments of a path, as written: `crate`, `self`, `super`, names.
pub(super) type Segments = Vec<String>;

/// Reads a file of the crate, by its path from the crate's folder.
pub(super) type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// A module, in a file of its own or inside one.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// The index of its file in [`Tree::files`].
    pub(super) file: usize,
    pub(super) parent: Option<usize>,
    pub(super) children: BTreeMap<String, usize>,
    /// Names of items that it defines, macros among them.
    pub(super) items: BTreeSet<String>,
    /// Names that it imports or re-exports, each with the path behind it.
    pub(super) imports: Vec<(String, Segments)>,
    /// Paths of modules of which it imports every name.
    pub(super) globs: Vec<Segments>,
    /// Every path that its code names.
    pub(super) mentions: BTreeSet<Segments>,
}

/// The modules of a crate; the first is the root.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) modules: Vec<Module>,
    /// Paths from the crate's folder.
    pub(super) files: Vec<PathBuf>,
}

impl Tree {
    /// Reads a crate from its `lib.rs` or `main.rs`, following `mod` declarations.
    pub(super) fn read(top: &Path, read: Read<'_>) -> anyhow::Result<Self> {
        let mut reader = Reader { tree: Self::default(), read, open: vec![(top.to_owned(), None)] };
        while let Some((file, parent)) = reader.open.pop() {
            reader.file(file, parent)?;
        }
        Ok(reader.tree)
    }
}

struct Reader<'a> {
    tree: Tree,
    read: Read<'a>,
    /// Files that are declared and not yet read, with the parent and the name of their module.
    open: Vec<(PathBuf, Option<(usize, String)>)>,
}

impl Reader<'_> {
    fn file(&mut self, file: PathBuf, parent: Option<(usize, String)>) -> anyhow::Result<()> {
        let text = (self.read)(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| file.display().to_string())?;
        self.tree.files.push(file.clone());
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let beside = matches!(&*stem, "lib" | "main" | "mod");
        let children = if beside { file.with_file_name("") } else { file.with_extension("") };
        let index = self.tree.files.len() - 1;
        self.module(index, parent, &parsed.items, &children)
    }

    /// Adds a module and what is declared in it; `folder` is where its children have their files.
    fn module(
        &mut self,
        file: usize,
        parent: Option<(usize, String)>,
        items: &[Item],
        folder: &Path,
    ) -> anyhow::Result<()> {
        let index = self.tree.modules.len();
        let mut module =
            Module { file, parent: parent.as_ref().map(|(parent, _)| *parent), ..Module::default() };
        let product = || items.iter().filter(|item| !is_test(attributes(item)));
        module.items = product().filter_map(name).collect();
        let mut code = Code { module: &mut module };
        product().for_each(|item| code.visit_item(item));
        self.tree.modules.push(module);
        if let Some((parent, name)) = parent {
            self.tree.modules[parent].children.insert(name, index);
        }
        for item in product() {
            let Item::Mod(declared) = item else { continue };
            let name = declared.ident.to_string();
            if let Some((_, items)) = &declared.content {
                self.module(file, Some((index, name.clone())), items, &folder.join(&name))?;
            } else {
                let places = [folder.join(format!("{name}.rs")), folder.join(&name).join("mod.rs")];
                let place = places.into_iter().find(|place| (self.read)(place).is_some());
                let place =
                    place.with_context(|| format!("module {name} has no file in {}", folder.display()))?;
                self.open.push((place, Some((index, name))));
            }
        }
        Ok(())
    }
}

/// Collects what the code of one module names.
struct Code<'a> {
    module: &'a mut Module,
}

impl<'ast> Visit<'ast> for Code<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, method: &'ast ImplItemFn) {
        if !is_test(&method.attrs) {
            visit::visit_impl_item_fn(self, method);
        }
    }

    /// A module of its own, read for itself.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}

    /// Attributes are read by macros of other crates.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_some() {
            return;
        }
        let mut leaves = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut leaves);
        for (name, path) in leaves {
            match name {
                Some(name) => {
                    if matches!(item.vis, Visibility::Inherited) {
                        self.module.mentions.insert(path.clone());
                    }
                    self.module.imports.push((name, path));
                }
                None => self.module.globs.push(path),
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.module.mentions.insert(segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        paths_of_tokens(called.tokens.clone(), &mut self.module.mentions);
    }
}

/// Lists the leaves of a use declaration: the name in this module (none for a glob) and the path.
fn flatten(tree: &UseTree, before: &mut Segments, leaves: &mut Vec<(Option<String>, Segments)>) {
    let with = |name: &syn::Ident| {
        let mut path = before.clone();
        // `use a::{self}` names `a`.
        if path.is_empty() || name != "self" {
            path.push(name.to_string());
        }
        path
    };
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, leaves);
            before.pop();
        }
        UseTree::Name(name) => {
            let path = with(&name.ident);
            leaves.push((path.last().cloned(), path));
        }
        UseTree::Rename(rename) => leaves.push((Some(rename.rename.to_string()), with(&rename.ident))),
        UseTree::Glob(_) => leaves.push((None, before.clone())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, leaves)),
    }
}

/// Adds what looks like a path in the tokens of a macro: names with `::` between them.
fn paths_of_tokens(tokens: TokenStream, found: &mut BTreeSet<Segments>) {
    let mut path = Segments::new();
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                if colons != 2 {
                    found.insert(std::mem::take(&mut path));
                }
                path.push(name.to_string());
                colons = 0;
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
            other => {
                found.insert(std::mem::take(&mut path));
                colons = 0;
                if let TokenTree::Group(group) = other {
                    paths_of_tokens(group.stream(), found);
                }
            }
        }
    }
    found.insert(path);
    found.remove(&Segments::new());
}

/// Returns whether these attributes say that the code is there for tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    let cfg = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    cfg.filter_map(|attribute| attribute.meta.require_list().ok()).any(|list| {
        let first = list.tokens.clone().into_iter().next();
        matches!(first, Some(TokenTree::Ident(name)) if name == "test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Returns the name that an item defines in its module.
fn name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
