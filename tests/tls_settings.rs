//! TLS settings that `build()` refuses: each error names the file, the problem and the remedy.
#![cfg(all(feature = "rustls", feature = "testing"))]

#[path = "support/tls.rs"]
mod tls;

use std::fs;
use std::path::{Path, PathBuf};

use cluster_client::{ClusterClient, ConfigError, Error, TlsSettings};
use tempfile::TempDir;
use tls::{Authority, Identity, named};

/// Made by `openssl x509 -req` without extensions. rcgen makes version 3 only.
const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBHTCBxQIUOzIZKpLhqP8PSeJXRoG3+TrxSyowCgYIKoZIzj0EAwIwETEPMA0G
A1UEAwwGY2xpZW50MCAXDTI2MTEzMDEwNTQzNVoYDzIxMjYxMTA2MTA1NDM1WjAR
MQ8wDQYDVQQDDAZjbGllbnQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASIIsdx
FXCRR9drLwOLNSQ/GDC2374logvXMSRAKUv8iN7AGv8R1TaxNWe88pJyjt6Zz+m1
CZ5kpD/p6kCQ1VqIMAoGCCqGSM49BAMCA0cAMEQCICAYTlybFHigW1XAUPLOD+X3
AAhaZDJZ6Uaj1ERnJ9thAiAvo90lLlAqrVEmTGL4UebF9SnJKYPO2YdwuItDARZS
IA==
-----END CERTIFICATE-----
";

/// The password is `test`.
const ENCRYPTED_PKCS8: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhmna79yPzMtAICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEO2GwRqqMqdfbnW2hZprRqYEgZB4
oQ9wpdWhanog2Rfl/hfceAZ5MpW4oelICG/8Ywg7ZB/LkMEU3EE0GksfyhLGsLk7
ZxGMTcXgbrH2JwpjpcWEBdhAq+9/i8ZV6ze+Z62UZZWlYmB9ot5EaGzgFR2ymgkd
m+2VJJzqkad3d6S8R7Z7AoUUdMKwEPYlpOx6xrIq1B1pPFei1MPMILgXXHpbadE=
-----END ENCRYPTED PRIVATE KEY-----
";

/// The password is `test`.
const ENCRYPTED_RFC1421: &str = "\
-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-256-CBC,63AEFE9C49D4D82CDC505788AEBC99B9

1qQ7TRRpEBh9Z7vXndYkV9vr29ZbdZX4KlU9U2kUKXIYJY5dPsOLIwoYQRAYw7A1
pc8yE9nn+BaYOvD3iMBdRwpPUhZNWSRPyOPN5jzVKz+kO4hEGSlSzTlCO8cK5QOB
Kh9NFHRIclMHxuB0zlr5FdvPIOMud3UgjNinmKlfGsc=
-----END EC PRIVATE KEY-----
";

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Files(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        restrict(&path);
        path
    }
}

#[cfg(unix)]
fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[cfg(not(unix))]
fn restrict(_: &Path) {}

