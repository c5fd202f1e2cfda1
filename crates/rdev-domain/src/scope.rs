//! Scopes of API keys, and the principal of a request.

use crate::KeyId;

/// A permission of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Read projects, commands, output and events.
    ProjectsRead,
    /// Run and cancel commands.
    ProjectsExecute,
    /// Create and delete projects, cancel and retry their operations.
    ProjectsWrite,
    /// Read tasks, their output and events.
    QueueRead,
    /// Add, cancel and retry tasks.
    QueueWrite,
    /// Read the workers of the pool.
    WorkersRead,
    /// Drain workers.
    WorkersWrite,
    /// Every permission.
    Admin,
}

impl Scope {
    /// Returns the scope's name in keys, errors and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProjectsRead => "projects:read",
            Self::ProjectsExecute => "projects:execute",
            Self::ProjectsWrite => "projects:write",
            Self::QueueRead => "queue:read",
            Self::QueueWrite => "queue:write",
            Self::WorkersRead => "workers:read",
            Self::WorkersWrite => "workers:write",
            Self::Admin => "admin",
        }
    }
}

/// The API key that makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Public id of the key.
    pub key: KeyId,
    /// Scopes of the key.
    pub scopes: Vec<Scope>,
}

impl Principal {
    /// Tells whether one of the key's scopes includes `scope`.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|held| *held == scope || *held == Scope::Admin)
    }
}
