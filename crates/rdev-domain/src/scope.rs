use crate::KeyId;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// See projects, commands, output and events.
    ProjectsRead,
    /// Run and cancel commands.
    ProjectsExecute,
    /// Everything.
    Admin,
}

impl Scope {
    /// The scope's name in keys, errors and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProjectsRead => "projects:read",
            Self::ProjectsExecute => "projects:execute",
            Self::Admin => "admin",
        }
    }
}

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The key's public id.
    pub key: KeyId,
    /// What the key may do.
    pub scopes: Vec<Scope>,
}

impl Caller {
    /// Whether one of the caller's scopes includes `scope`.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|held| *held == scope || *held == Scope::Admin)
    }
}
