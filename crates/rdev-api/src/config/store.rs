//! The data folder and the database.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};

use super::Secret;
use super::parse::file_holds;

/// Data folder and database.
#[derive(Debug, Clone, Args)]
pub struct StoreConfig {
    /// Folder for the SQLite file `rdev.db`, `workspaces/`, `runs/` and generated keys (mode 0600)
    #[arg(long, env = "RDEV_DATA_DIR", default_value = "./.rdev", value_name = "FOLDER",
        value_parser = PathBufValueParser::new().try_map(folder))]
    pub data_dir: PathBuf,

    /// `sqlite://FILE`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE` (13 or later), which several rdev-api
    /// may share; without it `rdev.db` in the data folder
    #[arg(long, env = "RDEV_DATABASE_URL", value_name = "URL", value_parser = database_url, hide_env_values = true)]
    database_url: Option<DatabaseUrl>,

    /// File that holds the URL of the database, in place of RDEV_DATABASE_URL
    #[arg(long, env = "RDEV_DATABASE_URL_FILE", value_name = "FILE", conflicts_with = "database_url",
        value_parser = PathBufValueParser::new().try_map(database_url_file))]
    database_url_file: Option<DatabaseUrl>,
}

/// Location of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// The URL of a Postgres database, with its password.
    Postgres(Secret),
}

impl StoreConfig {
    /// Returns the database: as configured, else the SQLite file `rdev.db` in the data folder.
    pub fn database(&self) -> DatabaseUrl {
        let configured = self.database_url.as_ref().or(self.database_url_file.as_ref());
        configured.cloned().unwrap_or_else(|| DatabaseUrl::Sqlite(self.data_dir.join("rdev.db")))
    }
}

/// Refuses a colon: commands find programs in the folder by their PATH, which a colon would cut in two.
fn folder(path: PathBuf) -> Result<PathBuf, String> {
    let whole = std::path::absolute(&path).map_err(|error| error.to_string())?;
    let has_colon = whole.as_os_str().as_encoded_bytes().contains(&b':');
    if has_colon {
        return Err(format!(
            "accepted is a folder without ':' in its absolute path, here {}",
            whole.display()
        ));
    }
    Ok(path)
}

fn database_url(text: &str) -> Result<DatabaseUrl, String> {
    const ACCEPTED: &str = "accepted is sqlite://FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE";
    if let Some(file) = text.strip_prefix("sqlite://") {
        let is_file = !file.is_empty() && !file.contains('?');
        return is_file.then(|| DatabaseUrl::Sqlite(file.into())).ok_or_else(|| ACCEPTED.to_owned());
    }
    let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
    let well_formed = |rest: &str| !rest.is_empty() && !rest.contains(char::is_whitespace);
    match rest {
        Some(rest) if well_formed(rest) => Ok(DatabaseUrl::Postgres(Secret(text.to_owned()))),
        _ => Err(ACCEPTED.to_owned()),
    }
}

fn database_url_file(file: PathBuf) -> Result<DatabaseUrl, String> {
    file_holds(&file, database_url)
}