fn refused(settings: TlsSettings) -> ConfigError {
    match ClusterClient::builder().hosts(["https://node1"]).tls(settings).build() {
        Err(Error::Config { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

/// Asserts that `settings` are refused with this setting, file, problem and remedy.
#[track_caller]
fn assert_refused(settings: TlsSettings, what: &'static str, file: &Path, words: &str) {
    let error = refused(settings);
    assert_eq!(error.what(), what, "{error}");
    let text = error.to_string();
    let shown = file.display().to_string();
    assert!(text.contains(&shown.chars().take(80).collect::<String>()), "{text}");
    let rest = text.split_once("(passed by the program) ").unwrap().1;
    assert_eq!(rest, words);
}

fn identity() -> Identity {
    Authority::new("clients").issue(&named(&["client"]))
}

#[test]
fn ca_file_that_cannot_be_used_is_refused() {
    let files = Files::new();
    let authority = Authority::new("ours");
    let refused = |path: &Path, words: &str| {
        assert_refused(TlsSettings::new().ca_file(path), "tls.ca_file", path, words);
    };
    let missing = files.0.path().join("none.pem");
    refused(&missing, "cannot be read: No such file or directory (os error 2): name a file that this user can read");
    refused(files.0.path(), "is a directory: name a regular file, which can be read again");
    let large = files.write("large.pem", vec![b'\n'; (1 << 20) + 1]);
    refused(&large, "has more than 1024 KiB: name the right file");
    refused(&files.write("empty.pem", " \n"), "is empty: name a PEM file");
    let none = "has no certificate: name a file with a line -----BEGIN CERTIFICATE-----";
    refused(&files.write("text.pem", "a text\n"), none);
    refused(&files.write("key.pem", identity().key), none);
    let cut = &authority.pem[..authority.pem.len() / 2];
    refused(&files.write("cut.pem", cut), "has a part without its line -----END: make the file again");
    let odd = "-----BEGIN CERTIFICATE-----\n?!\n-----END CERTIFICATE-----\n";
    refused(&files.write("odd.pem", odd), "has a part that is not base64: make the file again");
    let garbage = format!("{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", authority.pem);
    refused(
        &files.write("garbage.pem", garbage),
        "has a certificate (number 2) that cannot be used: invalid peer certificate: BadEncoding: \
         remove it, or make the file again",
    );
}

/// Editors write it on some systems. Without its removal, the first part of the file is not found.
#[test]
fn byte_order_mark_hides_no_part() {
    let files = Files::new();
    let marked = |name, pem: &str| files.write(name, format!("\u{feff}{pem}"));
    let identity = identity();
    let settings = TlsSettings::new().ca_file(marked("ca.pem", &Authority::new("ours").pem));
    let settings = settings.client_cert_file(marked("client.pem", &identity.chain));
    let settings = settings.client_key_file(marked("client.key", &identity.key));
    ClusterClient::builder().hosts(["https://node1"]).tls(settings).build().unwrap();
    let wide: Vec<u8> = format!("\u{feff}{}", identity.chain).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let path = files.write("wide.pem", wide);
    assert_refused(TlsSettings::new().ca_file(&path), "tls.ca_file", &path, "is UTF-16, not PEM: write it in ASCII");
}

#[test]
fn der_is_refused_with_the_command_that_converts_it() {
    let files = Files::new();
    let path = files.write("ca.der", [0x30, 0x82, 0x01, 0x00]);
    let words = format!(
        "is DER, not PEM: convert it with: openssl x509 -inform der -in {}, or openssl pkey -inform der",
        path.display()
    );
    assert_refused(TlsSettings::new().ca_file(&path), "tls.ca_file", &path, &words);
}

#[cfg(unix)]
#[test]
fn pipe_is_refused_without_waiting_for_a_writer() {
    let files = Files::new();
    let path = files.0.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let words = "is a pipe: name a regular file, which can be read again";
    assert_refused(TlsSettings::new().ca_file(&path), "tls.ca_file", &path, words);
    let settings = TlsSettings::new().client_cert_pem(identity().chain).client_key_file(&path);
    assert_refused(settings, "tls.client_key_file", &path, words);
}

#[test]
fn client_certificate_that_cannot_be_used_is_refused() {
    let files = Files::new();
    let key = identity().key;
    let refused = |path: &Path, words: &str| {
        let settings = TlsSettings::new().client_cert_file(path).client_key_pem(key.as_bytes());
        assert_refused(settings, "tls.client_cert_file", path, words);
    };
    refused(
        &files.write("v1.pem", VERSION_1),
        "is an X.509 certificate of version 1: make one of version 3, which has extensions",
    );
    refused(&files.write("empty.pem", ""), "is empty: name a PEM file");
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    refused(
        &files.write("garbage.pem", garbage),
        "has a certificate that cannot be read: invalid peer certificate: BadEncoding: make the file again",
    );
    let none = "has no certificate: name a file with a line -----BEGIN CERTIFICATE-----";
    refused(&files.write("key.pem", &key), none);
}

#[test]
fn client_key_that_cannot_be_used_is_refused() {
    let files = Files::new();
    let identity = identity();
    let refused = |path: &Path, words: &str| {
        let settings = TlsSettings::new().client_cert_pem(identity.chain.as_bytes()).client_key_file(path);
        assert_refused(settings, "tls.client_key_file", path, words);
    };
    for (name, text) in [("pkcs8.key", ENCRYPTED_PKCS8), ("rfc1421.key", ENCRYPTED_RFC1421)] {
        let path = files.write(name, text);
        let place = path.display();
        let words = format!("is an encrypted key: decrypt it with: openssl pkey -in {place} -out {place}.decrypted");
        refused(&path, &words);
    }
    let other = Authority::new("others").issue(&named(&["client"]));
    refused(
        &files.write("other.key", &other.key),
        "does not belong to the first certificate of the client: name the key that the certificate was made with, \
         and put that certificate first",
    );
    let none = "has no private key: name a file with a line -----BEGIN PRIVATE KEY-----";
    refused(&files.write("cert.pem", &identity.chain), none);
    refused(
        &files.write("two.key", format!("{}{}", identity.key, other.key)),
        "has 2 private keys: leave only the key of the client certificate in it",
    );
    let garbage = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    refused(
        &files.write("garbage.key", garbage),
        "has a key that cannot be used: failed to parse private key as RSA, ECDSA, or EdDSA: \
         use RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519",
    );
}

#[test]
fn client_certificate_and_key_need_each_other() {
    let files = Files::new();
    let identity = identity();
    let (cert, key) = (files.write("client.pem", &identity.chain), files.write("client.key", &identity.key));
    let settings = TlsSettings::new().client_cert_file(&cert);
    assert_refused(settings, "tls.client_cert_file", &cert, "has no key: name its key as client_key_file");
    let settings = TlsSettings::new().client_key_file(&key);
    let words = "has no certificate: name its certificate as client_cert_file";
    assert_refused(settings, "tls.client_key_file", &key, words);
}

#[test]
fn one_file_may_have_both_certificate_and_key() {
    let files = Files::new();
    let identity = identity();
    let both = files.write("client.pem", format!("{}{}", identity.key, identity.chain));
    let settings = TlsSettings::new().client_cert_file(&both).client_key_file(&both);
    let client = ClusterClient::builder().hosts(["https://node1"]).tls(settings).build().unwrap();
    assert!(client.warnings().is_empty(), "{:?}", client.warnings());
}

#[test]
fn text_is_refused_without_a_file() {
    let error = refused(TlsSettings::new().ca_pem("nothing"));
    assert_eq!(error.what(), "tls.ca_pem");
    let error = refused(TlsSettings::new().client_cert_pem(identity().chain).client_key_pem(ENCRYPTED_PKCS8));
    assert_eq!(
        error.to_string(),
        "tls.client_key_pem \"\" (passed by the program) is an encrypted key: \
         decrypt it with: openssl pkey -in FILE -out FILE.decrypted"
    );
}

#[test]
fn debug_shows_no_key() {
    let identity = identity();
    let secret = identity.key.lines().nth(1).unwrap();
    let settings = TlsSettings::new().client_cert_pem(identity.chain).client_key_pem(identity.key.as_bytes());
    let builder = ClusterClient::builder().hosts(["https://node1"]).tls(settings.clone());
    for text in [format!("{settings:?}"), format!("{builder:?}"), format!("{:?}", builder.build().unwrap())] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn key_file_that_others_can_read_has_a_warning() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let files = Files::new();
    let identity = identity();
    let key = files.write("client.key", &identity.key);
    // A file of root that its group can read is a mounted secret.
    let is_roots = fs::metadata(&key).unwrap().uid() == 0;
    for (mode, warns) in [(0o600, false), (0o640, !is_roots), (0o604, true), (0o400, false)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let settings = TlsSettings::new().client_cert_pem(identity.chain.as_bytes()).client_key_file(&key);
        let client = ClusterClient::builder().hosts(["https://node1"]).tls(settings).build().unwrap();
        let expected = format!(
            "tls.client_key_file {} can be read by other users (mode {mode:04o}): run chmod go-r on it",
            key.display()
        );
        assert_eq!(client.warnings(), if warns { vec![expected] } else { vec![] });
    }
}

#[test]
fn settings_are_checked_for_http_hosts_too() {
    let build = |settings: TlsSettings| ClusterClient::builder().hosts(["http://node1"]).tls(settings).build();
    assert!(build(TlsSettings::new().ca_pem(Authority::new("ours").pem)).is_ok());
    assert!(build(TlsSettings::new().ca_pem("nothing")).is_err());
    assert_eq!(
        build(TlsSettings::new().https_only()).unwrap_err().to_string(),
        "host \"http://node1\" (passed by the program) is not https, and https_only is set: \
         write https://, or remove https_only"
    );
}

#[test]
fn server_name_and_origins_are_checked() {
    let error = refused(TlsSettings::new().server_name("https://node1"));
    assert_eq!(
        error.to_string(),
        "tls.server_name \"https://node1\" (passed by the program) is neither a name nor an address: \
         write a name such as node.example, without scheme and port"
    );
    for (origin, words) in [
        ("http://node1", "has TLS settings, and is not https"),
        ("https://node1/base", "has TLS settings, and a path"),
        ("node1", "has no scheme"),
    ] {
        let builder = ClusterClient::builder().hosts(["https://node1"]).host_tls(origin, TlsSettings::new());
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    // Neither of two settings may win in silence.
    let builder = ClusterClient::builder().hosts(["https://node1"]).host_tls("https://node1", TlsSettings::new());
    let error = builder.host_tls("HTTPS://Node1:443/", TlsSettings::new()).build().unwrap_err();
    assert!(
        error.to_string().contains("host of TLS settings \"https://node1\" (passed by the program) is there twice"),
        "{error}"
    );
    // The settings of one origin are loaded too, even if no host has it.
    let builder =
        ClusterClient::builder().hosts(["http://node1"]).host_tls("https://node2", TlsSettings::new().ca_pem("x"));
    assert!(builder.build().unwrap_err().to_string().starts_with("tls.ca_pem"));
}
