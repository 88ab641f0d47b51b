//! The login: user and password are exchanged for a token, which each request carries.
//!
//! A token is not valid for ever, and a member that was restarted does not know it. Such a member refuses it, and the
//! request is repeated with a new token. The token is sent without the word `Bearer`.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::json;

use crate::http::credentials::{HeaderLines, secret_text};
use crate::values::config::ConfigError;
use crate::values::secret::Secret;

/// The names of the password in errors, by the kind of its source.
const PASSWORD: [&str; 3] = ["etcd password", "etcd password file", "etcd password variable"];

/// User, password and the newest token.
pub(super) struct Login {
    name: String,
    password: Secret,
    token: Mutex<HeaderLines>,
}

/// Omits the password and the token.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Login {
    /// Checks the user, and reads the password once.
    ///
    /// # Errors
    /// If the user is empty or has a control character, or the password cannot be used.
    pub(super) fn new(name: String, password: Secret) -> Result<Self, ConfigError> {
        if name.is_empty() || name.len() > 256 || name.chars().any(char::is_control) {
            let remedy = "name the user as `etcdctl user list` shows it";
            return Err(ConfigError::new("etcd user", name, "is empty, too long, or has a control character", remedy));
        }
        secret_text(&password, PASSWORD)?;
        Ok(Login { name, password, token: Mutex::default() })
    }

    /// The body of the request for a token. The password is read again, because its file may have changed.
    pub(super) fn request(&self) -> Result<String, ConfigError> {
        let password = secret_text(&self.password, PASSWORD)?;
        Ok(json!({ "name": self.name, "password": password }).to_string())
    }

    /// The header line with the token. Empty before the first login.
    pub(super) fn token(&self) -> HeaderLines {
        self.slot().clone()
    }

    /// Keeps a new token. Returns false if it cannot be a header.
    pub(super) fn keep(&self, token: &str) -> bool {
        let lines = HeaderLines::authorization(token);
        let is_valid = lines.is_some();
        *self.slot() = lines.unwrap_or_default();
        is_valid
    }

    /// Masks the password and the token in the text of a server.
    pub(super) fn masked(&self, text: String) -> String {
        let token = String::from_utf8_lossy(self.token().as_bytes()).into_owned();
        let token = token.trim_end().split_once(": ").map(|(_, token)| token.to_owned());
        let password = secret_text(&self.password, PASSWORD).ok();
        let secrets = token.into_iter().chain(password).filter(|secret| !secret.is_empty());
        secrets.fold(text, |text, secret| text.replace(&secret, "***"))
    }

    fn slot(&self) -> MutexGuard<'_, HeaderLines> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
