//! Certificates and keys in PEM (RFC 7468), from a file or from text. Each error names the file and the remedy.

use rustls::pki_types::pem::{self, PemObject as _, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::settings::PemSource;
use crate::http::file::{self, FileProblem};
use crate::http::mode_open_to_others;
use crate::values::config::ConfigError;

/// Maximum size of a file, in bytes. The bundle of a system has about 250 KiB.
const LIMIT: u64 = 1 << 20;

/// Some editors write this mark at the start of a file. The first line of PEM would not be found behind it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const UTF_16: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// PEM text and its origin, for errors.
pub(super) struct Text<'a> {
    what: &'static str,
    /// The path of the file. Empty for text.
    pub(super) place: String,
    content: std::borrow::Cow<'a, [u8]>,
    /// The mode of a file that its group or others can read.
    pub(super) open_mode: Option<u32>,
}

/// Reads the text of `source`. `names` are the words for a file and for text.
pub(super) fn read<'a>(source: &'a PemSource, names: [&'static str; 2]) -> Result<Text<'a>, ConfigError> {
    let path = match source {
        PemSource::Pem(pem) => {
            let place = String::new();
            return Ok(Text { what: names[1], place, content: pem.into(), open_mode: None });
        }
        PemSource::File(path) => path,
    };
    let place = path.to_string_lossy().into_owned();
    let (bytes, found) = file::read(path, LIMIT).map_err(|error| {
        let (problem, remedy) = FileProblem::from(error);
        ConfigError::new(names[0], place.clone(), problem, remedy)
    })?;
    Ok(Text { what: names[0], place, content: bytes.into(), open_mode: mode_open_to_others(&found) })
}

impl Text<'_> {
    pub(super) fn refused(&self, problem: impl Into<String>, remedy: impl Into<String>) -> ConfigError {
        ConfigError::new(self.what, self.place.clone(), problem, remedy)
    }

    /// The path, or a word for text without one.
    fn place(&self) -> &str {
        if self.place.is_empty() { "FILE" } else { &self.place }
    }

    /// Returns the certificates, at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let mut found = Vec::new();
        for (kind, der) in self.sections()? {
            found.extend(CertificateDer::from_pem(kind, der));
        }
        if found.is_empty() {
            let remedy = "name a file with a line -----BEGIN CERTIFICATE-----";
            return Err(self.refused("has no certificate", remedy));
        }
        Ok(found)
    }

    /// Returns the key, exactly one.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, ConfigError> {
        let text = String::from_utf8_lossy(&self.content);
        // The second form is that of RFC 1421.
        if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            let place = self.place();
            let remedy = format!("decrypt it with: openssl pkey -in {place} -out {place}.decrypted");
            return Err(self.refused("is an encrypted key", remedy));
        }
        let mut keys = self.sections()?.into_iter().filter_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
        match (keys.next(), keys.count()) {
            (Some(key), 0) => Ok(key),
            (Some(_), others) => {
                let problem = format!("has {} private keys", others + 1);
                Err(self.refused(problem, "leave only the key of the client certificate in it"))
            }
            (None, _) => {
                let remedy = "name a file with a line -----BEGIN PRIVATE KEY-----";
                Err(self.refused("has no private key", remedy))
            }
        }
    }

    /// Returns the parts of the text, of all kinds that are known.
    fn sections(&self) -> Result<Vec<(SectionKind, Vec<u8>)>, ConfigError> {
        if self.content.iter().all(u8::is_ascii_whitespace) {
            return Err(self.refused("is empty", "name a PEM file"));
        }
        // DER begins with a sequence.
        if self.content.starts_with(&[0x30]) {
            let place = self.place();
            let remedy = format!("convert it with: openssl x509 -inform der -in {place}, or openssl pkey -inform der");
            return Err(self.refused("is DER, not PEM", remedy));
        }
        if UTF_16.iter().any(|mark| self.content.starts_with(mark)) {
            return Err(self.refused("is UTF-16, not PEM", "write it in ASCII"));
        }
        let text = self.content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.content);
        let sections: Result<_, pem::Error> = <(SectionKind, Vec<u8>)>::pem_slice_iter(text).collect();
        sections.map_err(|error| {
            let problem = match error {
                pem::Error::MissingSectionEnd { .. } => "has a part without its line -----END".to_owned(),
                pem::Error::Base64Decode(_) => "has a part that is not base64".into(),
                other => format!("is not PEM: {other}"),
            };
            self.refused(problem, "make the file again")
        })
    }
}
