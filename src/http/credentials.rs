//! The credentials of a client: which host gets which headers, and when their files are read again.
//!
//! ```text
//!   build() ── reads and checks all secrets ──▶ CredentialStore ── of(host) ──▶ HostCredentials
//!   submit  ── lines(now): files are read again when 60 s old
//!   401     ── renewed(sent): files are read again; other lines are sent once
//! ```
//! Invariants:
//! * A host gets headers only if its origin (scheme, name and port) is that of a host of the client.
//! * The engines add the lines to a request themselves, so no crate can log them. See [`HeaderLines`].
//! * No lock is held while a file is read or a record is logged: a logger may call the client.
//!
//! Deliberately absent: engines, answers and clocks of its own.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::http::{file, mode_open_to_others};
use crate::values::api::Api;
use crate::values::config::ConfigError;
use crate::values::credentials::{Credentials, Scheme, refused_name};
use crate::values::host::Host;
use crate::values::printable::Printable;
use crate::values::secret::{Problem, Secret, Source, checked};

/// Age at which the content of a file is read again.
const MAX_AGE: Duration = Duration::from_secs(60);
const AUTHORIZATION: &str = "authorization";
/// Maximum size of a file with a secret.
const MAX_FILE: u64 = 64 << 10;
/// Minimum length of a part of a secret that is masked by itself. A shorter one may be a word.
const MIN_PART: usize = 8;
/// The target of every log line of this crate.
const TARGET: &str = "cluster_client";

/// Header lines with secrets, each with its line end. Empty for most hosts.
///
/// An engine adds them to the bytes of a request itself: at the level *trace* ureq-proto logs what it writes. `Debug` is
/// `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct HeaderLines(Option<Arc<str>>);

impl HeaderLines {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default().as_bytes()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The header `Authorization` with this value as a whole. `None` if a header cannot have it.
    #[cfg(feature = "etcd")]
    pub(crate) fn authorization(value: &str) -> Option<Self> {
        let text = checked(value.as_bytes()).ok().filter(|text| *text == value)?;
        Some(HeaderLines(Some(format!("{AUTHORIZATION}: {text}\r\n").into())))
    }
}

/// Reads the text of a secret that is not sent as a header. `what` names the setting, by the kind of its source.
///
/// # Errors
/// A [`ConfigError`] without the text.
#[cfg(feature = "etcd")]
pub(crate) fn secret_text(secret: &Secret, what: [&'static str; 3]) -> Result<String, ConfigError> {
    text_of(secret, what, None, |_| None).map_err(|refused| refused.named(None))
}

impl HeaderLines {
    /// Returns the secrets in the lines, in each form in which an answer may repeat them.
    fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        for (name, value) in
            self.0.iter().flat_map(|lines| lines.split("\r\n")).filter_map(|line| line.split_once(": "))
        {
            secrets.push(value.to_owned());
            let Some((scheme, secret)) = value.split_once(' ').filter(|_| name == AUTHORIZATION) else {
                secrets.extend(long_parts(value).map(str::to_owned));
                continue;
            };
            secrets.push(secret.to_owned());
            let decoded = BASE64_STANDARD.decode(secret).ok().filter(|_| scheme == "Basic");
            let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            let password =
                decoded.as_ref().and_then(|text| text.split_once(':')).map(|(_, password)| password.to_owned());
            secrets.extend(decoded.into_iter().chain(password));
        }
        secrets.retain(|secret| !secret.is_empty());
        secrets
    }
}

/// Returns the long parts of a value: behind a scheme, as in `Token abc`, or a name, as in a cookie.
fn long_parts(value: &str) -> impl Iterator<Item = &str> {
    value.split([' ', '=', ';', ',', ':', '"']).filter(|part| part.len() >= MIN_PART)
}

impl fmt::Debug for HeaderLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The credentials of one client, by the origin of a host.
#[derive(Debug, Default)]
pub(crate) struct CredentialStore {
    by_origin: HashMap<String, Arc<HostCredentials>>,
    has_warned: AtomicBool,
}

