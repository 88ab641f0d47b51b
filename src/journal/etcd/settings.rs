//! The settings of an [`EtcdJournal`], checked as a whole: endpoints, prefix, lease, user and TLS.

use std::sync::Arc;
use std::time::Duration;

use super::gateway::Gateway;
use super::journal::EtcdJournal;
use super::login::Login;
use crate::http::tls::Tls;
#[cfg(feature = "rustls")]
use crate::http::tls::settings::TlsSettings;
use crate::values::config::ConfigError;
use crate::values::host::Host;
use crate::values::secret::Secret;

/// Port of an endpoint without one.
const PORT: u16 = 2379;
/// Maximum number of endpoints. An etcd cluster has three, five or seven members.
const MAX_ENDPOINTS: usize = 16;
/// Maximum size of the prefix, in bytes.
const MAX_PREFIX: usize = 200;
/// The prefix of a URL without a path.
const PREFIX: &str = "/cluster-client";
/// Bounds of the lease. etcd makes a shorter one longer.
const TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(3600);

/// Settings of an [`EtcdJournal`]. Everything is checked in [`EtcdJournalBuilder::open`].
///
/// | setting | default | bounds |
/// | --- | --- | --- |
/// | endpoints of the URL | none; the port is 2379 | 1 to 16 |
/// | prefix, the path of the URL | `/cluster-client` | 200 bytes |
/// | `ttl` | 30 s | 2 s to 1 h, whole seconds |
/// | `user` | none | see [`Secret`] |
/// | `tls`, for `etcds://` | built-in roots, no client certificate | see `TlsSettings` |
///
/// ```
/// use std::time::Duration;
/// use cluster_client::EtcdJournal;
///
/// let journal = EtcdJournal::builder("etcd://etcd1,etcd2,etcd3/payments").ttl(Duration::from_secs(60)).open()?;
/// assert_eq!(journal.prefix(), "/payments");
/// # Ok::<(), cluster_client::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing before `open`"]
pub struct EtcdJournalBuilder {
    url: String,
    ttl: Duration,
    user: Option<(String, Secret)>,
    allow_plain_http: bool,
    #[cfg(feature = "rustls")]
    tls: Option<TlsSettings>,
}

impl EtcdJournal {
    /// Returns a builder for a journal at a URL such as `etcd://etcd1:2379,etcd2:2379,etcd3:2379/prefix`. `etcds://` is
    /// with TLS.
    ///
    /// ```
    /// use cluster_client::EtcdJournal;
    ///
    /// let refused = EtcdJournal::builder("etcd1:2379").open().unwrap_err();
    /// assert!(refused.to_string().contains("begins neither with etcd:// nor with etcds://"));
    /// ```
    pub fn builder(url: impl Into<String>) -> EtcdJournalBuilder {
        EtcdJournalBuilder::new(url.into())
    }
}

impl EtcdJournalBuilder {
    fn new(url: String) -> Self {
        EtcdJournalBuilder {
            url,
            ttl: Duration::from_secs(30),
            user: None,
            allow_plain_http: false,
            #[cfg(feature = "rustls")]
            tls: None,
        }
    }

