//! The TLS settings that a user chooses.

use std::fmt;
use std::path::{Path, PathBuf};

/// How https hosts are verified, and how the client identifies itself to them. Everything is loaded and checked in
/// [`ClientBuilder::build`](crate::ClientBuilder::build).
///
/// | setting | default |
/// | --- | --- |
/// | trusted authorities | the root certificates of Mozilla, compiled in |
/// | client certificate | none |
/// | `server_name` | the name or address in the host's URL |
/// | `https_only` | off |
///
/// TLS 1.2 and 1.3 are spoken. Files are PEM, of at most 1 MiB. Needs the feature `rustls`.
///
/// ```no_run
/// use cluster_client::{ClusterClient, TlsSettings};
///
/// let tls = TlsSettings::new()
///     .ca_file("/etc/cluster/ca.pem")
///     .client_cert_file("/etc/cluster/client.pem")
///     .client_key_file("/etc/cluster/client.key");
/// let client = ClusterClient::builder().hosts(["https://node1:8443", "https://node2:8443"]).tls(tls).build()?;
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "settings do nothing before they are passed to `ClientBuilder::tls`"]
pub struct TlsSettings {
    pub(super) ca: Option<PemSource>,
    pub(super) system_roots: bool,
    pub(super) client_cert: Option<PemSource>,
    pub(super) client_key: Option<PemSource>,
    pub(super) server_name: Option<String>,
    pub(super) https_only: bool,
    pub(super) skip_verification: bool,
}

/// PEM text, or the file that has it.
#[derive(Clone)]
pub(super) enum PemSource {
    File(PathBuf),
    Pem(Vec<u8>),
}

/// Omits the text, which may be a key.
impl fmt::Debug for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PemSource::File(path) => f.debug_tuple("File").field(path).finish(),
            PemSource::Pem(_) => f.write_str("Pem(***)"),
        }
    }
}

impl TlsSettings {
    /// The default settings.
    ///
    /// ```
    /// use cluster_client::{ClusterClient, TlsSettings};
    ///
    /// let tls = TlsSettings::new().https_only();
    /// let error = ClusterClient::builder().hosts(["http://node1:8000"]).tls(tls).build().unwrap_err();
    /// assert!(error.to_string().contains("is not https, and https_only is set"));
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the authorities of this PEM file instead of the built-in ones. It may have several certificates. It
    /// replaces an earlier [`TlsSettings::ca_pem`].
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Self {
        self.ca = Some(PemSource::File(path.as_ref().into()));
        self
    }

    /// Trusts the authorities of this PEM text instead of the built-in ones. It replaces an earlier
    /// [`TlsSettings::ca_file`].
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(PemSource::Pem(pem.into()));
        self
    }

    /// Trusts the authorities of the system instead of the built-in ones, together with those of a CA file if there is
    /// one. Where the variables `SSL_CERT_FILE` or `SSL_CERT_DIR` are set, they replace those of the system. Needs the
    /// feature `native-roots`.
    #[cfg(feature = "native-roots")]
    pub fn system_roots(mut self) -> Self {
        self.system_roots = true;
        self
    }

    /// Sets the client's certificate, followed by its intermediates, for servers that want one (mTLS). It needs a key.
    pub fn client_cert_file(mut self, path: impl AsRef<Path>) -> Self {
        self.client_cert = Some(PemSource::File(path.as_ref().into()));
        self
    }

    /// Sets the client's certificate as PEM text.
    pub fn client_cert_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.client_cert = Some(PemSource::Pem(pem.into()));
        self
    }

    /// Sets the unencrypted key of the client's certificate. [`ClusterClient::warnings`](crate::ClusterClient::warnings)
    /// names a file that other users can read.
    pub fn client_key_file(mut self, path: impl AsRef<Path>) -> Self {
        self.client_key = Some(PemSource::File(path.as_ref().into()));
        self
    }

    /// Sets the unencrypted key of the client's certificate as PEM text.
    pub fn client_key_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.client_key = Some(PemSource::Pem(pem.into()));
        self
    }

    /// Sets the name that is sent to the servers (SNI) and that their certificates must have, instead of the name in the
    /// URL. An address is verified, but not sent.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Refuses http hosts.
    pub fn https_only(mut self) -> Self {
        self.https_only = true;
        self
    }

    /// Accepts every certificate of a server. Anybody between client and server can then read and change everything,
    /// credentials included. Each client with it has a [warning](crate::ClusterClient::warnings).
    pub fn dangerously_skip_verification(mut self) -> Self {
        self.skip_verification = true;
        self
    }
}
