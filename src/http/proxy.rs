//! The proxy of a client: which hosts are reached through it, and what is sent to it.
//!
//! Requests to http hosts go to the proxy in absolute form. For an https host, the proxy opens a tunnel (CONNECT, RFC 9110,
//! 9.3.6), and TLS begins in it. Until the tunnel is open, nothing of the request is sent.
//!
//! Deliberately absent: sockets, the variables of the environment, and TLS to the proxy itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::http::credentials::{HeaderLines, HostCredentials};
use crate::http::resolver::Target;
use crate::http::{MAX_HEAD, USER_AGENT};
use crate::values::cause::{RequestError, RequestErrorKind as Kind};
use crate::values::config::{ConfigError, Origin};
use crate::values::credentials::Credentials;
use crate::values::host::Host;

/// The proxy of one client.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Name and port, for errors.
    name: String,
    pub(crate) target: Target,
    bypass: Vec<Bypass>,
    credentials: Option<HostCredentials>,
}

/// Hosts that are reached without the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Bypass {
    All,
    /// `localhost`, `127.0.0.0/8` and `::1`.
    ThisMachine,
    Name(String),
    /// Names that end with this text, which begins with a dot.
    Suffix(String),
    /// Addresses whose first bits are those of this one.
    Network(IpAddr, u32),
}

impl Proxy {
    /// # Errors
    /// A [`ConfigError`] for a URL other than `http://name:port`, for an entry of `no_proxy` that is none, and for a
    /// secret that is refused.
    pub(crate) fn new(
        url: &str,
        no_proxy: &[String],
        credentials: &Credentials,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        let refused =
            |problem, remedy| Err(ConfigError::new("proxy", crate::values::mask::hosts(url), problem, remedy));
        let host = match Host::parse(url) {
            Ok(host) => host,
            Err(error) => return Err(error.about("proxy")),
        };
        if host.is_https() {
            return refused("has the scheme \"https\"", "use http://: TLS to the hosts goes through it in a tunnel");
        }
        if !host.path().is_empty() {
            return refused("has a path", "give only name and port, such as http://proxy:3128");
        }
        let listed = no_proxy.iter().map(|text| Bypass::parse(text)).collect::<Result<Vec<_>, _>>()?;
        Ok(Proxy {
            name: host.authority().to_owned(),
            target: Target::of(&host),
            bypass: [vec![Bypass::ThisMachine], listed].concat(),
            credentials: HostCredentials::for_proxy(credentials, now)?,
        })
    }

    /// Creates a proxy without credentials that is used for this machine too.
    #[cfg(test)]
    pub(crate) fn for_all(host: &Host) -> Arc<Self> {
        let (name, target) = (host.authority().to_owned(), Target::of(host));
        Arc::new(Proxy { name, target, bypass: Vec::new(), credentials: None })
    }

    /// Returns the proxy, if the host is reached through it.
    pub(crate) fn of(proxy: Option<&Arc<Proxy>>, host: &Host) -> Option<Arc<Proxy>> {
        proxy.filter(|proxy| !proxy.bypass.iter().any(|bypass| bypass.matches(host))).cloned()
    }

    /// Returns the header lines for the proxy.
    pub(crate) fn lines(&self) -> HeaderLines {
        self.credentials.as_ref().map(|credentials| credentials.lines(Instant::now())).unwrap_or_default()
    }

    /// Returns the request for a tunnel to `host`.
    pub(crate) fn connect_request(&self, host: &Host) -> Vec<u8> {
        let name = host.authority();
        let port =
            if name.ends_with(&format!(":{}", host.port())) { String::new() } else { format!(":{}", host.port()) };
        let head = format!("CONNECT {name}{port} HTTP/1.1\r\nhost: {name}{port}\r\nuser-agent: {USER_AGENT}\r\n");
        [head.as_bytes(), self.lines().as_bytes(), b"\r\n"].concat()
    }

