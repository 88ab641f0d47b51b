//! Floor 1: a host's base URL and a list of hosts, checked once.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use crate::values::config::{ConfigError, Origin, shortened};
use crate::values::mask;
use crate::values::printable::Printable;

/// The base URL of one node, such as `http://node1:8000` or `https://10.0.0.7/cluster`.
///
/// It is normalized, so that two spellings of one URL are equal: scheme and host name are in lower case, and the
/// default port and a trailing slash are left out. User info, a query and a fragment are refused, because logs and
/// errors show URLs. Cloning is cheap.
///
/// ```
/// use cluster_client::Host;
///
/// assert_eq!(Host::parse("HTTP://Node1:80/")?, Host::parse("http://node1")?);
/// assert_eq!(Host::parse("http://node1:8000")?.authority(), "node1:8000");
/// # Ok::<(), cluster_client::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host {
    /// Scheme, authority and path; no trailing slash.
    url: Arc<str>,
    /// Offsets in `url`: the start of the authority, the end of the name in it, and the start of the path.
    authority: usize,
    name_end: usize,
    path: usize,
    port: u16,
    address: Option<IpAddr>,
    https: bool,
}

impl Host {
    /// Checks and normalizes a URL.
    ///
    /// # Errors
    /// A [`ConfigError`] for a scheme other than `http` and `https`, an `@`, a query or fragment, a port outside 1 to
    /// 65535, white space, or a host name that is empty, malformed or not ASCII. It shows no password.
    pub fn parse(url: impl AsRef<str>) -> Result<Self, ConfigError> {
        let url = url.as_ref();
        parse(url).map_err(|(problem, remedy)| ConfigError::new("host", mask::hosts(url), problem, remedy))
    }

    /// The base URL, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// The base URL without its scheme, as in `gate:8000/node1`. Tables and messages show it: behind a proxy, hosts may
    /// differ in their path only.
    ///
    /// ```
    /// assert_eq!(cluster_client::Host::parse("http://gate:8000/node1/")?.label(), "gate:8000/node1");
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn label(&self) -> &str {
        &self.url[self.authority..]
    }

    /// Host name and port, as in `node1:8000`; the default port is left out.
    pub fn authority(&self) -> &str {
        &self.url[self.authority..self.path]
    }

    /// The scheme: `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// The host name in lower case, or the address without brackets, for DNS and TLS.
    ///
    /// ```
    /// use cluster_client::Host;
    ///
    /// let host = Host::parse("https://[::1]:8443/base")?;
    /// assert_eq!((host.scheme(), host.name(), host.port(), host.path()), ("https", "::1", 8443, "/base"));
    /// assert_eq!(Host::parse("http://node1")?.port(), 80);
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn name(&self) -> &str {
        let name = &self.url[self.authority..self.name_end];
        name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name)
    }

    /// The port of the URL, or the default port of its scheme.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path before the paths of the API: empty, or with a slash at its start and none at its end.
    pub fn path(&self) -> &str {
        &self.url[self.path..]
    }

    /// The name as an address, if it is one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Whether connections to the host stay on this machine.
    pub(crate) fn is_this_machine(&self) -> bool {
        self.address.map_or_else(|| self.name() == "localhost", |address| address.is_loopback())
    }

    /// Scheme and authority: the base URL without its path.
    pub(crate) fn origin(&self) -> &str {
        &self.url[..self.path]
    }

    /// Whether requests go through TLS.
    pub fn is_https(&self) -> bool {
        self.https
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.url)
    }
}

impl AsRef<str> for Host {
    fn as_ref(&self) -> &str {
        &self.url
    }
}

impl FromStr for Host {
    type Err = ConfigError;
    fn from_str(url: &str) -> Result<Self, ConfigError> {
        Host::parse(url)
    }
}

impl TryFrom<&str> for Host {
    type Error = ConfigError;
    fn try_from(url: &str) -> Result<Self, ConfigError> {
        Host::parse(url)
    }
}

impl TryFrom<String> for Host {
    type Error = ConfigError;
    fn try_from(url: String) -> Result<Self, ConfigError> {
        Host::parse(url)
    }
}

