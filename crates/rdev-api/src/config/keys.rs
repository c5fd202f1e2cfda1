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
    /// Bootstrap key with scope admin, 16 to 200 visible ASCII characters without a comma; two with a comma between while it is
    /// changed, the new one first; generated on first start, and written to `admin.key` in the data folder
    #[arg(long, env = "RDEV_ADMIN_KEY", value_parser = AdminKeys::parse, hide_env_values = true)]
    admin_key: Option<AdminKeys>,

    /// File that holds the bootstrap key, in place of RDEV_ADMIN_KEY
    #[arg(long, env = "RDEV_ADMIN_KEY_FILE", value_name = "FILE", conflicts_with = "admin_key",
        value_parser = PathBufValueParser::new().try_map(admin_key_file))]
    admin_key_file: Option<AdminKeyFile>,

    /// 32 bytes in base64; signs tickets and encrypts credentials; generated in the data folder
    #[arg(long, env = "RDEV_MASTER_KEY", value_parser = master_key, hide_env_values = true)]
    master_key: Option<MasterKey>,

    /// File that holds the master key, in place of RDEV_MASTER_KEY
    #[arg(long, env = "RDEV_MASTER_KEY_FILE", value_name = "FILE", conflicts_with = "master_key",
        value_parser = PathBufValueParser::new().try_map(master_key_file))]
    master_key_file: Option<MasterKey>,
}

/// The administrator's key; while it is changed the new one, and the earlier one.
#[derive(Debug, Clone)]
pub struct AdminKeys(Vec<Secret>);

impl AdminKeys {
    /// Parses one key, or two with a comma between.
    ///
    /// # Errors
    /// A text that names the accepted ones.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_key =
            |key: &&str| key.bytes().all(|byte| byte.is_ascii_graphic()) && (16..=200).contains(&key.len());
        let keys: Vec<&str> = text.split(',').collect();
        if keys.len() <= 2 && keys.iter().all(is_key) {
            return Ok(Self(keys.into_iter().map(|key| Secret(key.to_owned())).collect()));
        }
        Err("accepted are 16 to 200 visible ASCII characters without a comma, or two such keys with a comma between".to_owned())
    }

    /// Returns the keys, of which there is at least one.
    pub fn keys(&self) -> &[Secret] {
        &self.0
    }
}

/// Keys, and the file that holds them.
#[derive(Debug, Clone)]
struct AdminKeyFile {
    file: PathBuf,
    keys: AdminKeys,
}

impl KeysConfig {
    /// Returns the bootstrap keys, where they are configured.
    pub fn admin_keys(&self) -> Option<&AdminKeys> {
        self.admin_key.as_ref().or(self.admin_key_file.as_ref().map(|given| &given.keys))
    }

    /// Returns the configured file that holds the bootstrap key.
    pub fn admin_key_file(&self) -> Option<&Path> {
        self.admin_key_file.as_ref().map(|given| &*given.file)
    }

    /// Returns the master key, where one is configured.
    pub fn master_key(&self) -> Option<MasterKey> {
        self.master_key.or(self.master_key_file)
    }
}

fn admin_key_file(file: PathBuf) -> Result<AdminKeyFile, String> {
    file_holds(&file, AdminKeys::parse).map(|keys| AdminKeyFile { file, keys })
}

fn master_key(text: &str) -> Result<MasterKey, String> {
    let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(MasterKey).ok_or_else(|| "accepted are 32 bytes in base64".to_owned())
}

fn master_key_file(file: PathBuf) -> Result<MasterKey, String> {
    file_holds(&file, master_key)
}
