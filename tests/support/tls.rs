//! A certificate authority and a TLS server, made on the spot.

#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use cluster_client::testing::Node;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
};

/// A certificate authority.
pub(crate) struct Authority {
    pub(crate) pem: String,
    params: CertificateParams,
    key: KeyPair,
}

/// A certificate chain and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    (params, KeyPair::generate().unwrap())
}

/// Returns the parameters of a certificate for these names and addresses.
pub(crate) fn named(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "node");
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let (params, key) = authority(name);
        Authority { pem: params.self_signed(&key).unwrap().pem(), params, key }
    }

    /// Returns an authority below this one.
    pub(crate) fn intermediate(&self, params: impl FnOnce(&mut CertificateParams)) -> Authority {
        let (mut below, key) = authority("intermediate");
        params(&mut below);
        let pem = below.signed_by(&key, &self.issuer()).unwrap().pem();
        Authority { pem, params: below, key }
    }

    /// Returns an authority whose key is elsewhere. It can issue nothing.
    pub(crate) fn of_pem(pem: String) -> Self {
        Authority { pem, ..Self::new("elsewhere") }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    pub(crate) fn issue(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer()).unwrap().pem();
        Identity { chain, key: key.serialize_pem() }
    }

    /// Returns a certificate for the names of a server on this machine.
    pub(crate) fn node(&self) -> Identity {
        self.issue(&named(&["localhost", "127.0.0.1", "::1"]))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        roots
    }
}

pub(crate) fn self_signed(params: &CertificateParams) -> Identity {
    let key = KeyPair::generate().unwrap();
    Identity { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// The handshake of one connection, as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) server_name: Option<String>,
    pub(crate) version: ProtocolVersion,
    pub(crate) resumed: bool,
    pub(crate) client: Option<CertificateDer<'static>>,
}

/// A node of the group API behind TLS.
pub(crate) struct TlsNode {
    pub(crate) node: Node,
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// The bearer token without which a request is answered with 401.
    token: Arc<Mutex<Option<String>>>,
}

/// Returns the settings of a server. It asks for certificates of `clients` if there are any.
pub(crate) fn config(
    identity: &Identity,
    clients: Option<&Authority>,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    configured(Arc::new(rustls::crypto::ring::default_provider()), identity, clients, versions)
}

/// Returns the settings of a server whose only cipher is ChaCha20.
pub(crate) fn with_chacha(identity: &Identity, version: &'static SupportedProtocolVersion) -> ServerConfig {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| format!("{:?}", suite.suite()).contains("CHACHA20"));
    configured(Arc::new(provider), identity, None, &[version])
}

fn configured(
    provider: Arc<CryptoProvider>,
    identity: &Identity,
    clients: Option<&Authority>,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients.roots()), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes()).collect::<Result<_, _>>().unwrap();
    builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap()).unwrap()
}

impl TlsNode {
    /// Starts a server without client certificates.
    pub(crate) fn start(identity: &Identity) -> Self {
        Self::with(config(identity, None, rustls::ALL_VERSIONS))
    }

    pub(crate) fn with(config: ServerConfig) -> Self {
        let node = Node::start().unwrap();
        let (config, target) = (Arc::new(config), node.address());
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let token = Arc::<Mutex<Option<String>>>::default();
        let (record, required) = (Arc::clone(&seen), Arc::clone(&token));
        let address = listen(move |stream| {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let _ = serve(StreamOwned::new(tls, stream), target, &record, &required);
        });
        TlsNode { node, address, seen, token }
    }

    /// Answers requests without this bearer token with 401 from now on.
    pub(crate) fn require_token(&self, token: &str) {
        *self.token.lock().unwrap() = Some(token.to_owned());
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The handshakes that led to a request.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// Handles each connection to a new port on a thread of its own.
pub(crate) fn listen(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = Arc::new(handle);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (handle, stream) = (Arc::clone(&handle), stream.unwrap());
            thread::spawn(move || handle(stream));
        }
    });
    address
}

/// Passes requests to the node at `target`, and its answers back.
fn serve(
    stream: StreamOwned<ServerConnection, TcpStream>,
    target: SocketAddr,
    seen: &Mutex<Vec<Seen>>,
    token: &Mutex<Option<String>>,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut node = BufReader::new(TcpStream::connect(target)?);
    let mut is_first = true;
    loop {
        let request = message(&mut stream)?;
        if std::mem::take(&mut is_first) {
            let tls = &stream.get_ref().conn;
            let client = tls.peer_certificates().and_then(|chain| chain.first().cloned());
            seen.lock().unwrap().push(Seen {
                server_name: tls.server_name().map(str::to_owned),
                version: tls.protocol_version().unwrap(),
                resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
                client: client.map(CertificateDer::into_owned),
            });
        }
        let required = token.lock().unwrap().as_ref().map(|token| format!("\r\nauthorization: Bearer {token}\r\n"));
        if required.is_some_and(|line| !String::from_utf8_lossy(&request).contains(&line)) {
            stream.get_mut().write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")?;
            continue;
        }
        node.get_mut().write_all(&request)?;
        let answer = message(&mut node)?;
        stream.get_mut().write_all(&answer)?;
    }
}

/// Reads a request or an answer: a head, and a body of the length that the head names.
pub(crate) fn message(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut length = 0;
    loop {
        let start = text.len();
        if stream.read_until(b'\n', &mut text)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&text[start..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if line == "\r\n" {
            break;
        }
    }
    stream.take(length).read_to_end(&mut text)?;
    Ok(text)
}
