//! Additions to the head of a request: secrets, and the absolute form for a proxy.
//!
//! ureq-proto logs what it writes, and writes the path alone. So an engine adds them itself.

use std::sync::Arc;

use crate::http::credentials::HeaderLines;

/// The additions to the head of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeadAdditions {
    /// Scheme and authority before the path: the absolute form (RFC 9112, 3.2.2).
    pub(crate) origin: Option<Arc<str>>,
    pub(crate) credentials: HeaderLines,
    /// Header lines for the proxy.
    pub(crate) proxy: HeaderLines,
}

impl HeadAdditions {
    pub(crate) fn is_empty(&self) -> bool {
        self.origin.is_none() && self.credentials.is_empty() && self.proxy.is_empty()
    }

    /// Returns the head with the additions: the request line, the header lines, then the rest. `written` begins with the
    /// whole request line, otherwise the result is `None`.
    pub(crate) fn added_to(&self, written: &[u8]) -> Option<Vec<u8>> {
        let line_end = written.iter().position(|byte| *byte == b'\n')? + 1;
        let path = written[..line_end].iter().position(|byte| *byte == b' ')? + 1;
        let origin = self.origin.as_deref().unwrap_or_default().as_bytes();
        let (credentials, proxy) = (self.credentials.as_bytes(), self.proxy.as_bytes());
        let parts = [&written[..path], origin, &written[path..line_end], credentials, proxy, &written[line_end..]];
        Some(parts.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_stand_before_the_path_and_behind_the_request_line() {
        let head = b"GET /a HTTP/1.1\r\nhost: n\r\n\r\n";
        let none = HeadAdditions::default();
        assert_eq!(none.added_to(head).unwrap(), head);
        let origin = HeadAdditions { origin: Some("http://n:80".into()), ..none };
        assert_eq!(origin.added_to(head).unwrap(), b"GET http://n:80/a HTTP/1.1\r\nhost: n\r\n\r\n");
        assert_eq!(origin.added_to(b"GET /a"), None);
    }
}
