//! Rules of source files that need no understanding of the code.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// A file holds one subject; one longer than this holds two.
const LINES_MAX: usize = 500;

/// Texts that no source line may begin with, and why.
const REFUSED: [(&str, &str); 3] = [
    ("// ----", "a banner marks a module that was never split out"),
    ("// ====", "a banner marks a module that was never split out"),
    ("let _ =", "a result is handled, or dropped with a reason"),
];

/// Returns what is wrong with the sources under `crates/`.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for file in sources(&root.join("crates"))? {
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        wrong.extend(look(&name, &text));
    }
    Ok(wrong)
}

fn look(name: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if !text.lines().find(|line| !line.is_empty()).is_some_and(|line| line.starts_with("//! ")) {
        wrong.push(format!("{name}: its first line is no `//!` that says what it holds"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        wrong.push(format!("{name}: {lines} lines; split it by subject before {LINES_MAX}"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let refused = REFUSED.iter().filter(|(refused, _)| line.trim_start().starts_with(refused));
        wrong.extend(refused.map(|(refused, why)| format!("{name}:{number}: `{refused}`: {why}")));
    }
    wrong
}

/// Returns every Rust file in a folder and below it, in the order of their paths.
pub(crate) fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{LINES_MAX, look};

    #[test]
    fn a_file_of_one_subject_passes() {
        assert!(look("a.rs", "//! Reads rows.\n\nfn read() {}\n").is_empty());
        assert!(look("a.rs", &format!("//! Reads rows.{}", "\n".repeat(LINES_MAX))).is_empty());
    }

    #[test]
    fn long_files_banners_and_dropped_results_are_refused() {
        let long = format!("//! Reads rows.{}", "\n".repeat(LINES_MAX + 1));
        assert_eq!(look("a.rs", &long), ["a.rs: 501 lines; split it by subject before 500"]);
        let wrong = look("a.rs", "//! Reads rows.\n// ---- rows\nfn f() {\n    let _ = send();\n}\n");
        assert_eq!(
            wrong,
            [
                "a.rs:2: `// ----`: a banner marks a module that was never split out",
                "a.rs:4: `let _ =`: a result is handled, or dropped with a reason"
            ]
        );
    }

    #[test]
    fn a_file_begins_with_its_documentation() {
        for text in ["use x;\n//! Late.\n", "/// Of an item.\nfn f() {}\n", "//!\nfn f() {}\n", ""] {
            assert_eq!(look("a.rs", text), ["a.rs: its first line is no `//!` that says what it holds"]);
        }
    }
}
