//! The parts of HTTP/1.1 and of the node API that the server supports. Parsing only, without IO.

/// The answers as bytes.
pub(crate) type Answer = &'static [u8];

pub(crate) const CREATED: Answer =
    b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"created\":true}";
pub(crate) const OK: Answer =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";
pub(crate) const NOT_FOUND: Answer =
    b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{\"ok\":false}";
pub(crate) const BAD_REQUEST: Answer =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{\"ok\":false}";

pub(crate) const UNAVAILABLE: Answer =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{\"ok\":false}";

const PATH: &str = "/v1/group/";

/// One request to one port.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    Create(&'a [u8]),
    Check(&'a [u8]),
    Delete(&'a [u8]),
    Other,
}

impl Request<'_> {
    /// A hash that identifies this request among those to all ports.
    pub(crate) fn key(&self, port: usize) -> u64 {
        let (method, id): (&[u8], &[u8]) = match self {
            Self::Create(id) => (b"POST", id),
            Self::Check(id) => (b"GET", id),
            Self::Delete(id) => (b"DELETE", id),
            Self::Other => (b"", b""),
        };
        key(port, &[method, id].join(&b' '))
    }
}

/// FNV-1a over the port and the id.
pub(crate) fn key(port: usize, id: &[u8]) -> u64 {
    let port = (port as u64).to_le_bytes();
    port.iter()
        .chain(id)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// A complete request, and its length in bytes.
    Request(Request<'a>, usize),
    /// More bytes are needed.
    Partial,
    /// Not a request of a measured client; chunked bodies, for example, are not supported.
    Garbage,
}

pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Request::new(&mut headers);
    let head_len = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(_) => return Parsed::Garbage,
    };
    let mut body_len = 0;
    for header in head.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            match std::str::from_utf8(header.value).ok().and_then(|value| value.trim().parse().ok()) {
                Some(len) if len <= crate::MAX_REQUEST => body_len = len,
                _ => return Parsed::Garbage,
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") || header.name.eq_ignore_ascii_case("expect") {
            return Parsed::Garbage;
        }
    }
    let Some(body) = bytes.get(head_len..head_len + body_len) else { return Parsed::Partial };
    let path = head.path.unwrap_or_default();
    let request = match (head.method.unwrap_or_default(), path) {
        ("POST", PATH) => group_id(body).map(Request::Create),
        ("DELETE", PATH) => group_id(body).map(Request::Delete),
        ("GET", path) => path
            .strip_prefix(PATH)
            .and_then(|id| id.strip_suffix('/'))
            .filter(|id| !id.is_empty())
            .map(|id| Request::Check(id.as_bytes())),
        _ => None,
    };
    Parsed::Request(request.unwrap_or(Request::Other), head_len + body_len)
}

/// The id in `{"groupId": "<id>"}`, with any spacing; the ids of the comparison need no escapes.
fn group_id(body: &[u8]) -> Option<&[u8]> {
    let text = std::str::from_utf8(body).ok()?;
    let value = text.trim().strip_prefix('{')?.trim_start().strip_prefix("\"groupId\"")?.trim_start();
    let id = value.strip_prefix(':')?.trim_start().strip_prefix('"')?;
    id.split_once('"').map(|(id, _)| id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_is_read_to_the_end_of_its_body() {
        let post = b"POST /v1/group/ HTTP/1.1\r\nHost: h\r\nContent-Length: 18\r\n\r\n{\"groupId\": \"g-1\"}";
        assert_eq!(parse(post), Parsed::Request(Request::Create(b"g-1"), post.len()));
        for end in 0..post.len() {
            assert_eq!(parse(&post[..end]), Parsed::Partial, "{end} bytes");
        }
    }

    #[test]
    fn a_get_names_its_group() {
        let get = b"GET /v1/group/g-1/ HTTP/1.1\r\nhost: h\r\n\r\n";
        assert_eq!(parse(get), Parsed::Request(Request::Check(b"g-1"), get.len()));
    }

    #[test]
    fn every_answer_has_the_length_it_says() {
        for answer in [CREATED, OK, NOT_FOUND, BAD_REQUEST, UNAVAILABLE] {
            let text = std::str::from_utf8(answer).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
        }
    }

    #[test]
    fn what_is_not_spoken_is_refused() {
        assert_eq!(parse(b"POST /v1/group/ HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"), Parsed::Garbage);
        assert_eq!(parse(b"\x16\x03\x01"), Parsed::Garbage);
    }
}
