//! Requests for git.

use serde::{Deserialize, Serialize};

use crate::{StreamName, TimeoutSeconds};

/// Subcommands of git that are accepted, in alphabetical order.
pub const GIT_SUBCOMMANDS: [&str; 53] = [
    "add",
    "blame",
    "branch",
    "cat-file",
    "check-ignore",
    "checkout",
    "cherry",
    "cherry-pick",
    "clean",
    "clone",
    "commit",
    "config",
    "count-objects",
    "describe",
    "diff",
    "diff-tree",
    "fetch",
    "for-each-ref",
    "fsck",
    "gc",
    "grep",
    "init",
    "log",
    "ls-files",
    "ls-remote",
    "ls-tree",
    "merge",
    "merge-base",
    "merge-tree",
    "mv",
    "name-rev",
    "notes",
    "pull",
    "push",
    "range-diff",
    "rebase",
    "reflog",
    "remote",
    "reset",
    "restore",
    "rev-list",
    "rev-parse",
    "revert",
    "rm",
    "shortlog",
    "show",
    "show-branch",
    "show-ref",
    "stash",
    "status",
    "switch",
    "tag",
    "version",
];

/// Request to run git.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GitBody {
    /// Arguments after `git`, beginning with the subcommand, 256 at most. Options that run a program or leave the
    /// workspace are refused.
    #[cfg_attr(feature = "schema", schema(schema_with = args))]
    pub args: Vec<String>,
    /// Name of the command's stream, new in its project; default: the command's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<StreamName>,
    /// Time limit; default: the server's `RDEV_COMMAND_TIMEOUT_SECONDS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<TimeoutSeconds>,
}

impl GitBody {
    /// Makes a request for these arguments, with every default.
    pub fn new<T: Into<String>>(args: impl IntoIterator<Item = T>) -> Self {
        Self { args: args.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

/// Returns the schema of the arguments: plain texts. A type for the first and another for the rest is what generators of
/// clients make of anything more exact.
#[cfg(feature = "schema")]
fn args() -> utoipa::openapi::schema::Array {
    use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
    let argument = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^[^\\u0000]*$"))
        .max_length(Some(131_071));
    ArrayBuilder::new()
        .description(Some(format!(
            "Arguments after `git`, beginning with the subcommand, 256 at most. Options that run a program or leave the \
             workspace are refused.\n\nSubcommands: {}.",
            GIT_SUBCOMMANDS.join(", ")
        )))
        .items(argument)
        .min_items(Some(1))
        .max_items(Some(256))
        .examples([["log", "--oneline", "-n", "5"]])
        .build()
}