/// The hosts of a cluster: at least one, no duplicates, in the order given. Cloning is cheap.
///
/// ```
/// use cluster_client::Hosts;
///
/// let hosts = Hosts::parse(["http://node1:8000", "http://node2:8000"])?;
/// assert_eq!(hosts.len(), 2);
/// assert!(Hosts::parse(["http://node1:80", "http://node1/"]).is_err());
/// # Ok::<(), cluster_client::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts(Arc<[Host]>);

impl Hosts {
    /// Maximum number of hosts of a cluster. It bounds the memory of an operation.
    pub const MAX: usize = 65_536;

    /// Checks each URL and the list as a whole.
    ///
    /// # Errors
    /// A [`ConfigError`] for a URL with user info, else for the first refused URL, a duplicate host, an empty list, or
    /// more than [`Hosts::MAX`] hosts.
    pub fn parse<I>(urls: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let urls: Vec<I::Item> = urls.into_iter().collect();
        // The list may have been split within a password, so only the entry after which it ends may be named.
        let last = |has: fn(&str) -> bool| urls.iter().map(AsRef::as_ref).rfind(|url| has(url));
        let refused = |url, (problem, remedy)| ConfigError::new("host", mask::hosts(url), problem, remedy);
        if let Some(url) = last(|url| url.contains('@')) {
            return Err(refused(url, USER_INFO));
        }
        let parsed = urls.iter().map(Host::parse).collect::<Result<Vec<_>, _>>().and_then(Hosts::new);
        // An encoded at sign is valid in a path. In a refused list, it may belong to user info.
        let encoded = ("is in a list that is refused", "write each host as http://node1:8000");
        parsed.map_err(|error| last(mask::has_user_info).map_or(error, |url| refused(url, encoded)))
    }

    /// Checks a comma-separated list, as in `HOSTS` and `--hosts`. White space around a URL is ignored.
    ///
    /// # Errors
    /// See [`Hosts::parse`]; also for an empty entry between two commas. The error names `origin`.
    ///
    /// ```
    /// use cluster_client::{Hosts, Origin};
    ///
    /// let origin = Origin::Environment("HOSTS".into());
    /// assert_eq!(Hosts::parse_list("http://a:1, http://b:1", origin.clone())?.len(), 2);
    /// assert!(Hosts::parse_list("http://a:1,,http://b:1", origin).is_err());
    /// # Ok::<(), cluster_client::ConfigError>(())
    /// ```
    pub fn parse_list(list: &str, origin: Origin) -> Result<Self, ConfigError> {
        let entries = list.split(',').map(str::trim);
        let refused = if list.trim().is_empty() {
            Hosts::parse::<[&str; 0]>([])
        } else if list.contains('@') {
            // The comma may be part of a password, so the list is masked as a whole.
            let what = if list.contains(',') { "host list" } else { "host" };
            Err(ConfigError::new(what, mask::hosts(list), USER_INFO.0, USER_INFO.1))
        } else if entries.clone().any(str::is_empty) {
            Err(ConfigError::new("host list", mask::hosts(list), "has an empty entry", "remove the extra comma"))
        } else {
            Hosts::parse(entries)
        };
        refused.map_err(|error| error.from_origin(origin))
    }

    /// Checks the list as a whole.
    ///
    /// # Errors
    /// A [`ConfigError`] if it is empty, too long, or has a duplicate host.
    pub fn new(hosts: Vec<Host>) -> Result<Self, ConfigError> {
        let refused =
            |value: String, problem: String, remedy: &str| Err(ConfigError::new("host list", value, problem, remedy));
        if hosts.is_empty() {
            return refused(String::new(), "is empty".into(), "name at least one host, such as http://node1:8000");
        }
        if hosts.len() > Self::MAX {
            let problem = format!("has {} hosts, more than {}", hosts.len(), Self::MAX);
            return refused(format!("{}, ...", hosts[0]), problem, "split the cluster");
        }
        let mut first_place = HashMap::with_capacity(hosts.len());
        for (place, host) in hosts.iter().enumerate() {
            if let Some(first) = first_place.insert(host, place) {
                let problem = format!("is there twice, as number {} and number {}", first + 1, place + 1);
                return Err(ConfigError::new("host", host.as_str(), problem, "name each host once"));
            }
        }
        Ok(Hosts(hosts.into()))
    }