impl CredentialStore {
    /// Reads and checks all secrets. `general` is for all `hosts`, except for those with credentials of their `own`.
    ///
    /// # Errors
    /// A [`ConfigError`] for the first secret or header name that is refused, for an origin in `own` that no host has or
    /// that is there twice, and for an http host that is not this machine, unless `allow_plain_http`.
    pub(crate) fn load(
        hosts: &[Host],
        general: &Credentials,
        own: &[(String, Credentials)],
        allow_plain_http: bool,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        let mut by_origin = HashMap::new();
        for (url, credentials) in own {
            let host = Host::parse(url)?;
            let refused = |problem, remedy| ConfigError::new("host of credentials", host.as_str(), problem, remedy);
            if !host.path().is_empty() {
                return Err(refused("has a path", "give only scheme, host and port"));
            }
            if !hosts.iter().any(|known| known.origin() == host.origin()) {
                return Err(refused("is no host of the client", "name one of its hosts, or leave it out"));
            }
            let loaded = HostCredentials::load(credentials, AUTHORIZATION, Some(host.as_str()), now)?;
            if by_origin.insert(host.origin().to_owned(), loaded.map(Arc::new)).is_some() {
                return Err(refused("is there twice", "give the credentials of each host once"));
            }
        }
        let general = HostCredentials::load(general, AUTHORIZATION, None, now)?.map(Arc::new);
        for host in hosts {
            let found = by_origin.entry(host.origin().to_owned()).or_insert_with(|| general.clone());
            if found.is_some() && !allow_plain_http && !host.is_https() && !host.is_this_machine() {
                let problem = "would get credentials over plain http, which anyone on the way can read";
                let remedy = "use https, or set allow_plain_http if you trust the network";
                return Err(ConfigError::new("host", host.as_str(), problem, remedy));
            }
        }
        let by_origin = by_origin.into_iter().filter_map(|(origin, found)| Some((origin, found?))).collect();
        Ok(CredentialStore { by_origin, has_warned: AtomicBool::new(false) })
    }

    /// Checks that no request has two headers of one name: one of the API, and one with a secret.
    ///
    /// # Errors
    /// A [`ConfigError`] that names both.
    pub(crate) fn check_api(&self, hosts: &[Host], api: &Api) -> Result<(), ConfigError> {
        let found = hosts.iter().filter_map(|host| Some((host, self.of(host)?)));
        let secrets = found.flat_map(|(host, found)| found.credentials.headers.iter().map(move |found| (host, found)));
        for (host, (name, secret)) in secrets {
            if let Some(of_api) = api.headers().find(|of_api| of_api.eq_ignore_ascii_case(name)) {
                let problem = format!("for {host} is the header {of_api:?} of the API {:?} too", api.name());
                let refused = ConfigError::new("header with a secret", name, problem, "leave one of them out");
                return Err(refused.from_origin(secret.origin.clone()));
            }
        }
        Ok(())
    }

    /// Returns the credentials of a host. A host of an older operation may be none of the client's, and gets none.
    pub(crate) fn of(&self, host: &Host) -> Option<&Arc<HostCredentials>> {
        if self.by_origin.is_empty() {
            return None;
        }
        self.by_origin.get(host.origin())
    }

    /// Returns the origins that get credentials.
    pub(crate) fn origins(&self) -> impl Iterator<Item = &str> {
        self.by_origin.keys().map(String::as_str)
    }

    /// Returns the secrets of all hosts, to mask them in text of a host.
    pub(crate) fn secrets(&self, now: Instant) -> Vec<String> {
        self.by_origin.values().flat_map(|credentials| credentials.lines(now).secrets()).collect()
    }

    /// Warns once that a host of an older operation gets no credentials, because the client does not have it.
    pub(crate) fn warn_of_foreign(&self, host: &Host) {
        if !self.by_origin.is_empty() && !self.has_warned.swap(true, Ordering::Relaxed) {
            log::warn!(target: TARGET, "{host} is no host of this client, so it gets no credentials");
        }
    }
}

