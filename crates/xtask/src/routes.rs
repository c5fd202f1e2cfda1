//! Files of routes lie where their URLs lead: `/projects/{project}/commands/…` is in `routes/projects/commands.rs`.

use std::path::Path;

use anyhow::Context;
use proc_macro2::{TokenStream, TokenTree};
use syn::Attribute;
use syn::visit::{self, Visit};

use crate::files::sources;

/// The folder of the routes, from the root of the repository.
const FOLDER: &str = "crates/rdev-api/src/routes";

/// Routes that live elsewhere than their URL leads, because several URLs are one subject.
const ELSEWHERE: [(&str, &str); 5] = [
    ("/projects/{project}/claude", "projects/submit.rs"),
    ("/projects/{project}/git", "projects/submit.rs"),
    ("/projects/{project}/shell", "projects/submit.rs"),
    ("/ready", "health.rs"),
    ("/openapi.json", "docs.rs"),
];

/// A file of the routes, by its path from [`FOLDER`], and the URLs that its handlers serve.
struct File {
    name: String,
    urls: Vec<String>,
}

/// Returns the routes that are not in the file to which their URL leads.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let folder = root.join(FOLDER);
    let mut files = Vec::new();
    for file in sources(&folder)? {
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let name = file.strip_prefix(&folder).unwrap_or(&file).display().to_string();
        let urls = urls(&text).with_context(|| name.clone())?;
        files.push(File { name, urls });
    }
    Ok(misplaced(&files, &ELSEWHERE))
}

fn misplaced(files: &[File], elsewhere: &[(&str, &str)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        for url in &file.urls {
            let exception = elsewhere.iter().find(|(path, _)| path == url).map(|(_, name)| *name);
            let home = exception.or_else(|| home(files, url));
            if home != Some(file.name.as_str()) {
                let home = home.map_or_else(|| format!("{}.rs", statics(url).join("/")), str::to_owned);
                wrong.push(format!("{FOLDER}/{}: {url} belongs in {FOLDER}/{home}", file.name));
            }
        }
    }
    let served = |path: &str| files.iter().any(|file| file.urls.iter().any(|url| url == path));
    let stale = elsewhere.iter().filter(|(path, _)| !served(path));
    wrong.extend(
        stale.map(|(path, _)| format!("crates/xtask/src/routes.rs excepts {path}, which no route serves")),
    );
    wrong
}

/// Returns the file to which a URL leads: the names in its path follow the URL from its beginning, leaving out as many
/// as they like, and it goes furthest. So `/queue/tasks/{task_id}/artefacts` leads to `queue/artefacts.rs` where there
/// is one, else to `queue/tasks.rs`, else to `queue/mod.rs` or `queue.rs`.
fn home<'a>(files: &'a [File], url: &str) -> Option<&'a str> {
    let statics = statics(url);
    let reach = |file: &File| {
        let names = names(&file.name);
        let mut end = 0;
        for (index, name) in names.iter().enumerate() {
            end += statics[end..].iter().position(|segment| segment == name)? + 1;
            if index == 0 && end != 1 {
                return None;
            }
        }
        (!names.is_empty()).then_some((end, names.len()))
    };
    let reached = files.iter().filter_map(|file| Some((reach(file)?, file.name.as_str())));
    reached.max().map(|(_, name)| name)
}

/// Returns the segments of a URL that are no parameters.
fn statics(url: &str) -> Vec<&str> {
    url.split('/').filter(|segment| !segment.is_empty() && !segment.starts_with('{')).collect()
}

/// Returns the module path of a file: `projects/mod.rs` is `projects`.
fn names(file: &str) -> Vec<&str> {
    let module = file.strip_suffix(".rs").unwrap_or(file);
    module.split('/').filter(|name| *name != "mod").collect()
}

/// Returns the paths of the `#[utoipa::path(…)]` attributes in a source.
fn urls(text: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Urls::default();
    found.visit_file(&syn::parse_file(text)?);
    Ok(found.0)
}

#[derive(Default)]
struct Urls(Vec<String>);

