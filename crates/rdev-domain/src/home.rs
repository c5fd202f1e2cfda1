use std::fmt;
use std::str::FromStr;

use crate::{IdError, ProjectId};

/// Where a command belongs: what it may be found by, and whose log tells of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Home {
    /// A project, in whose place it runs.
    Project(ProjectId),
    /// The pool of workers, any of which may run it.
    Pool,
}

/// What no project can be called.
const POOL: &str = "@pool";

impl Home {
    /// Its name in stores.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Project(id) => id.as_str(),
            Self::Pool => POOL,
        }
    }
}

impl FromStr for Home {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == POOL { Ok(Self::Pool) } else { text.parse().map(Self::Project) }
    }
}

impl From<ProjectId> for Home {
    fn from(id: ProjectId) -> Self {
        Self::Project(id)
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_read_back_and_no_project_is_the_pool() {
        for home in [Home::Pool, Home::Project("demo".parse().unwrap())] {
            assert_eq!(home.as_str().parse::<Home>().unwrap(), home);
        }
        assert!(POOL.parse::<ProjectId>().is_err());
    }
}
