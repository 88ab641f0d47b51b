//! TLS with both engines, against real TLS servers whose certificates are made on the spot.
#![cfg(all(feature = "rustls", feature = "testing", feature = "multiplex"))]

mod support;
#[path = "support/tls.rs"]
mod tls;

use std::io::{BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_client::testing::{Fault, Method};
use cluster_client::{
    Cause, ClientBuilder, ClusterClient, Engine, Error, HostReport, OperationOptions, RequestError, RequestErrorKind,
    TlsSettings,
};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use rustls::{
    ALL_VERSIONS, ConnectionTrafficSecrets, ProtocolVersion, ServerConfig, ServerConnection, StreamOwned, version,
};
use support::{PATIENCE, quick};
use tls::{Authority, Identity, TlsNode, config, listen, message, named, self_signed, with_chacha};

const ENGINES: [Engine; 2] = [Engine::Threads, Engine::Multiplexed];

fn builder(engine: Engine, urls: &[String]) -> ClientBuilder {
    // One attempt, so that the error of the first is the last.
    support::builder(urls).engine(engine).retry(quick().with_attempts(1)).request_timeout(PATIENCE)
}

fn trusting(authority: &Authority) -> TlsSettings {
    TlsSettings::new().ca_pem(authority.pem.as_bytes())
}

fn identified(settings: TlsSettings, identity: &Identity) -> TlsSettings {
    settings.client_cert_pem(identity.chain.as_bytes()).client_key_pem(identity.key.as_bytes())
}

/// Creates a group without asking first, so that the first request is the POST. Returns the report of the only host.
fn failed_create(client: &ClusterClient) -> HostReport {
    let unasked = client.with(OperationOptions::new().preflight(false));
    let error = unasked.create_group("g1").expect_err("the create succeeded");
    error.report().unwrap().hosts[0].clone()
}

fn first_error(host: &HostReport) -> RequestError {
    host.steps[0].error.clone().expect("the first request failed")
}

/// Asserts that the handshake fails with these words, and that certainly nothing was sent.
#[track_caller]
fn assert_not_sent(url: &str, settings: &TlsSettings, words: &str) {
    for engine in ENGINES {
        let client = builder(engine, &[url.to_owned()]).tls(settings.clone()).build().unwrap();
        let host = failed_create(&client);
        let error = first_error(&host);
        assert_eq!((error.to_string().as_str(), error.kind()), (words, RequestErrorKind::Tls), "{engine:?}");
        assert!(!host.may_have_changed(), "{engine:?}: {host:?}");
    }
}

#[track_caller]
fn assert_works(urls: &[String], settings: &TlsSettings) {
    for engine in ENGINES {
        let client = builder(engine, urls).tls(settings.clone()).build().unwrap();
        client.create_group("g1").unwrap();
        client.delete_group("g1").unwrap().complete().unwrap();
    }
}

// --- certificates of servers

#[test]
fn certificate_of_an_unknown_authority_is_refused() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let server = TlsNode::start(&ours.node());
    assert_not_sent(&server.url(), &trusting(&other), "the server's certificate has an unknown issuer");
    assert_not_sent(&server.url(), &TlsSettings::new(), "the server's certificate has an unknown issuer");
    assert_works(&[server.url()], &trusting(&ours));
    assert_eq!(server.node.count(Method::Post), 2, "one create for each engine");
}