    /// Sets the length of the lease: the time after which the groups of a dead process are free. It is at least twice
    /// the request timeout of the client, plus two seconds: [`ClientBuilder::build`](crate::ClientBuilder::build) checks
    /// it.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets the user of etcd and the password, for a cluster with authentication. A password file is read again at each
    /// login.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<Secret>) -> Self {
        self.user = Some((name.into(), password.into()));
        self
    }

    /// Sets whether the password may be sent to another machine without TLS. By default, only `localhost`,
    /// `127.0.0.0/8` and `::1` get it by `etcd://`.
    pub fn allow_plain_http(mut self, allow: bool) -> Self {
        self.allow_plain_http = allow;
        self
    }

    /// Sets how the endpoints of an `etcds://` URL are verified, and how the client identifies itself to them.
    #[cfg(feature = "rustls")]
    pub fn tls(mut self, settings: TlsSettings) -> Self {
        self.tls = Some(settings);
        self
    }

    /// Checks every setting, and reads its files and secrets. Sends nothing and starts no thread.
    ///
    /// # Errors
    /// A [`ConfigError`] for the first setting that cannot be used.
    pub fn open(self) -> Result<EtcdJournal, ConfigError> {
        let (endpoints, prefix) = parse(&self.url)?;
        check_ttl(self.ttl)?;
        let tls = Arc::new(self.load_tls()?);
        let login = self.user.map(|(name, password)| Login::new(name, password)).transpose()?;
        if login.is_some() && !self.allow_plain_http {
            let open = endpoints.iter().find(|endpoint| !endpoint.is_https() && !endpoint.is_this_machine());
            if let Some(endpoint) = open {
                let problem = "would get the password over plain http, which anyone on the way can read";
                let remedy = "write etcds://, or set allow_plain_http if you trust the network";
                return Err(ConfigError::new("etcd endpoint", endpoint.authority(), problem, remedy));
            }
        }
        let gateway = Gateway::new(endpoints, &tls, login)?;
        Ok(EtcdJournal::new(gateway, prefix, self.ttl))
    }

    #[cfg(feature = "rustls")]
    fn load_tls(&self) -> Result<Tls, ConfigError> {
        // The settings are keys of `[etcd]` in the command.
        let tls = Tls::new(self.tls.as_ref(), &[]).map_err(|error| {
            let what = error.what().replacen("tls.", "etcd.", 1);
            error.about(what)
        })?;
        tls.warnings().iter().for_each(|warning| log::warn!(target: "cluster_client", "etcd: {warning}"));
        Ok(tls)
    }

    #[cfg(not(feature = "rustls"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "with TLS there are settings")]
    fn load_tls(&self) -> Result<Tls, ConfigError> {
        Ok(Tls::default())
    }
}

fn check_ttl(ttl: Duration) -> Result<(), ConfigError> {
    let refused = |problem| ConfigError::new("etcd ttl", format!("{ttl:?}"), problem, "choose 2s to 1h");
    if !TTL.contains(&ttl) {
        return Err(refused("is out of bounds"));
    }
    if ttl.subsec_nanos() != 0 {
        return Err(refused("is not in whole seconds"));
    }
    Ok(())
}