impl<'ast> Visit<'ast> for Urls {
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let path = attribute.path();
        if path.segments.last().is_some_and(|last| last.ident == "path")
            && path.segments.first().is_some_and(|first| first.ident == "utoipa")
            && let Ok(list) = attribute.meta.require_list()
        {
            self.0.extend(url(list.tokens.clone()));
        }
        visit::visit_attribute(self, attribute);
    }
}

/// Returns the literal of `path = "…"`.
fn url(tokens: TokenStream) -> Option<String> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    tokens.windows(3).find_map(|three| match three {
        [TokenTree::Ident(name), TokenTree::Punct(mark), TokenTree::Literal(url)]
            if name == "path" && mark.as_char() == '=' =>
        {
            syn::parse_str::<syn::LitStr>(&url.to_string()).ok().map(|url| url.value())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::{File, misplaced, urls};

    fn file(name: &str, urls: &[&str]) -> File {
        File { name: name.to_owned(), urls: urls.iter().map(|url| (*url).to_owned()).collect() }
    }

    #[test]
    fn urls_are_read_from_the_attributes_of_handlers() {
        let text = r#"
            #[utoipa::path(get, path = "/projects/{project}", tag = "projects", params(("project", description = "a")))]
            async fn get() {}
            #[utoipa::path(
                post,
                path = "/projects",
            )]
            async fn create() {}
            #[serde(path = "/no/url")]
            struct Body;
        "#;
        assert_eq!(urls(text).unwrap(), ["/projects/{project}", "/projects"]);
    }

    #[test]
    fn a_layout_as_the_url_passes() {
        let files = [
            file("mod.rs", &[]),
            file("workers.rs", &["/workers", "/workers/{worker_id}", "/workers/{worker_id}/drain"]),
            file("projects/mod.rs", &["/projects", "/projects/{project}"]),
            file(
                "projects/commands.rs",
                &["/projects/{project}/commands", "/projects/{project}/commands/{id}/cancel"],
            ),
            file("projects/output.rs", &["/projects/{project}/commands/{id}/output"]),
            file("projects/events.rs", &["/projects/{project}/events", "/projects/{project}/events/ticket"]),
            file("queue/mod.rs", &[]),
            file("queue/tasks.rs", &["/queue/tasks", "/queue/tasks/{id}/events"]),
            file("queue/artefacts.rs", &["/queue/tasks/{id}/artefacts/{*path}"]),
            file("queue/stats.rs", &["/queue/stats"]),
        ];
        assert!(misplaced(&files, &[]).is_empty());
    }

    #[test]
    fn a_route_in_the_file_of_another_one_is_refused() {
        let files = [
            file("projects/mod.rs", &["/projects", "/projects/{project}/commands"]),
            file("projects/commands.rs", &["/projects/{project}/commands/{id}"]),
            file("commands.rs", &["/workers"]),
        ];
        let folder = "crates/rdev-api/src/routes";
        assert_eq!(
            misplaced(&files, &[]),
            [
                format!(
                    "{folder}/projects/mod.rs: /projects/{{project}}/commands belongs in {folder}/projects/commands.rs"
                ),
                format!("{folder}/commands.rs: /workers belongs in {folder}/workers.rs"),
            ]
        );
    }

    #[test]
    fn a_name_in_the_middle_of_a_url_is_no_beginning() {
        let files = [file("commands.rs", &["/projects/{project}/commands"])];
        assert_eq!(misplaced(&files, &[]).len(), 1);
    }

    #[test]
    fn exceptions_name_the_file_and_are_refused_when_no_route_needs_them() {
        let files = [file("health.rs", &["/health", "/ready"]), file("docs.rs", &["/docs"])];
        assert!(misplaced(&files, &[("/ready", "health.rs")]).is_empty());
        let wrong = misplaced(&files, &[("/ready", "docs.rs"), ("/gone", "docs.rs")]);
        let folder = "crates/rdev-api/src/routes";
        assert_eq!(
            wrong,
            [
                format!("{folder}/health.rs: /ready belongs in {folder}/docs.rs"),
                "crates/xtask/src/routes.rs excepts /gone, which no route serves".to_owned(),
            ]
        );
    }
}
