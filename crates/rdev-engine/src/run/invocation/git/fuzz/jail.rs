//! A workspace full of traps beside files that are nobody's business, and a look by strace at what git does there.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rdev_domain::check_git_args;

/// Programs that git is, or that its environment names; by the last part of their path.
const ALLOWED: [&str; 9] = ["git", "sh", "dash", "bash", "busybox", "xargs", "true", "false", "ssh"];
/// Every file outside holds this.
const SECRET: &str = "nobody's business";
/// Longest a line may take.
const SECONDS: &str = "20";

/// How the links of the workspace stand in its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// As what they are.
    Tracked,
    /// `link/victim` is tracked, as if `link` were a folder still.
    Followed,
}

pub(super) struct Jail {
    folder: tempfile::TempDir,
    path: String,
    /// Folders with git's own programs.
    programs: Vec<PathBuf>,
}

impl Jail {
    #[expect(clippy::disallowed_methods, reason = "programs are found as the shell finds them")]
    pub(super) fn new() -> Self {
        let path = std::env::var("PATH").expect("there is a PATH");
        let folder = tempfile::Builder::new().prefix("rdev-git-").tempdir().expect("a temporary folder");
        let mut jail = Self { folder, path, programs: Vec::new() };
        jail.programs.push(PathBuf::from(jail.plain_git(Path::new("/"), &["--exec-path"]).trim()));
        jail.build();
        jail
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn remotes(&self) -> String {
        self.at("remotes").display().to_string()
    }

    pub(super) fn accepts(&self, args: &[String]) -> bool {
        check_git_args(args, Some(&self.remotes())).is_ok()
    }

    /// Prepares the place; a copy of `template` is the workspace of each line.
    fn build(&self) {
        for name in ["outside", "remotes", "template", "tmp"] {
            std::fs::create_dir(self.at(name)).expect("a folder can be made");
        }
        std::fs::write(self.at("outside/victim"), SECRET).expect("a file can be written");
        for bare in ["outside/repo.git", "remotes/good.git", "template/evil"] {
            self.plain_git(self.folder.path(), &["init", "-q", "--bare", "-b", "main", bare]);
        }
        let work = self.at("template");
        self.plain_git(&work, &["init", "-q", "-b", "main"]);
        let trap = format!("#!/bin/sh\ntouch {}\n", self.at("ran").display());
        let mut traps = vec![work.join("hook")];
        let hooks = ["pre-commit", "post-commit", "post-checkout", "post-merge", "pre-push", "pre-rebase"];
        traps.extend(hooks.map(|hook| work.join(".git/hooks").join(hook)));
        traps
            .extend(["pre-receive", "update", "post-receive"].map(|hook| work.join("evil/hooks").join(hook)));
        for trap_file in traps {
            std::fs::write(&trap_file, &trap).expect("a file can be written");
            let executable = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&trap_file, executable).expect("it can be made executable");
        }
        self.fill(&work);
        self.set_traps(&work);
    }

    /// Two branches, a stash, and an index in which `link/victim` is a file while `link` has become a link.
    fn fill(&self, work: &Path) {
        let write = |name: &str, text: &str| {
            std::fs::write(work.join(name), text).expect("a file can be written");
        };
        let git = |args: &[&str]| self.plain_git(work, args);
        write("f", "one\n");
        write("hook.txt", "hook");
        write(".gitattributes", "* diff=trap\n");
        git(&["add", "--all", ":!evil"]);
        git(&["commit", "-qm", "first"]);
        git(&["branch", "topic"]);
        std::fs::create_dir(work.join("link")).expect("a folder can be made");
        write("link/victim", "inside\n");
        git(&["add", "link"]);
        git(&["commit", "-qm", "second"]);
        git(&["checkout", "-q", "topic"]);
        symlink("../outside", work.join("link")).expect("a link can be made");
        symlink(".git", work.join("dotlink")).expect("a link can be made");
        git(&["add", "link", "dotlink"]);
        git(&["commit", "-qm", "third"]);
        write("f", "two\n");
        git(&["stash", "-q"]);
        write("f", "three\n");
        git(&["reset", "-q", "main"]);
        git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    }

    /// Whatever the configuration may name and the settings switch off.
    fn set_traps(&self, work: &Path) {
        let hook = work.join("hook").display().to_string();
        let remote = self.at("remotes/good.git").display().to_string();
        self.plain_git(work, &["push", "-q", &remote, "topic:main"]);
        for key in [
            "core.fsmonitor",
            "core.pager",
            "core.editor",
            "core.askPass",
            "core.gitProxy",
            "core.sshCommand",
            "sequence.editor",
            "diff.external",
            "diff.trap.command",
            "diff.trap.textconv",
            "gpg.program",
            "alias.st",
            "interactive.diffFilter",
            "pager.log",
        ] {
            self.plain_git(work, &["config", key, &hook]);
        }
        for (key, value) in
            [("commit.gpgSign", "true"), ("log.showSignature", "true"), ("submodule.recurse", "true")]
        {
            self.plain_git(work, &["config", key, value]);
        }
        self.plain_git(work, &["remote", "add", "origin", &remote]);
    }