    /// Returns whether the tunnel is open, by the bytes that the proxy has sent so far. `None` if more are needed.
    ///
    /// # Errors
    /// If the proxy refuses, or sends no HTTP.
    pub(crate) fn is_tunnel_open(&self, received: &[u8]) -> Option<Result<(), RequestError>> {
        let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            let is_too_long = received.len() >= MAX_HEAD;
            return is_too_long.then(|| Err(self.failed("sent a head that is too large", None)));
        };
        let line = received.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let status = line.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(digits)
        });
        Some(match status {
            None => Err(self.failed("sent no HTTP", None)),
            Some(status) if status.starts_with('2') && received.len() == end + 4 => Ok(()),
            Some(status) if status.starts_with('2') => Err(self.failed("sent bytes before the tunnel was used", None)),
            Some(status) => Err(self.failed(&format!("answered {status} to CONNECT"), None)),
        })
    }

    /// Returns the error of a tunnel that was not opened.
    pub(crate) fn no_tunnel(&self, cause: RequestError, timeout: Duration) -> RequestError {
        match cause.kind() {
            Kind::Timeout => self.failed(&format!("opened no tunnel within {timeout:?}"), Some(cause)),
            _ => self.failed("closed the connection before the tunnel was open", Some(cause)),
        }
    }

    /// Names the proxy in the error of a connection to it.
    pub(crate) fn not_reached(&self, cause: RequestError) -> RequestError {
        match cause.kind() {
            Kind::Connect | Kind::Resolve => {
                let message = format!("the proxy {} cannot be reached: {cause}", self.name);
                RequestError::new(cause.kind(), message).caused_by(cause)
            }
            _ => cause,
        }
    }

    fn failed(&self, problem: &str, cause: Option<RequestError>) -> RequestError {
        let error = RequestError::new(Kind::Connect, format!("the proxy {} {problem}", self.name));
        match cause {
            Some(cause) => error.caused_by(cause),
            None => error,
        }
    }
}

