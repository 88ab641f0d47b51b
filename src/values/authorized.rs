//! Floor 1: the hosts whose requests have credentials. An intent names them, so that its recovery has some too.

use std::collections::HashMap;

use crate::values::host::Host;

/// The hosts whose requests have credentials: a secret in a header, or a client certificate.
#[derive(Debug, Default)]
pub(crate) struct Authorized {
    /// Origins with settings of their own: whether these are credentials.
    origins: HashMap<String, bool>,
    /// Every other https host gets a client certificate.
    https: bool,
}

impl Authorized {
    /// `secrets` are the origins that get headers with a secret, and `certificates` those with TLS settings of their own:
    /// whether these have a client certificate. `https` is whether all others have one.
    pub(crate) fn new<'a>(
        secrets: impl IntoIterator<Item = &'a str>,
        certificates: impl IntoIterator<Item = (&'a str, bool)>,
        https: bool,
    ) -> Self {
        let mut origins: HashMap<_, _> =
            certificates.into_iter().map(|(origin, has)| (origin.to_owned(), has)).collect();
        origins.extend(secrets.into_iter().map(|origin| (origin.to_owned(), true)));
        Authorized { origins, https }
    }

    /// Whether requests to this host have credentials.
    pub(crate) fn has(&self, host: &Host) -> bool {
        let of_all = self.https && host.is_https();
        if self.origins.is_empty() { of_all } else { self.origins.get(host.origin()).copied().unwrap_or(of_all) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_client_certificates_are_credentials() {
        let has = |authorized: &Authorized, url| authorized.has(&Host::parse(url).unwrap());
        let none = Authorized::default();
        assert!(!has(&none, "https://a") && !has(&none, "http://a"));
        let secrets = Authorized::new(["https://a"], [("https://b", true), ("https://c", false)], false);
        let found = ["https://a/base", "https://b", "https://c", "https://d", "http://a"].map(|url| has(&secrets, url));
        assert_eq!(found, [true, true, false, false, false]);
        let certificate = Authorized::new(["https://a"], [("https://a", false), ("https://c", false)], true);
        let found = ["https://a", "https://c", "https://d", "http://d"].map(|url| has(&certificate, url));
        assert_eq!(found, [true, false, true, false]);
    }
}
