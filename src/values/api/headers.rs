//! The headers of a mapping. Secrets are credentials, and headers of the connection belong to the client.

use std::sync::Arc;

use crate::values::config::ConfigError;

/// Maximum number of headers of one action.
const MAX_HEADERS: usize = 32;
/// Maximum length of a value, in bytes.
const MAX_VALUE: usize = 1024;

/// Headers that the client writes, because they describe the connection, the length or the encoding.
const OWN: [&str; 13] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Merges the headers of an API with those of an action, which replace others of their name.
pub(super) fn merged(common: &[(String, String)], own: &[(String, String)]) -> Arc<[(String, String)]> {
    let is_replaced = |name: &str| own.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    common.iter().filter(|(name, _)| !is_replaced(name)).chain(own).cloned().collect()
}

/// Checks the headers that are written in one place, `what`.
pub(super) fn check(what: &'static str, headers: &[(String, String)]) -> Result<(), ConfigError> {
    if headers.len() > MAX_HEADERS {
        let problem = format!("are more than {MAX_HEADERS}");
        return Err(ConfigError::new(what, headers.len().to_string(), problem, "remove some"));
    }
    for (position, (name, value)) in headers.iter().enumerate() {
        check_name(what, name)?;
        check_value(what, name, value)?;
        if headers[..position].iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return Err(ConfigError::new(what, name, "is there twice", "write it once"));
        }
    }
    Ok(())
}

/// Refuses a name. An error names it without its value, which may be a secret.
fn check_name(what: &'static str, name: &str) -> Result<(), ConfigError> {
    let refused = |problem: &str, remedy: &str| Err(ConfigError::new(what, name, problem, remedy));
    if !is_token(name) {
        return refused("is no name of a header", "use letters, digits and dashes, as in Accept");
    }
    let lower = name.to_ascii_lowercase();
    if OWN.contains(&lower.as_str()) {
        return refused("is a header that the client itself decides about", "remove it");
    }
    if is_secret(&lower) {
        return refused("looks like a secret, which a mapping must not hold", "set it as a credential of the client");
    }
    Ok(())
}

fn check_value(what: &'static str, name: &str, value: &str) -> Result<(), ConfigError> {
    let refused = |problem: &str, remedy: &str| Err(ConfigError::new(what, name, problem, remedy));
    if value.len() > MAX_VALUE {
        return refused(&format!("has a value of more than {MAX_VALUE} bytes"), "shorten it");
    }
    if !value.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return refused("has a value with a control character or one outside ASCII", "remove it");
    }
    if value.trim() != value || value.is_empty() {
        return refused(
            "has a value that is empty or has blanks around it",
            "give it a value without blanks around it",
        );
    }
    if value.contains("{id") {
        return refused("has a placeholder, which works in paths, bodies and answers only", "remove it");
    }
    let scheme = value.split(' ').next().unwrap_or_default();
    if value.contains(' ') && ["basic", "bearer", "digest", "negotiate"].contains(&scheme.to_ascii_lowercase().as_str())
    {
        return refused("looks like a secret, which a mapping must not hold", "set it as a credential of the client");
    }
    Ok(())
}

/// Whether the name, in small letters, is one of a secret.
fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 12] = [
        "auth",
        "authentication",
        "authorization",
        "apikey",
        "cookie",
        "cookie2",
        "credential",
        "credentials",
        "passwd",
        "password",
        "secret",
        "token",
    ];
    let words: Vec<&str> = name.split(['-', '_', '.']).collect();
    let is_key = |pair: &[&str]| pair[1] == "key" && ["access", "api", "auth", "private", "secret"].contains(&pair[0]);
    words.iter().any(|word| WORDS.contains(word)) || words.windows(2).any(is_key)
}

/// Whether the text is a token of HTTP (RFC 9110, section 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.len() <= 64 && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn plain_headers_are_accepted() {
        for (name, value) in [
            ("Accept", "application/json"),
            ("If-None-Match", "*"),
            ("Idempotency-Key", "x"),
            ("X-Requested-With", "cluster-client"),
            ("Content-Type", "application/merge-patch+json"),
            ("X-Author", "me"),
        ] {
            assert_eq!(check("headers", &headers(&[(name, value)])), Ok(()), "{name}");
        }
    }

    #[test]
    fn each_refusal_has_its_reason_and_no_value() {
        let long = "x".repeat(MAX_VALUE + 1);
        for (name, value, reason) in [
            ("Authorization", "S3CR3T", "looks like a secret"),
            ("proxy-authorization", "S3CR3T", "looks like a secret"),
            ("Cookie", "S3CR3T", "looks like a secret"),
            ("X-Vault-Token", "S3CR3T", "looks like a secret"),
            ("X-Consul-Token", "S3CR3T", "looks like a secret"),
            ("X-Api-Key", "S3CR3T", "looks like a secret"),
            ("X-Auth", "S3CR3T", "looks like a secret"),
            ("X-Plain", "Bearer S3CR3T", "looks like a secret"),
            ("X-Plain", "basic S3CR3T", "looks like a secret"),
            ("Host", "S3CR3T", "client itself"),
            ("content-length", "S3CR3T", "client itself"),
            ("Transfer-Encoding", "S3CR3T", "client itself"),
            ("CONNECTION", "S3CR3T", "client itself"),
            ("Accept Encoding", "S3CR3T", "no name"),
            ("", "S3CR3T", "no name"),
            ("X:", "S3CR3T", "no name"),
            ("X", "S3CR3T\r\nY: z", "control character"),
            ("X", "S3CR3T ü", "outside ASCII"),
            ("X", " S3CR3T", "blanks around"),
            ("X", "", "is empty"),
            ("X", "S3CR3T {id}", "placeholder"),
            ("X", &long, "1024 bytes"),
        ] {
            let message = check("headers", &headers(&[(name, value)])).unwrap_err().to_string();
            assert!(message.contains(reason) && !message.contains("S3CR3T"), "{name}: {message}");
        }
        let twice = check("headers", &headers(&[("accept", "a"), ("Accept", "b")])).unwrap_err();
        assert!(twice.to_string().contains("twice"), "{twice}");
        let many: Vec<_> = (0..=MAX_HEADERS).map(|n| (format!("X-{n}"), "v".to_owned())).collect();
        assert!(check("headers", &many).unwrap_err().to_string().contains("more than 32"));
    }

    #[test]
    fn headers_of_an_action_replace_those_of_the_api() {
        let merged = merged(&headers(&[("Accept", "a"), ("X", "1")]), &headers(&[("accept", "b")]));
        assert_eq!(*merged, *headers(&[("X", "1"), ("accept", "b")]));
    }
}