/// The credentials of one host, or of all hosts without credentials of their own.
#[derive(Debug)]
pub(crate) struct HostCredentials {
    credentials: Credentials,
    /// The name of the header with the scheme.
    header: &'static str,
    has_files: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    lines: HeaderLines,
    read: Instant,
    /// The last read failed, which was logged.
    is_failing: bool,
}

impl HostCredentials {
    /// Reads and checks the credentials for a proxy.
    pub(crate) fn for_proxy(credentials: &Credentials, now: Instant) -> Result<Option<Self>, ConfigError> {
        Self::load(credentials, "proxy-authorization", Some("the proxy"), now)
    }

    /// Reads and checks the secrets. Returns `None` if there are none. Errors name the `receiver`.
    fn load(
        credentials: &Credentials,
        header: &'static str,
        receiver: Option<&str>,
        now: Instant,
    ) -> Result<Option<Self>, ConfigError> {
        if credentials.is_empty() {
            return Ok(None);
        }
        let names = |number| {
            let scheme = credentials.scheme.iter().map(|_| AUTHORIZATION);
            scheme.chain(credentials.headers.iter().take(number).map(|(name, _)| name.as_str()))
        };
        for (number, (name, secret)) in credentials.headers.iter().enumerate() {
            if let Some((problem, remedy)) = refused_name(name, names(number)) {
                let refused = ConfigError::new("header with a secret", name.as_str(), problem, remedy);
                return Err(refused.from_origin(secret.origin.clone()));
            }
        }
        let lines = read(credentials, header).map_err(|refused| refused.named(receiver))?;
        let secrets = credentials.headers.iter().map(|(_, secret)| secret);
        let has_files = secrets.chain(credentials.scheme.iter().flat_map(scheme_secrets)).any(is_file);
        let state = Mutex::new(State { lines, read: now, is_failing: false });
        Ok(Some(HostCredentials { credentials: credentials.clone(), header, has_files, state }))
    }

    /// Returns the lines of a request. Reads files again if they are [`MAX_AGE`] old.
    pub(crate) fn lines(&self, now: Instant) -> HeaderLines {
        let mut state = self.state();
        if !self.has_files || now.saturating_duration_since(state.read) < MAX_AGE {
            return state.lines.clone();
        }
        // Other threads use the old lines meanwhile.
        state.read = now;
        drop(state);
        self.reload(now)
    }

    /// Returns the lines to send after the host has refused those that were sent, if there are others by now.
    pub(crate) fn renewed(&self, sent: &HeaderLines, now: Instant) -> Option<HeaderLines> {
        let known = self.state().lines.clone();
        let lines = if known == *sent && self.has_files { self.reload(now) } else { known };
        (lines != *sent).then_some(lines)
    }

