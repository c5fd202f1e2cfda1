//! Shape of the table: subcommands, their options with arity, and the kind of text that a value is.

/// A subcommand, or a verb of one (`stash push`), with everything that may follow it.
#[derive(Debug)]
pub struct GitSubcommand {
    /// One word, or two with a space between them.
    pub(super) name: &'static str,
    /// Arguments that are not options.
    pub(super) operands: Operands,
    /// Groups of rows; the first row that has an option's name counts.
    pub(super) options: &'static [&'static [Row]],
    /// Options that rdev puts before the caller's: they disable programs of the repository's
    /// configuration.
    pub(super) put_first: &'static [&'static str],
    /// Symbolic links in the work tree that git would follow.
    pub(super) follows: Follows,
    /// Use of an editor, where there is one.
    pub(super) edits: Option<Edits>,
}

/// Use of an editor. There is none, so a line that opens one is refused.
#[derive(Debug)]
pub(super) struct Edits {
    /// Names of the option that opens it, with spaces between; empty where the subcommand does by itself.
    pub(super) with: &'static str,
    /// Options of which one makes the editor needless.
    pub(super) unless: &'static str,
    /// Advice to send another line in its place.
    pub(super) instead: &'static str,
}

/// Symbolic links that git does not check itself, so rdev checks them before git starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// None.
    Nothing,
    /// Links in the folders of tracked paths: the index says `a/b`, and `a` has become a link.
    TrackedPaths,
    /// Those of tracked paths, and links in the last argument.
    TrackedPathsAndDestination,
}

/// Options of one arity and kind: names with spaces between, such as `-m --message`.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) arity: Arity,
    pub(super) kind: Kind,
    pub(super) names: &'static str,
}

/// Arity of an option: the way in which it takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// Never.
    Flag,
    /// Always: attached (`--name=value`, `-nvalue`), or as the next argument.
    Required,
    /// Attached, or none.
    Attached,
    /// Attached, or the next argument; none when the option is the last argument.
    UnlessLast,
}

/// Meaning of a value or an operand to git. Every kind but `Text` and `Format` is refused where it names
/// `.git`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Free text: a message, a pattern, a date. git never takes it for a path.
    Text,
    /// A format or a sort key: text in which nothing starts gpg.
    Format,
    /// A number, a keyword, a revision or a path: a path has to stay inside the workspace.
    Word,
    /// Name of a configured remote, or an address.
    Remote,
    /// Address of a repository.
    Address,
    /// A merge strategy; git would start any other name as a program.
    Strategy,
}

/// Arguments that are not options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operands {
    /// None are accepted.
    None,
    /// All of them are of one kind.
    All(Kind),
    /// The first is of the first kind, all others of the second.
    FirstThen(Kind, Kind),
    /// `grep`: a pattern and then paths, or only paths after `-e`.
    PatternThenPaths,
    /// `clone`: an address and `.`, since a clone beside the workspace could not be reached.
    AddressThenHere,
    /// `config`: a key is read; a few keys may be given a value.
    ConfigKey,
}

pub(super) const fn flags(names: &'static str) -> Row {
    Row { arity: Arity::Flag, kind: Kind::Word, names }
}

pub(super) const fn takes(kind: Kind, names: &'static str) -> Row {
    Row { arity: Arity::Required, kind, names }
}

pub(super) const fn attached(kind: Kind, names: &'static str) -> Row {
    Row { arity: Arity::Attached, kind, names }
}

pub(super) const fn unless_last(kind: Kind, names: &'static str) -> Row {
    Row { arity: Arity::UnlessLast, kind, names }
}

impl GitSubcommand {
    /// Returns the words that name the subcommand.
    pub fn words(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.name.split(' ')
    }

    /// Returns the options that belong directly behind these words, before those of the caller.
    pub fn put_first(&self) -> &'static [&'static str] {
        self.put_first
    }

    /// Returns the symbolic links that git would follow.
    pub fn follows(&self) -> Follows {
        self.follows
    }

    /// Returns the options as they are written (`-m`, `--message`), with their arity.
    pub fn options(&self) -> impl Iterator<Item = (&'static str, Arity)> {
        let rows = self.options.iter().copied().flatten();
        rows.flat_map(|row| row.names.split_whitespace().map(|name| (name, row.arity)))
    }

    /// Returns the row of an option; `name` includes the dashes.
    pub(super) fn row(&self, name: &str) -> Option<&'static Row> {
        let mut rows = self.options.iter().copied().flatten();
        rows.find(|row| row.names.split_whitespace().any(|known| known == name))
    }
}