#[test]
fn certificate_for_other_names_is_refused_with_these_names() {
    let authority = Authority::new("ours");
    let server = TlsNode::start(&authority.issue(&named(&["a.example", "*.b.example", "10.0.0.1"])));
    assert_not_sent(
        &server.url(),
        &trusting(&authority),
        "the server's certificate is not valid for localhost, only for a.example, *.b.example, 10.0.0.1",
    );
    assert_not_sent(
        &format!("https://{}", server.address),
        &trusting(&authority),
        "the server's certificate is not valid for 127.0.0.1, only for a.example, *.b.example, 10.0.0.1",
    );
    let many: Vec<String> = (0..20).map(|number| format!("n{number}.example")).collect();
    let many = authority.issue(&named(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    let words = "the server's certificate is not valid for localhost, \
                 only for n0.example, n1.example, n2.example, n3.example, n4.example, n5.example and 14 more";
    assert_not_sent(&TlsNode::start(&many).url(), &trusting(&authority), words);
    let none = TlsNode::start(&authority.issue(&named(&[])));
    let words = "the server's certificate is not valid for localhost: it has no subject alternative names";
    assert_not_sent(&none.url(), &trusting(&authority), words);
}

fn valid(params: &mut CertificateParams, from: i32, until: i32) {
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
}

#[test]
fn certificate_out_of_its_time_is_refused_with_the_date() {
    let authority = Authority::new("ours");
    let issued = |from, until| {
        let mut params = named(&["localhost"]);
        valid(&mut params, from, until);
        TlsNode::start(&authority.issue(&params))
    };
    let expired = issued(2001, 2002);
    let words = "the server's certificate expired on Tue, 01 Jan 2002 00:00:00 GMT";
    assert_not_sent(&expired.url(), &trusting(&authority), words);
    let future = issued(3000, 3001);
    for engine in ENGINES {
        let client = builder(engine, &[future.url()]).tls(trusting(&authority)).build().unwrap();
        let host = failed_create(&client);
        let error = first_error(&host).to_string();
        let words = "the server's certificate is not valid before Wed, 01 Jan 3000 00:00:00 GMT; \
                     by this machine's clock it is ";
        assert!(error.starts_with(words) && error.ends_with(" GMT"), "{engine:?}: {error}");
        assert!(!host.may_have_changed());
    }
}

#[test]
fn issuer_out_of_its_time_is_told_from_the_certificate() {
    let authority = Authority::new("ours");
    let below = |from, until| {
        let between = authority.intermediate(|params| valid(params, from, until));
        let mut node = between.node();
        node.chain += &between.pem;
        TlsNode::start(&node)
    };
    let words = "the certificate of an issuer of the server's certificate expired on Tue, 01 Jan 2002 00:00:00 GMT";
    assert_not_sent(&below(2001, 2002).url(), &trusting(&authority), words);
    let words =
        "the certificate of an issuer of the server's certificate is not valid before Wed, 01 Jan 3000 00:00:00 GMT";
    assert_not_sent(&below(3000, 3001).url(), &trusting(&authority), words);
}

#[test]
fn self_signed_certificate_is_refused_unless_it_is_trusted() {
    let itself = self_signed(&named(&["localhost"]));
    let server = TlsNode::start(&itself);
    let other = trusting(&Authority::new("other"));
    assert_not_sent(&server.url(), &other, "the server's certificate is self-signed and not trusted");
    assert_works(&[server.url()], &TlsSettings::new().ca_pem(itself.chain));

    // `openssl req -x509` makes certificates of this kind.
    let mut params = named(&["localhost"]);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let itself = self_signed(&params);
    let words = "the server's certificate is self-signed and that of an authority (CA:TRUE), which no server may use";
    assert_not_sent(&TlsNode::start(&itself).url(), &TlsSettings::new().ca_pem(itself.chain), words);
}

#[test]
fn certificate_that_is_not_for_servers_is_refused() {
    let authority = Authority::new("ours");
    let mut params = named(&["localhost"]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let server = TlsNode::start(&authority.issue(&params));
    let words = "the server's certificate is not one for servers (extended key usage)";
    assert_not_sent(&server.url(), &trusting(&authority), words);
}

#[test]
fn chain_with_an_intermediate_needs_the_intermediate() {
    let authority = Authority::new("ours");
    let between = authority.intermediate(|_| {});
    let mut node = between.node();
    let incomplete = TlsNode::start(&node);
    assert_not_sent(&incomplete.url(), &trusting(&authority), "the server's certificate has an unknown issuer");
    node.chain += &between.pem;
    assert_works(&[TlsNode::start(&node).url()], &trusting(&authority));
}

#[test]
fn bundle_may_have_several_authorities() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let servers = [TlsNode::start(&first.node()), TlsNode::start(&second.node())];
    let both = format!("{}\n# a comment\n{}", first.pem, second.pem);
    assert_works(&servers.each_ref().map(TlsNode::url), &TlsSettings::new().ca_pem(both));
}

#[test]
fn skipped_verification_accepts_every_certificate_and_warns() {
    let server = TlsNode::start(&self_signed(&named(&["a.example"])));
    let settings = TlsSettings::new().dangerously_skip_verification();
    assert_works(&[server.url()], &settings);
    let client = builder(Engine::Threads, &[server.url()]).tls(settings.clone()).build().unwrap();
    assert!(matches!(client.warnings(), [warning] if warning.contains("any host is not verified")));
    let origin = server.url();
    let client = builder(Engine::Threads, std::slice::from_ref(&origin)).host_tls(&origin, settings).build().unwrap();
    assert!(matches!(client.warnings(), [warning] if warning.contains(&format!("{origin} is not verified"))));
}

// --- names, versions, sessions

#[test]
fn name_of_the_url_is_sent_and_no_address() {
    let authority = Authority::new("ours");
    for engine in ENGINES {
        let server = TlsNode::start(&authority.node());
        for url in [server.url(), format!("https://{}", server.address)] {
            let client = builder(engine, &[url]).tls(trusting(&authority)).build().unwrap();
            client.group_status("g1").unwrap();
        }
        let names: Vec<_> = server.seen().into_iter().map(|seen| seen.server_name).collect();
        assert_eq!(names, [Some("localhost".to_owned()), None], "{engine:?}");
    }
}

#[test]
fn server_name_replaces_the_name_of_the_url() {
    let authority = Authority::new("ours");
    let server = TlsNode::start(&authority.issue(&named(&["node.example"])));
    let settings = trusting(&authority).server_name("node.example");
    assert_works(&[server.url()], &settings);
    assert!(server.seen().iter().all(|seen| seen.server_name.as_deref() == Some("node.example")));
    let words = "the server's certificate is not valid for other.example, only for node.example";
    assert_not_sent(&server.url(), &trusting(&authority).server_name("other.example"), words);
}

#[test]
fn both_tls_versions_are_spoken() {
    let authority = Authority::new("ours");
    for (versions, expected) in
        [([&version::TLS12], ProtocolVersion::TLSv1_2), ([&version::TLS13], ProtocolVersion::TLSv1_3)]
    {
        let server = TlsNode::with(config(&authority.node(), None, &versions));
        assert_works(&[server.url()], &trusting(&authority));
        assert!(server.seen().iter().all(|seen| seen.version == expected), "{:?}", server.seen());
    }
}

#[test]
fn connections_are_kept_and_sessions_resumed() {
    let authority = Authority::new("ours");
    for versions in [&[&version::TLS12], &[&version::TLS13]] {
        for engine in ENGINES {
            let server = TlsNode::with(config(&authority.node(), None, versions));
            let client = builder(engine, &[server.url()]).tls(trusting(&authority)).build().unwrap();
            client.create_group("g1").unwrap();
            client.group_status("g1").unwrap();
            assert_eq!(server.seen().len(), 1, "{engine:?} opened another connection");
            // Simultaneous requests need connections of their own.
            let statuses: Vec<_> = client.group_statuses((0..8).map(|number| format!("g{number}"))).collect();
            assert!(statuses.iter().all(|done| done.result.is_ok()));
            let seen = server.seen();
            assert!(seen.len() > 1 && seen[1..].iter().any(|seen| seen.resumed), "{engine:?}: {seen:?}");
        }
    }
}

#[test]
fn server_without_a_common_version_is_named() {
    let words = "the server speaks neither TLS 1.2 nor TLS 1.3 (alert protocol_version)";
    assert_not_sent(&refusing(70), &TlsSettings::new(), words);
}

#[test]
fn other_alerts_are_named() {
    assert_not_sent(&refusing(80), &TlsSettings::new(), "the server refused the TLS handshake (alert internal_error)");
    let words = "the server does not serve the name 127.0.0.1 (alert unrecognized_name)";
    assert_not_sent(&refusing(112), &TlsSettings::new(), words);
    assert_not_sent(&refusing(200), &TlsSettings::new(), "the server refused the TLS handshake (alert 200)");
}

/// Starts a server that answers every handshake with this alert, and returns its URL.
fn refusing(alert: u8) -> String {
    let address = listen(move |mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, alert]);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    format!("https://{address}")
}

// --- servers that do not finish the handshake

#[test]
fn close_in_the_handshake_is_not_sent() {
    let address = listen(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
    });
    let words = "the connection was closed during the TLS handshake";
    assert_not_sent(&format!("https://{address}"), &TlsSettings::new(), words);
}