    /// Number of hosts; never zero.
    #[expect(clippy::len_without_is_empty, reason = "a list of hosts is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The hosts in the order given.
    pub fn iter(&self) -> std::slice::Iter<'_, Host> {
        self.0.iter()
    }

    /// The hosts as a slice.
    pub fn as_slice(&self) -> &[Host] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a Hosts {
    type Item = &'a Host;
    type IntoIter = std::slice::Iter<'a, Host>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

type Refusal = (String, String);

/// The marks that surround a text in a list or a document.
const QUOTES: [char; 10] = ['"', '\'', '`', '“', '”', '„', '‘', '’', '«', '»'];

/// Problem and remedy of every text with an at sign. A more exact error would have to quote a possible password.
const USER_INFO: (&str, &str) =
    ("has user info", "leave out user and password, and percent-encode an at sign in a path");

/// Parses a URL. An error quotes only a plausible scheme or port, because other parts may belong to a password.
fn parse(url: &str) -> Result<Host, Refusal> {
    if url.contains('@') {
        return refuse(USER_INFO.0, USER_INFO.1);
    }
    if let Some(c) = url.chars().find(|c| c.is_whitespace() || Printable::escapes(*c)) {
        let remedy = if c.is_whitespace() { "remove it, or separate hosts by commas" } else { "remove it" };
        return refuse(format!("has the character U+{:04X}", u32::from(c)), remedy);
    }
    // A path may end with a quote of ASCII.
    if url.starts_with(QUOTES) || url.ends_with(|end: char| !end.is_ascii() && QUOTES.contains(&end)) {
        return refuse("is in quotes", "remove them");
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        let start = url.to_ascii_lowercase();
        if ["http:/", "http/", "https:/", "https/"].iter().any(|slip| start.starts_with(slip)) {
            return refuse("has no \"://\" after its scheme", "write it as http://node1:8000");
        }
        let url = shortened(&mask::hosts(url));
        return refuse("has no scheme", format!("write http://{}", url.trim_start_matches('/')));
    };
    let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
        "http" => ("http", 80),
        "https" => ("https", 443),
        other => {
            let is_word = (1..=12).contains(&other.len()) && other.bytes().all(|b| b.is_ascii_alphanumeric());
            let is_one = is_word && !mask::has_user_info(url);
            let problem = if is_one { format!("has the scheme {scheme:?}") } else { "has another scheme".into() };
            return refuse(problem, "use http:// or https://");
        }
    };
    if let Some(mark) = rest.chars().find(|c| matches!(c, '?' | '#')) {
        return refuse(format!("has a {mark:?}"), "give only scheme, host, port and path");
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains([',', ';']) && rest.contains("://") {
        return refuse("has more than one host", "separate hosts by commas, or write one a line in a file");
    }
    let (name, port) = split_port(authority)?;
    let name = check_name(name)?;
    let port = check_port(port)?.unwrap_or(default_port);
    let path = check_path(path)?;

    let mut whole = format!("{scheme}://");
    let authority = whole.len();
    whole.push_str(&name);
    let name_end = whole.len();
    if port != default_port {
        let _ = write!(whole, ":{port}");
    }
    let path_start = whole.len();
    whole.push_str(path);
    let address = name.trim_start_matches('[').trim_end_matches(']').parse().ok();
    Ok(Host { url: whole.into(), authority, name_end, path: path_start, port, address, https: scheme == "https" })
}

fn refuse<T>(problem: impl Into<String>, remedy: impl Into<String>) -> Result<T, Refusal> {
    Err((problem.into(), remedy.into()))
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), Refusal> {
    if authority.starts_with('[') {
        let Some(end) = authority.find(']') else {
            return refuse("has an address without its closing bracket", "write it as [::1]:8000");
        };
        let (name, rest) = authority.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((name, Some(port))),
            None if rest.is_empty() => Ok((name, None)),
            None => refuse("has text after the closing bracket", "write it as [::1]:8000"),
        };
    }
    match authority.split_once(':') {
        Some((_, rest)) if rest.contains(':') => {
            refuse("has more than one colon", "put an IPv6 address in brackets: [::1]:8000")
        }
        Some((name, port)) => Ok((name, Some(port))),
        None => Ok((authority, None)),
    }
}

