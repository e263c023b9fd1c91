//! Where an agent and everybody who looks for one agree to meet: the FHS for root, XDG for users.
//!
//! Pure: the environment is asked through a function, nothing is created or looked at.

use std::path::{Path, PathBuf};

const NAME: &str = "hythe";
const SOCKET: &str = "agent.sock";
const CONFIG: &str = "agent.toml";

/// File in an agent's state directory with the bearer token that requests over TCP must carry.
pub const TOKEN: &str = "token";

/// Looks up an environment variable; `&|name| std::env::var(name).ok()` outside tests.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Socket an agent listens on where none is named: `/run/hythe/agent.sock` for root, else
/// `$XDG_RUNTIME_DIR/hythe/agent.sock`, else `agent.sock` in [`default_state_dir`].
pub fn default_socket(env: Env<'_>, is_root: bool) -> PathBuf {
    if is_root {
        return Path::new("/run").join(NAME).join(SOCKET);
    }
    match absolute(env, "XDG_RUNTIME_DIR") {
        Some(directory) => directory.join(NAME).join(SOCKET),
        None => default_state_dir(env, is_root).join(SOCKET),
    }
}

/// Directory for an agent's database and logs: `/var/lib/hythe` for root, else `$XDG_STATE_HOME/hythe`, else `~/.local/state/hythe`.
pub fn default_state_dir(env: Env<'_>, is_root: bool) -> PathBuf {
    if is_root {
        return Path::new("/var/lib").join(NAME);
    }
    absolute(env, "XDG_STATE_HOME").unwrap_or_else(|| home(env).join(".local/state")).join(NAME)
}

/// An agent's configuration file: `/etc/hythe/agent.toml` for root, else `$XDG_CONFIG_HOME/hythe/agent.toml`,
/// else `~/.config/hythe/agent.toml`.
pub fn default_config_file(env: Env<'_>, is_root: bool) -> PathBuf {
    if is_root {
        return Path::new("/etc").join(NAME).join(CONFIG);
    }
    absolute(env, "XDG_CONFIG_HOME").unwrap_or_else(|| home(env).join(".config")).join(NAME).join(CONFIG)
}

fn home(env: Env<'_>) -> PathBuf {
    absolute(env, "HOME").unwrap_or_else(|| PathBuf::from("/"))
}

/// XDG: a relative path is invalid and is as good as absent.
fn absolute(env: Env<'_>, name: &str) -> Option<PathBuf> {
    env(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn root_follows_the_fhs_whatever_xdg_says() {
        let env = with(&[("XDG_RUNTIME_DIR", "/run/user/0"), ("HOME", "/root")]);
        assert_eq!(default_socket(&env, true), Path::new("/run/hythe/agent.sock"));
        assert_eq!(default_state_dir(&env, true), Path::new("/var/lib/hythe"));
        assert_eq!(default_config_file(&env, true), Path::new("/etc/hythe/agent.toml"));
    }

    #[test]
    fn users_follow_xdg() {
        let env = with(&[("XDG_RUNTIME_DIR", "/run/user/7"), ("XDG_STATE_HOME", "/s"), ("XDG_CONFIG_HOME", "/c")]);
        assert_eq!(default_socket(&env, false), Path::new("/run/user/7/hythe/agent.sock"));
        assert_eq!(default_state_dir(&env, false), Path::new("/s/hythe"));
        assert_eq!(default_config_file(&env, false), Path::new("/c/hythe/agent.toml"));
    }

    #[test]
    fn without_xdg_everything_is_below_home_and_relative_directories_do_not_count() {
        let env = with(&[("HOME", "/home/u"), ("XDG_RUNTIME_DIR", ""), ("XDG_STATE_HOME", "state")]);
        assert_eq!(default_socket(&env, false), Path::new("/home/u/.local/state/hythe/agent.sock"));
        assert_eq!(default_config_file(&env, false), Path::new("/home/u/.config/hythe/agent.toml"));
    }
}