#[test]
fn plain_http_server_is_named() {
    let node = cluster_client::testing::Node::start().unwrap();
    let words = "the server does not speak TLS on this port";
    assert_not_sent(&format!("https://{}", node.address()), &TlsSettings::new(), words);
}

#[test]
fn dripping_handshake_is_bounded_by_the_request_timeout() {
    const TIMEOUT: Duration = Duration::from_millis(300);
    let authority = Authority::new("ours");
    let identity = authority.node();
    // Passes the bytes of a real server, one each 20 ms.
    let server = TlsNode::start(&identity);
    let target = server.address;
    let address = listen(move |mut client| {
        let mut hello = [0; 4096];
        let Ok(length) = client.read(&mut hello) else { return };
        let mut server = std::net::TcpStream::connect(target).unwrap();
        server.write_all(&hello[..length]).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut byte = [0];
        while server.read_exact(&mut byte).is_ok() && client.write_all(&byte).is_ok() {
            // Only the timeout of the read delays the next byte.
            if matches!(client.read(&mut hello), Ok(0)) {
                return;
            }
        }
    });
    for engine in ENGINES {
        let url = format!("https://{address}");
        let client = builder(engine, &[url]).request_timeout(TIMEOUT).tls(trusting(&authority)).build().unwrap();
        let begun = Instant::now();
        let host = failed_create(&client);
        assert_eq!(first_error(&host).to_string(), "no TLS connection within 300ms", "{engine:?}");
        assert!(!host.may_have_changed());
        assert!(begun.elapsed() < PATIENCE, "{engine:?} took {:?}", begun.elapsed());
    }
}

