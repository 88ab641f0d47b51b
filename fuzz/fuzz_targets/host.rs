//! A base URL, and a list of them: an accepted URL is normalized, and other parsers read it alike.
#![no_main]

use std::net::Ipv6Addr;

use cluster_client::{Host, Hosts, Origin};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    one(text);
    list(text);
});

fn one(text: &str) {
    match Host::parse(text) {
        Err(refused) => one_line(&refused.to_string()),
        Ok(host) => {
            let kept = host.as_str();
            assert_eq!(Host::parse(kept).as_ref(), Ok(&host), "a normalized URL is unchanged");
            assert!(kept.len() <= text.len() + "[::ffff:255.255.255.255]".len());
            assert!(!kept.contains(['?', '#', '\\']) && !kept.ends_with('/') && !host.authority().contains('@'));
            second_opinions(&host);
        }
    }
}

/// Compares with the crate that the transport uses, and with the URL standard.
fn second_opinions(host: &Host) {
    let uri: http::Uri = host.as_str().parse().unwrap_or_else(|e| panic!("{host}: {e}"));
    assert_eq!(uri.authority().map(http::uri::Authority::as_str), Some(host.authority()));
    assert_eq!(uri.scheme_str(), Some(if host.is_https() { "https" } else { "http" }));

    let (name, port) = match host.authority().rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        _ => (host.authority(), None),
    };
    // The standard checks punycode too, which is left to the resolver here.
    if name.split('.').any(|label| label.starts_with("xn--")) {
        return;
    }
    let url = url::Url::parse(host.as_str()).unwrap_or_else(|e| panic!("{host}: {e}"));
    // An IPv4 address inside an IPv6 one has two spellings.
    let same_address = name.starts_with('[') && url.host_str().and_then(address) == address(name);
    assert!(same_address || url.host_str() == Some(name), "{host}: {url}");
    assert_eq!(url.port(), port);
    assert_eq!(url.path().trim_end_matches('/'), uri.path().trim_end_matches('/'));
}

fn address(name: &str) -> Option<Ipv6Addr> {
    name.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn list(text: &str) {
    match Hosts::parse_list(text, Origin::Environment("HOSTS".into())) {
        Err(refused) => one_line(&refused.to_string()),
        Ok(hosts) => {
            assert_eq!(hosts.len(), text.split(',').count());
            let again: Vec<&str> = hosts.iter().map(Host::as_str).collect();
            assert_eq!(Hosts::parse(&again).as_ref(), Ok(&hosts));
            // A path may contain a comma, but not in a list.
            assert_eq!(Hosts::parse_list(&again.join(", "), Origin::Code).as_ref(), Ok(&hosts));
        }
    }
}

/// Checks that an error is one line without control characters.
fn one_line(message: &str) {
    assert!(!message.chars().any(char::is_control), "{message:?}");
}