    /// Reads the secrets again. Keeps the last good ones if that fails.
    fn reload(&self, now: Instant) -> HeaderLines {
        let found = read(&self.credentials, self.header);
        let mut state = self.state();
        state.read = now;
        let was_failing = std::mem::replace(&mut state.is_failing, found.is_err());
        let failure = match found {
            Ok(lines) => {
                state.lines = lines;
                None
            }
            Err(refused) => (!was_failing).then_some(refused),
        };
        let lines = state.lines.clone();
        drop(state);
        if let Some(refused) = failure {
            let error = refused.named(None);
            log::warn!(target: TARGET, "{error}; the last good value is used");
        }
        lines
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn scheme_secrets(scheme: &Scheme) -> Vec<&Secret> {
    match scheme {
        Scheme::Bearer(token) => vec![token],
        Scheme::Basic { user, password } => vec![user, password],
    }
}

fn is_file(secret: &Secret) -> bool {
    matches!(secret.source, Source::File { .. })
}

/// A secret that was refused. It does not have the secret's text.
struct Refused<'a> {
    secret: &'a Secret,
    /// The name of the setting, by the kind of its source.
    what: [&'static str; 3],
    header: Option<&'a str>,
    problem: Problem,
}

impl Refused<'_> {
    fn named(self, receiver: Option<&str>) -> ConfigError {
        let [text, file, variable] = self.what;
        let (what, value) = match &self.secret.source {
            Source::Text(_) => (text, "***".into()),
            Source::File { path, .. } => (file, path.display().to_string()),
            Source::Variable(name) => (variable, name.clone()),
        };
        let header = self.header.map(|name| format!("for the header {name} ")).unwrap_or_default();
        let receiver = receiver.map(|receiver| format!("for {receiver} ")).unwrap_or_default();
        let (problem, remedy) = self.problem;
        let error = ConfigError::new(what, value, format!("{header}{receiver}{problem}"), remedy);
        error.from_origin(self.secret.origin.clone())
    }
}

const TOKEN: [&str; 3] = ["bearer token", "bearer token file", "bearer token variable"];
const USER: [&str; 3] = ["basic user", "basic user file", "basic user variable"];
const PASSWORD: [&str; 3] = ["basic password", "basic password file", "basic password variable"];
const HEADER: [&str; 3] = ["secret", "secret file", "secret variable"];

/// Reads all secrets, and returns their header lines.
fn read<'a>(credentials: &'a Credentials, header: &str) -> Result<HeaderLines, Refused<'a>> {
    let mut lines = String::new();
    match &credentials.scheme {
        None => {}
        Some(Scheme::Bearer(token)) => {
            let text = text_of(token, TOKEN, None, |text| {
                let inner = ("has a blank", "write the token alone, without \"Bearer\"");
                outer_blank(text).or_else(|| text.contains(' ').then_some(inner))
            })?;
            let _ = write!(lines, "{header}: Bearer {text}\r\n");
        }
        Some(Scheme::Basic { user, password }) => {
            let name = text_of(user, USER, None, |text| {
                text.contains(':').then_some(("has a colon", "a user of Basic has none (RFC 7617)"))
            })?;
            let key = text_of(password, PASSWORD, None, |_| None)?;
            let encoded = BASE64_STANDARD.encode(format!("{name}:{key}"));
            let _ = write!(lines, "{header}: Basic {encoded}\r\n");
        }
    }
    for (name, secret) in &credentials.headers {
        let text = text_of(secret, HEADER, Some(name), outer_blank)?;
        let _ = write!(lines, "{name}: {text}\r\n");
    }
    Ok(HeaderLines(Some(lines.into())))
}

fn outer_blank(text: &str) -> Option<(&'static str, &'static str)> {
    (text.trim() != text).then_some(("begins or ends with a blank", "remove it"))
}

/// Reads the text of a secret and checks it, also with `check`.
fn text_of<'a>(
    secret: &'a Secret,
    what: [&'static str; 3],
    header: Option<&'a str>,
    check: impl FnOnce(&str) -> Option<(&'static str, &'static str)>,
) -> Result<String, Refused<'a>> {
    let refused = |problem| Refused { secret, what, header, problem };
    let bytes = bytes_of(secret).map_err(refused)?;
    let text = checked(&bytes).map_err(refused)?;
    match check(text) {
        Some((problem, remedy)) => Err(refused((problem.into(), remedy))),
        None => Ok(text.to_owned()),
    }
}

fn bytes_of(secret: &Secret) -> Result<Vec<u8>, Problem> {
    match &secret.source {
        Source::Text(text) => Ok(text.as_bytes().to_vec()),
        Source::Variable(name) if name.is_empty() || name.contains(['=', '\0']) => {
            Err(("is no name of a variable".into(), "name the variable that has the secret"))
        }
        Source::Variable(name) => {
            let value = std::env::var_os(name).map(OsString::into_encoded_bytes);
            value.ok_or_else(|| ("is not set".into(), "set it, or leave the setting out"))
        }
        Source::File { path, warned_of } => {
            let (bytes, found) = file::read(path, MAX_FILE)?;
            if let Some(mode) = mode_open_to_others(&found)
                && warned_of.swap(mode, Ordering::Relaxed) == 0
            {
                log::warn!(target: TARGET, "{}", warning_of_mode(path, mode));
            }
            Ok(bytes)
        }
    }
}

