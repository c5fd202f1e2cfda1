//! Kinds of jobs, and their names.

use crate::{AgentProvider, OperationKind, TaskKind};

/// Kind of a job. A command and a task may have kinds of the same name: both have `shell`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// A command of this kind.
    Command(CommandKind),
    /// A task of this kind.
    Task(TaskKind),
    /// An operation of this kind.
    Operation(OperationKind),
}

/// Kind of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandKind {
    /// Claude Code.
    Claude,
    /// The shell.
    Shell,
    /// git.
    Git,
}

impl JobKind {
    /// Returns the kind's name in answers and stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Command(kind) => kind.as_str(),
            Self::Task(kind) => kind.as_str(),
            Self::Operation(kind) => kind.as_str(),
        }
    }

    /// All kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        let commands = CommandKind::ALL.into_iter().map(Self::Command);
        let tasks = TaskKind::ALL.into_iter().map(Self::Task);
        commands.chain(tasks).chain(OperationKind::ALL.into_iter().map(Self::Operation))
    }

    /// Coding agent that runs jobs of the kind; `None` for every other program.
    pub fn agent(self) -> Option<AgentProvider> {
        match self {
            Self::Command(CommandKind::Claude) => Some(AgentProvider::Claude),
            Self::Command(CommandKind::Shell | CommandKind::Git) | Self::Task(_) | Self::Operation(_) => None,
        }
    }
}

impl CommandKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Claude, Self::Shell, Self::Git];

    /// Returns the kind's name in answers and stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Shell => "shell",
            Self::Git => "git",
        }
    }

    /// Parses the name of a kind.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_among_those_of_its_target() {
        let names = |is_one: fn(&JobKind) -> bool| -> Vec<_> {
            JobKind::all().filter(is_one).map(JobKind::as_str).collect()
        };
        let commands = names(|kind| matches!(kind, JobKind::Command(_)));
        let tasks = names(|kind| matches!(kind, JobKind::Task(_)));
        let operations = names(|kind| matches!(kind, JobKind::Operation(_)));
        assert_eq!(commands, ["claude", "shell", "git"]);
        assert_eq!(tasks, ["build", "test", "deploy", "shell"]);
        assert_eq!(operations, ["create_project", "delete_project"]);
        for kind in CommandKind::ALL {
            assert_eq!(CommandKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(CommandKind::parse("build"), None);
        for kind in OperationKind::ALL {
            assert_eq!(OperationKind::parse(kind.as_str()), Some(kind));
        }
    }
}