impl Bypass {
    fn parse(text: &str) -> Result<Self, ConfigError> {
        let refused = |problem| {
            let remedy = "write a name, a suffix such as .example.com, an address, a network such as 10.0.0.0/8, or *";
            Err(ConfigError::new("entry of no_proxy", text, problem, remedy).from_origin(Origin::Code))
        };
        if text == "*" {
            return Ok(Bypass::All);
        }
        if let Some((address, bits)) = text.split_once('/') {
            let is_number = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
            return match (address.parse::<IpAddr>(), bits.parse::<u32>()) {
                (Ok(address), Ok(bits)) if is_number && bits <= width(address) => Ok(Bypass::Network(address, bits)),
                _ => refused("is no network"),
            };
        }
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Bypass::Network(address, width(address)));
        }
        let name = text.strip_prefix('.').unwrap_or(text);
        match Host::parse(format!("http://{name}")) {
            Ok(host) if host.name().eq_ignore_ascii_case(name) && host.path().is_empty() => {
                let name = host.name().to_owned();
                Ok(if text.starts_with('.') { Bypass::Suffix(format!(".{name}")) } else { Bypass::Name(name) })
            }
            _ => refused("is no name of a host"),
        }
    }

    fn matches(&self, host: &Host) -> bool {
        match self {
            Bypass::All => true,
            Bypass::ThisMachine => host.is_this_machine(),
            Bypass::Name(name) => host.address().is_none() && host.name() == name,
            Bypass::Suffix(suffix) => host.address().is_none() && host.name().ends_with(suffix.as_str()),
            Bypass::Network(network, bits) => {
                host.address().is_some_and(|address| first_bits(address, *bits) == first_bits(*network, *bits))
            }
        }
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Returns the family and the first bits of an address.
fn first_bits(address: IpAddr, bits: u32) -> (bool, u128) {
    let (number, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    // A shift by the whole width overflows.
    (address.is_ipv4(), number.checked_shr(width - bits.min(width)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(no_proxy: &[&str]) -> Result<Arc<Proxy>, ConfigError> {
        let no_proxy: Vec<String> = no_proxy.iter().map(|text| (*text).to_owned()).collect();
        Proxy::new("http://proxy.example:3128", &no_proxy, &Credentials::new(), Instant::now()).map(Arc::new)
    }

    #[test]
    fn hosts_of_no_proxy_and_this_machine_are_reached_directly() {
        let proxied = |no_proxy: &[&str], url: &str| {
            Proxy::of(Some(&proxy(no_proxy).unwrap()), &Host::parse(url).unwrap()).is_some()
        };
        for url in ["http://localhost:1", "https://127.0.0.5", "http://[::1]"] {
            assert!(!proxied(&[], url), "{url}");
        }
        for (pattern, direct, through) in [
            ("*", "http://a", None),
            ("node1", "https://NODE1:8443", Some("http://node1.example")),
            (".example.com", "http://a.b.Example.com", Some("http://example.com")),
            (".Example.com", "http://a.example.com", Some("http://badexample.com")),
            ("10.1.2.3", "http://10.1.2.3:80", Some("http://10.1.2.4")),
            ("10.0.0.0/8", "http://10.255.0.1", Some("http://11.0.0.1")),
            ("10.1.2.0/23", "http://10.1.3.255", Some("http://10.1.4.0")),
            ("0.0.0.0/0", "http://9.9.9.9", Some("http://[fd00::1]")),
            ("::/0", "http://[fd00::1]", Some("http://9.9.9.9")),
            ("fd00::/8", "https://[fd12::1]", Some("https://[fe80::1]")),
            ("fd00::1", "https://[fd00::1]", Some("https://[fd00::2]")),
        ] {
            assert!(!proxied(&[pattern], direct), "{pattern}: {direct}");
            assert!(through.is_none_or(|url| proxied(&[pattern], url)), "{pattern}: {through:?}");
            assert!(!proxied(&["other", pattern], direct), "{pattern}: {direct}");
        }
    }

    #[test]
    fn entries_of_no_proxy_that_are_none_are_refused() {
        for text in ["", ".", "a b", "http://a", "a:80", "a/b", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/", "fd00::/129"]
        {
            let error = proxy(&[text]).unwrap_err().to_string();
            assert!(error.contains("entry of no_proxy") && error.contains("10.0.0.0/8, or *"), "{text}: {error}");
        }
    }

    #[test]
    fn urls_of_a_proxy_that_are_none_are_refused_without_their_password() {
        for (url, problem) in [
            ("https://proxy:1", "has the scheme \"https\""),
            ("http://proxy:1/path", "has a path"),
            ("proxy:3128", "has no scheme"),
            ("http://user:S3CR3T@proxy:1", "has user info"),
            ("socks5://proxy:1", "scheme"),
        ] {
            let error = Proxy::new(url, &[], &Credentials::new(), Instant::now()).unwrap_err().to_string();
            assert!(error.starts_with("proxy \"") && error.contains(problem), "{url}: {error}");
            assert!(!error.contains("S3CR3T"), "{error}");
        }
    }

    #[test]
    fn answer_to_connect_opens_the_tunnel_or_names_the_proxy() {
        let proxy = proxy(&[]).unwrap();
        let open =
            |received: &str| proxy.is_tunnel_open(received.as_bytes()).map(|open| open.map_err(|e| e.to_string()));
        assert_eq!(open(""), None);
        assert_eq!(open("HTTP/1.1 200 Connection established\r\nx: y\r\n"), None);
        assert_eq!(open("HTTP/1.1 200 Connection established\r\nx: y\r\n\r\n"), Some(Ok(())));
        assert_eq!(open("HTTP/1.0 200\r\n\r\n"), Some(Ok(())));
        for (received, problem) in [
            ("HTTP/1.1 407 x\r\ncontent-length: 1\r\n\r\ny", "answered 407 to CONNECT"),
            ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered 502 to CONNECT"),
            ("HTTP/1.1 200 x\r\n\r\ny", "sent bytes before"),
            ("SSH-2.0-x\r\n\r\n", "sent no HTTP"),
            ("HTTP/1.1 20\r\n\r\n", "sent no HTTP"),
            (&"x".repeat(MAX_HEAD), "too large"),
        ] {
            let Some(Err(error)) = open(received) else { panic!("{received:.80}") };
            assert!(error.starts_with("the proxy proxy.example:3128 ") && error.contains(problem), "{error}");
        }
    }

    #[test]
    fn request_for_a_tunnel_names_the_port_and_has_the_credentials() {
        let credentials = Credentials::basic("Aladdin", "open sesame");
        let proxy = Proxy::new("http://proxy", &[], &credentials, Instant::now()).unwrap();
        for (url, authority) in
            [("https://a", "a:443"), ("https://a:8443", "a:8443"), ("https://[fd00::1]", "[fd00::1]:443")]
        {
            let request = String::from_utf8(proxy.connect_request(&Host::parse(url).unwrap())).unwrap();
            let expected = format!(
                "CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: {USER_AGENT}\r\n\
                 proxy-authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"
            );
            assert_eq!(request, expected);
        }
    }
}