    /// git as the test itself needs it.
    fn plain_git(&self, folder: &Path, args: &[&str]) -> String {
        let output = self
            .command("git")
            .args(["-c", "core.hooksPath=/dev/null"])
            .args(args)
            .current_dir(folder)
            .output();
        let output = output.expect("git can be run");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The same with arguments of a line.
    pub(super) fn ask(&self, args: &[String]) -> String {
        self.plain_git(Path::new("/"), &args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs([
                ("PATH", self.path.as_str()),
                ("GIT_CONFIG_NOSYSTEM", "1"),
                ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ])
            .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@localhost"), ("LC_ALL", "C")])
            .envs([("GIT_COMMITTER_NAME", "a"), ("GIT_COMMITTER_EMAIL", "a@localhost")])
            .envs([("HOME", self.at("home")), ("TMPDIR", self.at("tmp"))])
            .env("GIT_CEILING_DIRECTORIES", self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a line that was accepted, in a workspace of its own; what it did that no line may do.
    pub(super) fn run(&self, args: &[String], links: Links) -> Option<String> {
        let done = self.observe(&super::super::argv(args), links)?;
        Some(format!("{args:?} {done}"))
    }

    /// The same with a program that nothing has checked.
    pub(super) fn observe(&self, argv: &[String], links: Links) -> Option<String> {
        let (work, trace) = (self.at("work"), self.at("trace"));
        let copied =
            Command::new("cp").args(["-a", "template", "work"]).current_dir(self.folder.path()).status();
        assert!(copied.expect("cp can be run").success());
        if links == Links::Tracked {
            self.plain_git(&work, &["-c", "core.fsmonitor=false", "reset", "-q", "topic"]);
        }
        let output = self
            .command("timeout")
            .args([SECONDS, "strace", "-f", "-qq", "-y", "-s", "4096", "-o"])
            .arg(&trace)
            .args(["-e", "trace=open,openat,creat,execve,mkdir,rename,unlink,rmdir,symlink,link"])
            .args(["-e", "signal=none", "-e", "status=successful"])
            .args(argv)
            .envs(super::super::env(Some(&self.remotes())))
            .current_dir(&work)
            .output()
            .expect("strace can be run");
        assert_ne!(output.status.code(), Some(124), "{argv:?} does not come to its end");
        assert_ne!(output.status.code(), Some(127), "{argv:?}: strace is missing");
        let traced = std::fs::read(&trace).expect("there is a trace");
        std::fs::remove_dir_all(&work).expect("the workspace can be removed");
        let traced = String::from_utf8_lossy(&traced);
        let called = traced.lines().find_map(|call| Some(format!("{}: {call}", self.wrong(call)?)));
        let changed = self.changed();
        called.or(changed)
    }

    /// Why a call is none that git may make. Its result shows the file that was opened in truth.
    fn wrong(&self, call: &str) -> Option<&'static str> {
        let name = call.split_whitespace().nth(1)?.split('(').next()?;
        if name == "execve" {
            let program = Path::new(call.split('"').nth(1)?);
            let own = self.programs.iter().any(|folder| program.starts_with(folder));
            let known =
                program.file_name().is_some_and(|name| ALLOWED.iter().any(|allowed| name == *allowed));
            return (!(own || known && program.is_absolute())).then_some("runs a program");
        }
        if !matches!(name, "open" | "openat" | "creat") {
            let paths = call.split('"').skip(1).step_by(2).filter(|path| path.starts_with('/'));
            return paths.map(Path::new).any(|path| !self.is_own(path)).then_some("changes a place outside");
        }
        let opened = Path::new(call.rsplit_once("= ")?.1.split_once('<')?.1.trim_end_matches('>'));
        if opened.starts_with(self.at("outside")) {
            return Some("opens a file outside");
        }
        let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| call.contains(flag));
        (writes && !self.is_own(opened)).then_some("writes a file outside")
    }

    fn is_own(&self, path: &Path) -> bool {
        let own = ["work", "remotes", "tmp"].iter().any(|name| path.starts_with(self.at(name)));
        own || path == "/dev/null" || path == "/dev/tty"
    }

    /// Files outside of the workspace that are not as they were; mended, so that the next line finds them whole.
    fn changed(&self) -> Option<String> {
        let names = |folder: &Path| {
            let entries = std::fs::read_dir(folder).expect("the folder can be read");
            let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
            names.sort();
            names
        };
        if self.at("ran").exists() {
            std::fs::remove_file(self.at("ran")).expect("it can be removed");
            return Some("ran a program of the workspace".to_owned());
        }
        let all = ["outside", "remotes", "template", "tmp", "trace"];
        let victim = std::fs::read_to_string(self.at("outside/victim")).unwrap_or_default();
        let (beside, outside) = (names(self.folder.path()), names(&self.at("outside")));
        if beside == all && outside == ["repo.git", "victim"] && victim == SECRET {
            return None;
        }
        std::fs::write(self.at("outside/victim"), SECRET).expect("a file can be written");
        Some(format!("changed what is outside: {beside:?} {outside:?} {victim:?}"))
    }
}
