//! The secrets of this server.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};

use super::parse::file_holds;
use super::{MasterKey, Secret};

/// Secrets of this server.
#[derive(Debug, Clone, Args)]
pub struct KeysConfig {
    /// Bootstrap key with scope admin, 16 to 200 visible ASCII characters; generated on first start, and
    /// written to `admin.key` in the data folder
    #[arg(long, env = "RDEV_ADMIN_KEY", value_parser = admin_key, hide_env_values = true)]
    admin_key: Option<Secret>,

    /// File that holds the bootstrap key, in place of RDEV_ADMIN_KEY
    #[arg(long, env = "RDEV_ADMIN_KEY_FILE", value_name = "FILE", conflicts_with = "admin_key",
        value_parser = PathBufValueParser::new().try_map(admin_key_file))]
    admin_key_file: Option<KeyFile>,

    /// Second bootstrap key, accepted as well: the earlier one, until every client has the new one
    #[arg(long, env = "RDEV_PREVIOUS_ADMIN_KEY", value_parser = admin_key, hide_env_values = true)]
    previous_admin_key: Option<Secret>,

    /// File that holds the second bootstrap key, in place of RDEV_PREVIOUS_ADMIN_KEY
    #[arg(long, env = "RDEV_PREVIOUS_ADMIN_KEY_FILE", value_name = "FILE", conflicts_with = "previous_admin_key",
        value_parser = PathBufValueParser::new().try_map(admin_key_file))]
    previous_admin_key_file: Option<KeyFile>,

    /// 32 bytes in base64; signs tickets and encrypts credentials; generated in the data folder
    #[arg(long, env = "RDEV_MASTER_KEY", value_parser = master_key, hide_env_values = true)]
    master_key: Option<MasterKey>,

    /// File that holds the master key, in place of RDEV_MASTER_KEY
    #[arg(long, env = "RDEV_MASTER_KEY_FILE", value_name = "FILE", conflicts_with = "master_key",
        value_parser = PathBufValueParser::new().try_map(master_key_file))]
    master_key_file: Option<MasterKey>,
}

/// A key, and the file that holds it.
#[derive(Debug, Clone)]
struct KeyFile {
    file: PathBuf,
    key: Secret,
}

impl KeysConfig {
    /// Returns the bootstrap key, where one is configured.
    pub fn admin_key(&self) -> Option<&Secret> {
        self.admin_key.as_ref().or(self.admin_key_file.as_ref().map(|given| &given.key))
    }

    /// Returns the configured file that holds the bootstrap key.
    pub fn admin_key_file(&self) -> Option<&Path> {
        self.admin_key_file.as_ref().map(|given| &*given.file)
    }

    /// Returns the second bootstrap key, where one is configured.
    pub fn previous_admin_key(&self) -> Option<&Secret> {
        self.previous_admin_key.as_ref().or(self.previous_admin_key_file.as_ref().map(|given| &given.key))
    }

    /// Returns the master key, where one is configured.
    pub fn master_key(&self) -> Option<MasterKey> {
        self.master_key.or(self.master_key_file)
    }
}

fn admin_key(text: &str) -> Result<Secret, String> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && (16..=200).contains(&text.len()) {
        Ok(Secret(text.to_owned()))
    } else {
        Err("accepted are 16 to 200 visible ASCII characters".to_owned())
    }
}

fn admin_key_file(file: PathBuf) -> Result<KeyFile, String> {
    file_holds(&file, admin_key).map(|key| KeyFile { file, key })
}

fn master_key(text: &str) -> Result<MasterKey, String> {
    let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(MasterKey).ok_or_else(|| "accepted are 32 bytes in base64".to_owned())
}

fn master_key_file(file: PathBuf) -> Result<MasterKey, String> {
    file_holds(&file, master_key)
}