// --- client certificates

/// Starts a server that wants a certificate of `clients`.
fn mutual(node: &Identity, clients: &Authority, version: &'static rustls::SupportedProtocolVersion) -> TlsNode {
    TlsNode::with(config(node, Some(clients), &[version]))
}

#[test]
fn missing_client_certificate_is_named_and_not_sent() {
    let (nodes, clients) = (Authority::new("nodes"), Authority::new("clients"));
    for version in [&version::TLS13, &version::TLS12] {
        let server = mutual(&nodes.node(), &clients, version);
        let words = "the server wants a client certificate, and none is set (alert certificate_required)";
        assert_not_sent(&server.url(), &trusting(&nodes), words);
        assert!(server.node.log().is_empty(), "a request arrived");
    }
    // OpenSSL sends handshake_failure (40) in TLS 1.2.
    let words = "the server refused the TLS handshake: it wants a client certificate, or another cipher \
                 (alert handshake_failure)";
    assert_not_sent(&refusing(40), &trusting(&nodes), words);
}

#[test]
fn client_certificate_of_another_authority_is_named_and_not_sent() {
    let (nodes, clients, others) = (Authority::new("nodes"), Authority::new("clients"), Authority::new("others"));
    let settings = identified(trusting(&nodes), &others.issue(&named(&["client"])));
    for version in [&version::TLS13, &version::TLS12] {
        let server = mutual(&nodes.node(), &clients, version);
        let words = "the server does not trust the issuer of the client certificate (alert unknown_ca)";
        assert_not_sent(&server.url(), &settings, words);
        assert!(server.node.log().is_empty(), "a request arrived");
    }
}