/// Returns the endpoints and the prefix of a URL such as `etcd://etcd1:2379,etcd2:2379/prefix`.
fn parse(url: &str) -> Result<(Vec<Host>, String), ConfigError> {
    const EXAMPLE: &str = "write etcd://etcd1:2379,etcd2:2379,etcd3:2379/prefix";
    // The query of a URL may have a token.
    let shown = url.find(['?', '#']).map_or_else(|| url.to_owned(), |end| format!("{}***", &url[..=end]));
    let refused = |problem: &str, remedy: &str| ConfigError::new("etcd journal", &shown, problem, remedy);
    let (scheme, rest) = match url.split_once("://") {
        Some(("etcd", rest)) => ("http", rest),
        Some(("etcds", rest)) => ("https", rest),
        _ => return Err(refused("begins neither with etcd:// nor with etcds://", EXAMPLE)),
    };
    let (list, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if list.contains('@') {
        return Err(refused("has user info", "set the user and the password as settings of their own"));
    }
    let mut endpoints = Vec::new();
    for name in list.split(',') {
        if name.is_empty() {
            return Err(refused("has an empty endpoint", EXAMPLE));
        }
        let has_port = name.rsplit_once(']').map_or(name, |(_, port)| port).contains(':');
        let port = if has_port { String::new() } else { format!(":{PORT}") };
        let endpoint = Host::parse(format!("{scheme}://{name}{port}")).map_err(|error| error.about("etcd endpoint"))?;
        if endpoints.contains(&endpoint) {
            return Err(refused(&format!("has the endpoint {} twice", endpoint.authority()), "leave one of them out"));
        }
        endpoints.push(endpoint);
    }
    if endpoints.len() > MAX_ENDPOINTS {
        return Err(refused("has more than 16 endpoints", "name the members of one etcd cluster"));
    }
    Ok((endpoints, prefix(path).map_err(|(problem, remedy)| refused(problem, remedy))?))
}

/// Returns the prefix of all keys: the path, with a slash at its start and none at its end.
fn prefix(path: &str) -> Result<String, (&'static str, &'static str)> {
    let prefix = path.strip_suffix('/').unwrap_or(path);
    if prefix.is_empty() {
        return Ok(PREFIX.into());
    }
    if prefix.len() > MAX_PREFIX {
        return Err(("has a path of more than 200 bytes", "choose a shorter prefix"));
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./~".contains(&byte);
    if !prefix.bytes().all(is_plain) {
        return Err(("has a path with a special character", "use letters, digits and '-', '_', '.', '~', '/'"));
    }
    if prefix.contains("//") {
        return Err(("has an empty part in its path", "write one slash between two parts"));
    }
    if prefix.split('/').any(|part| ["lock", "intent"].contains(&part)) {
        // The journal of a shorter prefix would take its keys for groups.
        return Err(("has a part named lock or intent, as keys of a journal have", "choose another prefix"));
    }
    Ok(prefix.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (Vec<String>, String) {
        let (endpoints, prefix) = parse(url).unwrap();
        (endpoints.iter().map(|endpoint| endpoint.as_str().to_owned()).collect(), prefix)
    }

    #[test]
    fn url_has_endpoints_and_a_prefix() {
        for (url, endpoints, prefix) in [
            ("etcd://h1:2379,h2:1,h3/a/b/", &["http://h1:2379", "http://h2:1", "http://h3:2379"][..], "/a/b"),
            ("etcds://[::1],10.0.0.7:443", &["https://[::1]:2379", "https://10.0.0.7"], "/cluster-client"),
            ("etcd://[::1]:5/", &["http://[::1]:5"], "/cluster-client"),
        ] {
            assert_eq!(parsed(url), (endpoints.iter().map(|url| (*url).to_owned()).collect(), prefix.into()), "{url}");
        }
    }

    #[test]
    fn url_that_cannot_be_used_is_refused_with_a_remedy() {
        let many = format!("etcd://{}/p", (0..17).map(|n| format!("h{n}")).collect::<Vec<_>>().join(","));
        let long = format!("etcd://h/{}", "p".repeat(MAX_PREFIX));
        for (url, problem) in [
            ("http://h1:2379/p", "neither with etcd://"),
            ("/var/lib/x", "neither with etcd://"),
            ("etcd:///p", "an empty endpoint"),
            ("etcd://h1,,h2", "an empty endpoint"),
            ("etcd://h1,h1:2379/p", "has the endpoint h1:2379 twice"),
            ("etcd://h1:0/p", "etcd endpoint"),
            ("etcd://h 1/p", "etcd endpoint"),
            ("etcd://h1/a b", "special character"),
            ("etcd://h1/a?x=1", "special character"),
            ("etcd://h1/a//b", "an empty part"),
            ("etcd://h1/a/intent/b", "a part named lock or intent"),
            ("etcd://h1/lock", "a part named lock or intent"),
            (&many, "more than 16 endpoints"),
            (&long, "more than 200 bytes"),
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains("passed by the program"), "{url}: {error}");
        }
        let error = parse("etcd://me:S3CR3T@h1/p").unwrap_err().to_string();
        assert!(error.contains("user info") && !error.contains("S3CR3T"), "{error}");
        for url in ["etcd://h1/p?token=S3CR3T", "etcd://h1/p#S3CR3T"] {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.contains("etcd://h1/p") && !error.contains("S3CR3T"), "{error}");
        }
    }

    #[test]
    fn ttl_is_two_seconds_to_one_hour_in_whole_seconds() {
        for (millis, is_good) in [(1_999, false), (2_000, true), (2_500, false), (3_600_000, true), (3_601_000, false)]
        {
            assert_eq!(check_ttl(Duration::from_millis(millis)).is_ok(), is_good, "{millis} ms");
        }
    }

    #[test]
    fn password_is_sent_to_another_machine_only_with_tls_or_by_request() {
        let open = |url: &str, allow| EtcdJournalBuilder::new(url.into()).user("u", "p").allow_plain_http(allow).open();
        let error = open("etcd://127.0.0.1,etcd2/p", false).unwrap_err().to_string();
        assert!(error.contains("etcd2:2379") && error.contains("plain http"), "{error}");
        assert!(open("etcd://etcd2/p", true).is_ok() && open("etcd://localhost/p", false).is_ok());
        assert_eq!(open("etcds://etcd2/p", false).is_ok(), cfg!(feature = "rustls"));
    }
}
