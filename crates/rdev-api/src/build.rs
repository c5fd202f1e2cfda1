//! The build of this program: its version, and the commit of its source.

/// Version of the package.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Commit of the source, shortened; `unknown` where the build could not tell, and for builds of developers, whose source is
/// rarely that of a commit.
pub(crate) const COMMIT: &str = env!("RDEV_COMMIT");
/// Both, for `--version`.
pub(crate) const DESCRIPTION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("RDEV_COMMIT"), ")");