#[test]
fn expired_client_certificate_is_named_and_not_sent() {
    let (nodes, clients) = (Authority::new("nodes"), Authority::new("clients"));
    let mut params = named(&["client"]);
    valid(&mut params, 2001, 2002);
    let settings = identified(trusting(&nodes), &clients.issue(&params));
    let server = mutual(&nodes.node(), &clients, &version::TLS13);
    let words = "the client certificate has expired, says the server (alert certificate_expired)";
    assert_not_sent(&server.url(), &settings, words);
    assert!(server.node.log().is_empty(), "a request arrived");
}

#[test]
fn mutual_tls_creates_on_three_hosts() {
    let (nodes, clients) = (Authority::new("nodes"), Authority::new("clients"));
    let between = clients.intermediate(|_| {});
    let mut identity = between.issue(&named(&["client"]));
    identity.chain += &between.pem;
    let start = || TlsNode::with(config(&nodes.node(), Some(&clients), ALL_VERSIONS));
    let servers = [start(), start(), start()];
    for (engine, group) in ENGINES.into_iter().zip(["g1", "g2"]) {
        let urls = servers.each_ref().map(TlsNode::url);
        let client = builder(engine, &urls).tls(identified(trusting(&nodes), &identity)).build().unwrap();
        client.create_group(group).unwrap();
        assert!(servers.iter().all(|server| server.node.has(group)));
    }
    assert!(servers.iter().flat_map(TlsNode::seen).all(|seen| seen.client.is_some()));
}

#[test]
fn rollback_over_mutual_tls_leaves_the_group_nowhere() {
    let (nodes, clients) = (Authority::new("nodes"), Authority::new("clients"));
    let start = || TlsNode::with(config(&nodes.node(), Some(&clients), ALL_VERSIONS));
    let servers = [start(), start(), start()];
    for engine in ENGINES {
        servers[2].node.inject(cluster_client::testing::Fault::answer(503).on(Method::Post));
        let settings = identified(trusting(&nodes), &clients.issue(&named(&["client"])));
        let client = builder(engine, &servers.each_ref().map(TlsNode::url)).tls(settings).build().unwrap();
        let error = client.create_group("g1").unwrap_err();
        assert!(matches!(error, Error::RolledBack { .. }), "{engine:?}: {error:?}");
        assert!(servers.iter().all(|server| !server.node.has("g1")));
    }
}

/// A server that wants a certificate only for some requests may answer 404 without one.
#[test]
fn recovery_without_the_client_certificate_of_the_operation_sends_nothing() {
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let server = TlsNode::start(&ours.node());
    for engine in ENGINES {
        let journal = tempfile::tempdir().unwrap();
        let client = |settings| {
            let builder = builder(engine, &[server.url()]).tls(settings).journal(journal.path());
            builder.build().unwrap()
        };
        let known = || identified(trusting(&ours), &clients.issue(&named(&[])));
        let first = client(known());
        first.create_group("g").unwrap();
        server.node.inject(Fault::answer(503).on(Method::Delete));
        assert!(first.delete_group("g").unwrap().complete().is_err_and(|error| error.is_recoverable()));
        drop(first);
        let asked = server.node.log().len();

        let recovery = client(trusting(&ours)).recover().unwrap();
        let [Error::Conflict { report, .. }] = &recovery.unsettled[..] else { panic!("{recovery:?}") };
        assert!(matches!(report.cause, Some(Cause::NoCredentials { .. })), "{report:?}");
        assert!(server.node.log().len() == asked && server.node.has("g"));
        assert!(client(known()).recover().unwrap().is_complete());
        assert!(!server.node.has("g"));
    }
}

