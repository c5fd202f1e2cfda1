//! The secrets of this server.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::{MasterKey, Secret};

/// Secrets of this server.
#[derive(Debug, Clone, Args)]
pub struct KeysConfig {
    /// Bootstrap key with scope admin, 16 to 200 visible ASCII characters without a comma; two with a comma between while it
    /// is changed; generated on first start, and written to `admin.key` in the data folder
    #[arg(long, env = "RDEV_ADMIN_KEY", value_delimiter = ',', num_args = 1, value_parser = admin_key, hide_env_values = true)]
    pub admin_key: Vec<Secret>,

    /// 32 bytes in base64; signs tickets and encrypts credentials; generated in the data folder
    #[arg(long, env = "RDEV_MASTER_KEY", value_parser = master_key, hide_env_values = true)]
    pub master_key: Option<MasterKey>,
}

fn admin_key(text: &str) -> Result<Secret, String> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && (16..=200).contains(&text.len()) {
        Ok(Secret(text.to_owned()))
    } else {
        Err("accepted are 16 to 200 visible ASCII characters".to_owned())
    }
}

fn master_key(text: &str) -> Result<MasterKey, String> {
    let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(MasterKey).ok_or_else(|| "accepted are 32 bytes in base64".to_owned())
}