fn check_port(port: Option<&str>) -> Result<Option<u16>, Refusal> {
    let Some(port) = port else { return Ok(None) };
    // `u16::from_str` accepts a plus sign, which a port cannot have.
    let is_digits = port.bytes().all(|b| b.is_ascii_digit());
    let number = if is_digits { port.parse::<u16>().ok() } else { None };
    match number {
        Some(0) | None => {
            let problem = match (is_digits, port.len()) {
                (true, ..=5) => format!("has the port {port:?}"),
                (true, _) => "has a port that is too large".into(),
                (false, _) => "has a port that is not a number".into(),
            };
            refuse(problem, "use a port from 1 to 65535")
        }
        Some(number) => Ok(Some(number)),
    }
}

fn check_name(name: &str) -> Result<String, Refusal> {
    if name.is_empty() {
        return refuse("has no host name", "write it as http://node1:8000");
    }
    if !name.is_ascii() {
        return refuse("has a host name that is not ASCII", "use its punycode form (xn--...)");
    }
    if let Some(address) = name.strip_prefix('[') {
        let address = address.trim_end_matches(']');
        if address.contains('%') {
            return refuse("has an address with a zone", "use an address that needs none, or a name");
        }
        return match address.parse::<Ipv6Addr>() {
            Ok(address) => Ok(format!("[{address}]")),
            Err(_) => refuse("has an address that is not IPv6", "write it as [::1]:8000"),
        };
    }
    let name = name.to_ascii_lowercase();
    let labels = name.strip_suffix('.').unwrap_or(&name).split('.');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !labels.clone().all(is_label) {
        return refuse("has a host name that is not one", "use letters, digits, '-', '_' and '.'");
    }
    // The URL standard parses a name as an address if its last label is a number, also a hexadecimal one.
    let is_number = |label: &str| match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => label.bytes().all(|b| b.is_ascii_digit()),
    };
    if labels.clone().next_back().is_some_and(is_number) && name.parse::<Ipv4Addr>().is_err() {
        return refuse("has an address that is not IPv4", "write four numbers from 0 to 255");
    }
    Ok(name)
}

