//! Options of the local runtime alone.

use clap::Args;

/// Local runtime.
#[derive(Debug, Clone, Args)]
pub struct LocalConfig {
    /// Names of this process's variables that commands of the local runtime see beside the usual ones, with commas
    /// between; none of rdev's own
    #[arg(long, env = "RDEV_COMMAND_ENV", value_delimiter = ',', value_parser = command_variable, value_name = "NAME")]
    pub command_env: Vec<String>,
}

fn command_variable(text: &str) -> Result<String, String> {
    let name = text.trim();
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let well_formed = name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit());
    if well_formed && !name.starts_with("RDEV_") {
        return Ok(name.to_owned());
    }
    Err("accepted are names of variables with commas between, none of which begins with RDEV_".to_owned())
}
