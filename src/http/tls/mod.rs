//! The TLS of a client: which hosts may be reached, and the `ClientConfig` of each.
//!
//! Every `ClientConfig` is made here, once, and both engines use it. Without the feature `rustls` every https host is
//! refused.

#[cfg(feature = "rustls")]
mod explain;
#[cfg(feature = "rustls")]
mod load;
#[cfg(feature = "rustls")]
mod pem;
#[cfg(feature = "rustls")]
pub(crate) mod session;
#[cfg(feature = "rustls")]
pub(crate) mod settings;
#[cfg(feature = "rustls")]
mod verifier;

#[cfg(feature = "rustls")]
use std::collections::HashMap;
#[cfg(feature = "rustls")]
use std::sync::{Arc, OnceLock};

#[cfg(feature = "rustls")]
use rustls::ClientConfig;
#[cfg(feature = "rustls")]
use rustls::pki_types::ServerName;

#[cfg(feature = "rustls")]
use self::settings::TlsSettings;
use crate::values::config::ConfigError;
use crate::values::host::Host;

/// The TLS of all hosts of a client.
#[derive(Debug, Default)]
pub(crate) struct Tls {
    /// Filled by the first https host, if the settings are the defaults.
    #[cfg(feature = "rustls")]
    usual: OnceLock<Arc<HostTls>>,
    #[cfg(feature = "rustls")]
    of_origins: HashMap<String, Arc<HostTls>>,
    https_only: bool,
    warnings: Vec<String>,
}

/// The TLS of one host, or of all hosts without settings of their own.
#[cfg(feature = "rustls")]
#[derive(Debug)]
pub(crate) struct HostTls {
    /// Sessions are resumed until it is dropped.
    config: Arc<ClientConfig>,
    /// Replaces the name of the host.
    server_name: Option<ServerName<'static>>,
    has_client_cert: bool,
}

impl Tls {
    /// Loads and checks everything that the settings name. `of_hosts` are the settings of single origins.
    ///
    /// # Errors
    /// A [`ConfigError`] for the first setting that cannot be used, and for an origin that is there twice.
    #[cfg(feature = "rustls")]
    pub(crate) fn new(usual: Option<&TlsSettings>, of_hosts: &[(Host, TlsSettings)]) -> Result<Self, ConfigError> {
        let mut tls = Tls::default();
        if let Some(settings) = usual {
            tls.https_only = settings.https_only;
            tls.usual = Arc::new(load::load(settings, None, &mut tls.warnings)?).into();
        }
        for (host, settings) in of_hosts {
            let loaded = load::load(settings, Some(host), &mut tls.warnings)?;
            if tls.of_origins.insert(host.origin().to_owned(), Arc::new(loaded)).is_some() {
                let remedy = "give the TLS settings of each host once";
                return Err(ConfigError::new("host of TLS settings", host.as_str(), "is there twice", remedy));
            }
        }
        Ok(tls)
    }

    /// Checks that each host can be reached.
    ///
    /// # Errors
    /// A [`ConfigError`] for an https host if TLS is not built in, and for an http host if only https is allowed.
    pub(crate) fn check(&self, hosts: &[Host]) -> Result<(), ConfigError> {
        for host in hosts {
            if host.is_https() && !cfg!(feature = "rustls") {
                let remedy = "build cluster-client with its feature \"rustls\"";
                return Err(ConfigError::new("host", host.as_str(), "needs TLS, which is not built in", remedy));
            }
            if self.https_only && !host.is_https() {
                let remedy = "write https://, or remove https_only";
                return Err(ConfigError::new("host", host.as_str(), "is not https, and https_only is set", remedy));
            }
        }
        Ok(())
    }

    /// Whether all hosts without settings of their own get a client certificate.
    #[cfg_attr(not(feature = "rustls"), expect(clippy::unused_self, reason = "without TLS there is no certificate"))]
    pub(crate) fn has_certificate(&self) -> bool {
        #[cfg(feature = "rustls")]
        let has = self.usual.get().is_some_and(|tls| tls.has_client_cert);
        #[cfg(not(feature = "rustls"))]
        let has = false;
        has
    }

    /// Returns the origins with settings of their own, and whether these have a client certificate.
    #[cfg_attr(not(feature = "rustls"), expect(clippy::unused_self, reason = "without TLS there is no certificate"))]
    pub(crate) fn own_certificates(&self) -> impl Iterator<Item = (&str, bool)> {
        #[cfg(feature = "rustls")]
        let own = self.of_origins.iter().map(|(origin, tls)| (origin.as_str(), tls.has_client_cert));
        #[cfg(not(feature = "rustls"))]
        let own = std::iter::empty();
        own
    }

    /// The warnings about the settings.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    #[cfg(feature = "rustls")]
    pub(crate) fn of(&self, host: &Host) -> &Arc<HostTls> {
        let own = if self.of_origins.is_empty() { None } else { self.of_origins.get(host.origin()) };
        own.unwrap_or_else(|| self.usual.get_or_init(|| Arc::new(load::usual())))
    }
}
