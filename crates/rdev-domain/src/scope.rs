use crate::KeyId;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// See projects, commands, output and events.
    ProjectsRead,
    /// Run and cancel commands.
    ProjectsExecute,
    /// See tasks, their output and events.
    QueueRead,
    /// Add, cancel and retry tasks.
    QueueWrite,
    /// See the workers of the pool.
    WorkersRead,
    /// Drain workers.
    WorkersWrite,
    /// Everything.
    Admin,
}

impl Scope {
    /// The scope's name in keys, errors and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProjectsRead => "projects:read",
            Self::ProjectsExecute => "projects:execute",
            Self::QueueRead => "queue:read",
            Self::QueueWrite => "queue:write",
            Self::WorkersRead => "workers:read",
            Self::WorkersWrite => "workers:write",
            Self::Admin => "admin",
        }
    }
}

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The key's public id.
    pub key: KeyId,
    /// What the key may do.
    pub scopes: Vec<Scope>,
}

impl Principal {
    /// Whether one of the caller's scopes includes `scope`.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|held| *held == scope || *held == Scope::Admin)
    }
}
