//! What can be seen of a source file without understanding it.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// A file holds one subject; one longer than this holds two.
const LINES_MAX: usize = 500;

/// Texts that no source line may contain, and why.
const REFUSED: [(&str, &str); 3] = [
    ("// ----", "a banner marks a module that was never split out"),
    ("// ====", "a banner marks a module that was never split out"),
    ("let _ =", "a result is handled, or dropped with a reason"),
];

/// What is wrong with the sources.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    collect(&root.join("crates"), &mut files)?;
    let mut wrong = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{name}: {lines} lines; split it by subject before {LINES_MAX}"));
        }
        for (number, line) in (1..).zip(text.lines()) {
            let refused = REFUSED.iter().filter(|(refused, _)| line.trim_start().starts_with(refused));
            wrong.extend(refused.map(|(refused, why)| format!("{name}:{number}: `{refused}`: {why}")));
        }
    }
    Ok(wrong)
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
