//! Lines of arguments, made of every option that git has, that were accepted and are run under strace: no program runs
//! but git's own, and nothing outside the workspace is read or written.
//!
//! `scripts/fuzz-git.sh` runs all of them; the test draws some by a seed, which it prints.

mod jail;
mod lines;

use std::hash::{BuildHasher, Hasher};

use jail::{Jail, Links};
use lines::Lines;

/// How many lines the test draws that are accepted: about a minute.
const DRAWN: usize = 500;
const LINKS: [Links; 2] = [Links::Tracked, Links::Followed];
/// Lines that are drawn and refused for one that is accepted, at most.
const REFUSED_MAX: usize = 1000;

/// A sequence of numbers that its seed repeats (splitmix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).expect("it is below `end`")
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

#[expect(clippy::disallowed_methods, reason = "a seed is no configuration")]
fn seed() -> u64 {
    let given = std::env::var("RDEV_FUZZ_SEED").ok();
    let drawn = || std::hash::RandomState::new().build_hasher().finish();
    let seed = given.map_or_else(drawn, |seed| seed.parse().expect("RDEV_FUZZ_SEED is a number"));
    println!("RDEV_FUZZ_SEED={seed}");
    seed
}

#[test]
fn drawn_lines_run_nothing_and_touch_nothing_outside() {
    let mut draw = Draw(seed());
    let jail = Jail::new();
    let lines = Lines::of(&jail);
    let mut wrong = Vec::new();
    for _ in 0..DRAWN {
        let mut drawn = (0..REFUSED_MAX).map(|_| lines.draw(&mut draw));
        let line = drawn.find(|line| jail.accepts(line)).expect("some lines are accepted");
        let links = *draw.one_of(&LINKS);
        wrong.extend(jail.run(&line, links));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "an hour; scripts/fuzz-git.sh runs it"]
fn all_lines_run_nothing_and_touch_nothing_outside() {
    let jail = Jail::new();
    let lines = Lines::of(&jail);
    let (mut refused, mut run, mut wrong) = (0_u64, 0_u64, Vec::new());
    lines.each(|line| {
        if jail.accepts(line) {
            wrong.extend(LINKS.iter().filter_map(|links| jail.run(line, *links)));
            run += 1;
        } else {
            refused += 1;
        }
    });
    println!("{run} lines were accepted and run, {refused} were refused");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The jail itself: it sees what must not happen.
#[test]
fn the_jail_notices_what_no_line_may_do() {
    let jail = Jail::new();
    for (line, links) in [
        ("git rm -f link/victim", Links::Followed),
        ("git blame link/victim", Links::Followed),
        ("git commit -m x -- link/victim", Links::Followed),
        ("git grep x -- link", Links::Followed),
        ("git mv f link/new", Links::Tracked),
        ("git diff --output=../outside/new", Links::Tracked),
        ("git diff --ext-diff", Links::Tracked),
        ("git fetch --upload-pack=./hook origin", Links::Tracked),
        ("git -c core.fsmonitor=./hook status", Links::Tracked),
        ("git -c core.hooksPath=.git/hooks commit --allow-empty -m x", Links::Tracked),
        ("git -c protocol.ext.allow=always -c alias.x=!./hook x", Links::Tracked),
    ] {
        let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
        assert!(jail.observe(&argv, links).is_some(), "{line}");
    }
}

/// Lines that the reviewers of the guard got through it, and what follows from it.
#[test]
fn known_attacks_do_nothing() {
    let jail = Jail::new();
    let mut wrong = Vec::new();
    for line in [
        "log -1 --format=tformat:x --src-prefix -S --output=../outside/new",
        "commit --allow-empty -t -m -F../outside/victim",
        "stash show -p -m --output=../outside/new",
        "log -p --src-prefix -S --ext-diff",
        "fetch -o -- --upload-pack=hook origin",
        "push --repo -- --receive-pack=hook origin main:q",
        "rebase -X -- --exec=hook HEAD~1",
        "mv hook .git/hooks/post-commit",
        "mv hook dotlink/hooks/post-commit",
        "mv -f f dotlink/config",
        "mv f link/new",
        "mv link/victim g",
        "rm -rf link",
        "rm -f link/victim",
        "commit -m x -- link/victim",
        "commit -am x",
        "blame link/victim",
        "blame -L 1,1 link/victim",
        "add --renormalize .",
        "ls-files -m",
        "diff",
        "status",
        "push evil main",
        "fetch evil",
        "pull link",
        "push origin main",
        "fetch origin",
        "remote show evil",
        "ls-remote link/repo.git",
        "init link/x",
        "grep -f link/victim x",
        "checkout topic",
        "merge topic -m x",
        "rebase topic",
        "commit --amend --no-edit",
        "stash",
        "gc",
    ] {
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if jail.accepts(&args) {
            wrong.extend(LINKS.iter().filter_map(|links| jail.run(&args, *links)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