fn check_path(path: &str) -> Result<&str, Refusal> {
    let path = path.trim_end_matches('/');
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:%".contains(&b);
    if !path.bytes().all(allowed) {
        return refuse("has a path with a character that URLs do not have", "percent-encode it");
    }
    let odd = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "" | "." | "..");
    if path.split('/').skip(1).any(odd) {
        return refuse("has an empty or dotted segment in its path", "write the path it stands for");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_url_are_equal() {
        for (given, kept) in [
            ("http://node1:8000", "http://node1:8000"),
            ("http://node1:8000/", "http://node1:8000"),
            ("HTTP://NODE1:80//", "http://node1"),
            ("https://node1:443", "https://node1"),
            ("https://node1:80", "https://node1:80"),
            ("http://[::1]:8000/a/b/", "http://[::1]:8000/a/b"),
            ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
            ("http://10.0.0.7:08000", "http://10.0.0.7:8000"),
        ] {
            assert_eq!(Host::parse(given).map(|h| h.to_string()), Ok(kept.to_owned()));
        }
        let host = Host::parse("https://node1:8443/base/").unwrap();
        assert_eq!((host.authority(), host.is_https()), ("node1:8443", true));
        assert_eq!((host.scheme(), host.name(), host.port(), host.path()), ("https", "node1", 8443, "/base"));
        let host = Host::parse("http://[::1]/a").unwrap();
        assert_eq!((host.authority(), host.name(), host.port(), host.path()), ("[::1]", "::1", 80, "/a"));
        assert_eq!((host.origin(), host.address()), ("http://[::1]", Some(Ipv6Addr::LOCALHOST.into())));
        let host = Host::parse("http://10.0.0.7:80").unwrap();
        assert_eq!((host.address(), host.path()), (Some(Ipv4Addr::new(10, 0, 0, 7).into()), ""));
    }

    #[test]
    fn invalid_urls_are_refused_with_the_reason() {
        for (url, reason) in [
            ("node1:8000", "no scheme"),
            ("", "no scheme"),
            ("//node1", "write http://node1"),
            ("ftp://node1", "scheme \"ftp\""),
            ("http://", "no host name"),
            ("http://:8000", "no host name"),
            ("http://node1:0", "port \"0\""),
            ("http://node1:65536", "port \"65536\""),
            ("http://node1:99999/", "port \"99999\""),
            ("http://node1:", "port \"\""),
            ("http://node1:+80", "port that is not a number"),
            ("http://node1:8o", "port that is not a number"),
            ("http://node1:123456", "port that is too large"),
            ("http://a:b@node1", "user info"),
            ("http://node1/a@b", "percent-encode an at sign in a path"),
            ("a b://node1", "U+0020"),
            ("a:1 b:2", "U+0020: remove it, or separate hosts by commas"),
            ("a:b://node1", "another scheme"),
            ("http://node1?x", "'?'"),
            ("http://node1/#x", "'#'"),
            ("http://nöde", "not ASCII"),
            ("http://node 1", "U+0020"),
            ("http://node1\n", "U+000A"),
            ("http://::1:80", "more than one colon"),
            ("http://a:80;http://b:80", "more than one host: separate hosts by commas"),
            ("http://a,http://b", "more than one host: separate hosts by commas, or write one a line in a file"),
            ("http://a;1", "not one"),
            ("http://[::1", "closing bracket"),
            ("http://[::1]80", "after the closing bracket"),
            ("http://[zz]", "not IPv6"),
            ("http://1.2.3", "not IPv4"),
            ("http://1.2.3.256", "not IPv4"),
            ("http://0x7F000001", "not IPv4"),
            ("http://127.0x1", "not IPv4"),
            ("http://a.0x", "not IPv4"),
            ("http://-a", "not one"),
            ("http://a..b", "not one"),
            ("http://a/../b", "dotted segment"),
            ("http://a/%2e%2E/b", "dotted segment"),
            ("http://a//b", "empty or dotted"),
            ("http://a/\"", "character that URLs"),
        ] {
            let message = Host::parse(url).unwrap_err().to_string();
            assert!(message.contains(reason), "{url}: {message}");
        }
    }

    #[test]
    fn errors_show_no_password() {
        for url in [
            "http://user:secret@node1:0",
            "user:secret@node1",
            "ftp://secret@x/a@b",
            "http://user:80/secret@node1",
            "secret://user%40node1",
            "http://user:secret",
            "user:secret",
        ] {
            let message = Host::parse(url).unwrap_err().to_string();
            assert!(!message.contains("secret") && message.contains("***"), "{message}");
        }
        let split = Hosts::parse(["http://user:80/secret", "@secret", "x@node1"]).unwrap_err().to_string();
        assert!(!split.contains("secret") && split.contains("host \"***@node1\""), "{split}");
        for list in ["http://user:80,secret@a,http://b", "http://a,secret,http://user%40b", "http://user:secret,,"] {
            let message = Hosts::parse_list(list, Origin::Code).unwrap_err().to_string();
            assert!(!message.contains("secret") && message.contains("***"), "{message}");
        }
    }

    #[test]
    fn empty_lists_and_duplicates_are_refused() {
        for list in ["", " ", "http://a,", ",http://a", "http://a,http://A:80/", "http://a,b"] {
            let error = Hosts::parse_list(list, Origin::Environment("HOSTS".into())).unwrap_err();
            assert!(error.to_string().contains("HOSTS"), "{error}");
        }
        let twice = Hosts::parse(["http://a:1", "http://b", "http://a:1/"]).unwrap_err();
        assert!(twice.to_string().contains("number 1 and number 3"), "{twice}");
    }
}