fn warning_of_mode(path: &Path, mode: u32) -> String {
    let path = Printable::path(path);
    format!("the secret file {path} can be read by other users (mode {mode:04o}): run chmod go-r on it")
}

/// Returns a warning for each file of these credentials that was found readable for others. All were logged.
pub(crate) fn warnings(credentials: &Credentials) -> impl Iterator<Item = String> {
    let headers = credentials.headers.iter().map(|(_, secret)| secret);
    let secrets = headers.chain(credentials.scheme.iter().flat_map(scheme_secrets));
    secrets.filter_map(|secret| match &secret.source {
        Source::File { path, warned_of } => match warned_of.load(Ordering::Relaxed) {
            0 => None,
            mode => Some(warning_of_mode(path, mode)),
        },
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::values::config::Origin;

    const NONE: [(String, Credentials); 0] = [];

    fn hosts(urls: &[&str]) -> Vec<Host> {
        urls.iter().map(|url| Host::parse(url).unwrap()).collect()
    }

    fn https() -> Vec<Host> {
        hosts(&["https://a", "https://b:8443/base"])
    }

    fn load(credentials: &Credentials) -> Result<CredentialStore, ConfigError> {
        CredentialStore::load(&https(), credentials, &NONE, false, Instant::now())
    }

    fn text(lines: &HeaderLines) -> String {
        String::from_utf8(lines.as_bytes().to_vec()).unwrap()
    }

    fn sent(store: &CredentialStore, url: &str) -> Option<String> {
        store.of(&Host::parse(url).unwrap()).map(|found| text(&found.lines(Instant::now())))
    }

    #[test]
    fn lines_have_the_scheme_and_the_headers() {
        let store = load(&Credentials::bearer("abc").header("X-Token", "a b")).unwrap();
        let lines = Some("authorization: Bearer abc\r\nX-Token: a b\r\n".to_owned());
        assert_eq!(sent(&store, "https://a"), lines);
        assert_eq!(sent(&store, "https://b:8443/base"), lines);
        let store = load(&Credentials::basic("Aladdin", "open sesame")).unwrap();
        let lines = Some("authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n".to_owned());
        assert_eq!(sent(&store, "https://a"), lines, "the example of RFC 7617");
        assert_eq!(sent(&load(&Credentials::new()).unwrap(), "https://a"), None);
    }

    #[test]
    fn only_origins_of_the_client_get_credentials() {
        let own = [("https://B:8443".to_owned(), Credentials::bearer("of-b"))];
        let general = Credentials::bearer("general").header("X-Token", "x");
        let store = CredentialStore::load(&https(), &general, &own, false, Instant::now()).unwrap();
        assert_eq!(sent(&store, "https://a/other/path").unwrap(), "authorization: Bearer general\r\nX-Token: x\r\n");
        assert_eq!(sent(&store, "https://b:8443").unwrap(), "authorization: Bearer of-b\r\n");
        for foreign in ["http://a", "https://a:8443", "https://b", "https://a.b", "https://c"] {
            assert_eq!(sent(&store, foreign), None, "{foreign}");
        }
        let own = [("https://a".to_owned(), Credentials::new())];
        let store = CredentialStore::load(&https(), &general, &own, false, Instant::now()).unwrap();
        assert_eq!(sent(&store, "https://a"), None);
        assert!(sent(&store, "https://b:8443").is_some());
    }

    #[test]
    fn credentials_of_a_host_that_the_client_does_not_have_are_refused() {
        for (url, problem) in [
            ("https://c", "\"https://c\" (passed by the program) is no host of the client"),
            ("https://a:8443", "is no host of the client"),
            ("http://a", "is no host of the client"),
            ("https://b:8443/base", "has a path"),
            ("https://u:S3CR3T@a", "has user info"),
            ("a", "has no scheme"),
        ] {
            let own = [(url.to_owned(), Credentials::bearer("x"))];
            let error = CredentialStore::load(&https(), &Credentials::new(), &own, false, Instant::now()).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
            assert!(!error.to_string().contains("S3CR3T"), "{error}");
        }
        let twice = ["https://a", "https://A:443"].map(|url| (url.to_owned(), Credentials::bearer("x")));
        let error = CredentialStore::load(&https(), &Credentials::new(), &twice, false, Instant::now()).unwrap_err();
        assert!(error.to_string().contains("is there twice"), "{error}");
    }

    #[test]
    fn plain_http_is_for_this_machine_unless_it_is_allowed() {
        let load = |url: &str, own: &[(String, Credentials)], allowed| {
            CredentialStore::load(&hosts(&[url]), &Credentials::bearer("x"), own, allowed, Instant::now())
        };
        for url in ["http://localhost:80", "http://127.0.0.1", "http://127.9.8.7:1", "http://[::1]:1", "https://a"] {
            assert!(load(url, &NONE, false).is_ok(), "{url}");
        }
        for url in ["http://a", "http://10.0.0.1", "http://localhost.example", "http://128.0.0.1", "http://[::2]"] {
            let error = load(url, &NONE, false).unwrap_err().to_string();
            assert!(error.contains(url) && error.contains("use https, or set allow_plain_http"), "{error}");
            assert!(load(url, &NONE, true).is_ok(), "{url}");
            assert!(load(url, &[(url.to_owned(), Credentials::new())], false).is_ok(), "{url}: it gets none");
        }
        let own = [("http://a".to_owned(), Credentials::bearer("x"))];
        let error = CredentialStore::load(&hosts(&["http://a"]), &Credentials::new(), &own, false, Instant::now());
        assert!(error.unwrap_err().to_string().contains("over plain http"));
    }

    #[test]
    fn errors_name_the_setting_its_place_and_the_remedy_and_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let file = |content: &[u8]| {
            let path = directory.path().join(fastrand::u64(..).to_string());
            fs::write(&path, content).unwrap();
            Secret::file(&path).from_origin(Origin::File("c.toml".into()))
        };
        let large = vec![b'S'; 65 << 10];
        for (credentials, words) in [
            (Credentials::bearer(""), "bearer token \"***\" (passed by the program) is empty"),
            (Credentials::bearer("Bearer S3CR3T"), "has a blank: write the token alone"),
            (Credentials::bearer("S3CR3T "), "begins or ends with a blank: remove it"),
            (Credentials::bearer("S3CR3T\nx"), "has more than one line"),
            (Credentials::basic("S3CR3T:x", "x"), "basic user \"***\" (passed by the program) has a colon"),
            (Credentials::basic("x", "S3CR3T\u{1}"), "basic password \"***\" (passed by the program) has the control"),
            (Credentials::new().header("X-T", " S3CR3T"), "for the header X-T begins or ends with a blank"),
            (
                Credentials::new().header("Host", "S3CR3T"),
                "header with a secret \"Host\" (passed by the program) is set",
            ),
            (Credentials::bearer("x").header("AUTHORIZATION", "S3CR3T"), "is there twice"),
            (Credentials::bearer(Secret::variable("NO_SUCH_VARIABLE")), "variable \"NO_SUCH_VARIABLE\" (passed by"),
            (Credentials::bearer(Secret::variable("A=B")), "is no name of a variable"),
            (Credentials::bearer(file(b"")), "(from the file c.toml) is empty: write the secret into it"),
            (Credentials::bearer(file(b"S3CR3T\nS3CR3T\n")), "bearer token file"),
            (Credentials::new().header("X-T", file(b"S3CR3T\xff")), "for the header X-T has a character that is not"),
            (Credentials::bearer(file(&large)), "has more than 64 KiB"),
            (Credentials::bearer(file(&large[..9 << 10])), "has more than 8 KiB"),
            (Credentials::bearer(Secret::file(directory.path())), "is a directory: name a regular file"),
            (Credentials::bearer(Secret::file(directory.path().join("x"))), "cannot be read: No such file"),
        ] {
            let error = load(&credentials).unwrap_err();
            let shown = format!("{error} {error:?} {credentials:?}");
            assert!(shown.contains(words), "{words}: {shown}");
            assert!(!shown.contains("S3CR3T"), "{shown}");
            let own = [("https://a".to_owned(), credentials)];
            let error = CredentialStore::load(&https(), &Credentials::new(), &own, false, Instant::now()).unwrap_err();
            assert!(error.to_string().contains("for https://a") || words.contains("twice") || words.contains("Host"));
        }
    }

    #[test]
    fn variable_is_read_when_the_client_is_built() {
        let store = load(&Credentials::bearer(Secret::variable("CARGO_PKG_NAME"))).unwrap();
        assert_eq!(sent(&store, "https://a").unwrap(), "authorization: Bearer cluster-client\r\n");
    }

    #[cfg(unix)]
    #[test]
    fn pipe_is_refused_without_blocking() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = load(&Credentials::bearer(Secret::file(&pipe))).unwrap_err();
        assert!(error.to_string().contains("is a pipe"), "{error}");
    }

    #[test]
    fn file_is_read_again_after_a_minute_or_a_refusal_and_its_last_good_value_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "one\n").unwrap();
        let begun = Instant::now();
        let store =
            CredentialStore::load(&https(), &Credentials::bearer(Secret::file(&path)), &NONE, false, begun).unwrap();
        let found = store.of(&https()[0]).unwrap();
        let at = |seconds: u64| text(&found.lines(begun + Duration::from_secs(seconds)));
        let of = |token: &str| format!("authorization: Bearer {token}\r\n");
        fs::write(&path, "two").unwrap();
        assert_eq!(at(59), of("one"));
        assert_eq!(at(60), of("two"));
        for broken in ["", "th\nree", "th\u{1}ree"] {
            fs::write(&path, broken).unwrap();
            assert_eq!(found.renewed(&found.lines(begun), begun + Duration::from_secs(60)), None);
            assert_eq!(at(180), of("two"), "{broken:?}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(at(360), of("two"));
        fs::write(&path, "four").unwrap();
        assert_eq!(at(419), of("two"));
        let old = found.lines(begun);
        let renewed = found.renewed(&old, begun + Duration::from_secs(419)).unwrap();
        assert_eq!(text(&renewed), of("four"));
        fs::remove_file(&path).unwrap();
        assert_eq!(found.renewed(&old, begun).as_ref(), Some(&renewed), "another request has read it already");
        assert_eq!(found.renewed(&renewed, begun), None);
    }

    #[test]
    fn secrets_to_mask_are_each_value_and_its_parts() {
        let secrets = |credentials: &Credentials| {
            let mut secrets = load(credentials).unwrap().secrets(Instant::now());
            secrets.sort();
            secrets.dedup();
            secrets
        };
        assert_eq!(secrets(&Credentials::bearer("abc").header("X-Key", "d e")), ["Bearer abc", "abc", "d e"]);
        let other =
            Credentials::new().header("Authorization", "GenieKey abcdefgh").header("Cookie", "sid=ijklmnop; a=b");
        let parts = ["GenieKey", "GenieKey abcdefgh", "abcdefgh", "ijklmnop", "sid=ijklmnop; a=b"];
        assert_eq!(secrets(&other), parts);
        let basic = [
            "Aladdin:open sesame",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "open sesame",
        ];
        assert_eq!(secrets(&Credentials::basic("Aladdin", "open sesame")), basic);
        assert!(secrets(&Credentials::new()).is_empty());
    }

    #[test]
    fn secrets_without_a_file_are_not_renewed() {
        let store = load(&Credentials::bearer("x")).unwrap();
        let found = store.of(&https()[0]).unwrap();
        let lines = found.lines(Instant::now());
        assert_eq!(found.renewed(&lines, Instant::now()), None);
    }
}