#[test]
fn origins_have_client_certificates_of_their_own() {
    let (nodes, first, second) = (Authority::new("nodes"), Authority::new("first"), Authority::new("second"));
    let [a, b] = [&first, &second].map(|clients| mutual(&nodes.node(), clients, &version::TLS13));
    let [of_a, of_b] = [&first, &second].map(|clients| clients.issue(&named(&["client"])));
    for (engine, group) in ENGINES.into_iter().zip(["g1", "g2"]) {
        let client = builder(engine, &[a.url(), b.url()])
            .tls(identified(trusting(&nodes), &of_a))
            .host_tls(b.url(), identified(trusting(&nodes), &of_b))
            .build()
            .unwrap();
        client.create_group(group).unwrap();
        assert!(a.node.has(group) && b.node.has(group));
    }
    let presented = |node: &TlsNode| node.seen()[0].client.clone().unwrap();
    assert_ne!(presented(&a), presented(&b));
}

/// Reads `requests` requests, answers all but the last, and then sends the alert certificate_required.
fn refusing_late(config: ServerConfig, requests: usize) -> String {
    let config = Arc::new(config);
    let address = listen(move |stream| {
        let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(tls, stream));
        for number in 1..=requests {
            if message(&mut stream).is_err() {
                return;
            }
            if number < requests {
                stream.get_mut().write_all(b"HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n").unwrap();
            }
        }
        let StreamOwned { conn, mut sock } = stream.into_inner();
        sock.write_all(&alert(conn, 116)).unwrap();
        let _ = std::io::copy(&mut sock, &mut std::io::sink());
    });
    format!("https://localhost:{}", address.port())
}

/// Returns an encrypted record with a fatal alert. rustls sends such alerts in a handshake only.
fn alert(connection: ServerConnection, alert: u8) -> Vec<u8> {
    let is_old = connection.protocol_version() == Some(ProtocolVersion::TLSv1_2);
    let (number, secrets) = connection.dangerous_extract_secrets().unwrap().tx;
    let ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } = secrets else { panic!("another cipher") };
    // RFC 8446, 5.2 and 5.3; RFC 7905, 2, and RFC 5246, 6.2.3.3.
    let (kind, mut text) = if is_old { (21, vec![2, alert]) } else { (23, vec![2, alert, 21]) };
    let length = u8::try_from(text.len()).unwrap();
    let header = [kind, 3, 3, 0, length + 16];
    let mut bound = header.to_vec();
    if is_old {
        bound = [&number.to_be_bytes()[..], &[kind, 3, 3, 0, length]].concat();
    }
    let mut nonce: [u8; 12] = iv.as_ref().try_into().unwrap();
    nonce[4..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, number)| *byte ^= number);
    let key = ring::aead::UnboundKey::new(&ring::aead::CHACHA20_POLY1305, key.as_ref()).unwrap();
    ring::aead::LessSafeKey::new(key)
        .seal_in_place_append_tag(
            ring::aead::Nonce::assume_unique_for_key(nonce),
            ring::aead::Aad::from(bound),
            &mut text,
        )
        .unwrap();
    [&header[..], &text].concat()
}

#[test]
fn certificate_alert_after_the_handshake_of_the_server_is_ambiguous() {
    let authority = Authority::new("ours");
    let identity = authority.node();
    let words = "the server wants a client certificate, and none is set (alert certificate_required)";
    for (version, tickets, requests) in [
        // A session ticket shows that the handshake was complete.
        (&version::TLS13, 1, 1),
        // An answer shows it too.
        (&version::TLS13, 0, 2),
        // In TLS 1.2 the server checks the certificate before the client completes its handshake.
        (&version::TLS12, 0, 1),
    ] {
        let mut config = with_chacha(&identity, version);
        config.send_tls13_tickets = tickets;
        config.enable_secret_extraction = true;
        let url = refusing_late(config, requests);
        for engine in ENGINES {
            let client = builder(engine, std::slice::from_ref(&url)).tls(trusting(&authority)).build().unwrap();
            if requests == 2 {
                client.group_status("g1").unwrap();
            }
            let host = failed_create(&client);
            let error = first_error(&host);
            assert_eq!((error.to_string().as_str(), error.kind()), (words, RequestErrorKind::Tls), "{engine:?}");
            assert!(host.may_have_changed(), "{engine:?}, {version:?}, {tickets} tickets: {host:?}");
        }
    }
}
