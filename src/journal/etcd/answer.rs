//! The answer of one endpoint: its JSON, or what went wrong and whether another endpoint may help. No IO.
//!
//! etcd leaves out fields with the values 0, false and "", and ignores fields that it does not know. So nothing is
//! concluded from a missing field unless the answer has a header. Errors have several forms:
//!
//! * etcd 3.4: `{"error": TEXT, "message": TEXT, "code": N}`; 3.5: `{"code": N, "message": TEXT}`
//! * a stream: `{"error": {"grpc_code": N, "message": TEXT}}`
//! * a proxy, or another service: no JSON

use serde_json::Value;

/// The header of a plain answer, and that of a stream.
pub(super) const HEADER: &str = "/header";
pub(super) const STREAM_HEADER: &str = "/result/header";
/// Maximum number of characters of a server's text in an error.
const MAX_TEXT: usize = 200;

/// The reason why one endpoint has not served a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EndpointProblem {
    /// The request was not applied. Another endpoint may serve it.
    NotApplied(String),
    /// The request may have been applied, now or later. It may be repeated at another endpoint.
    Ambiguous(String),
    /// The token is missing, unknown or outdated.
    NeedsLogin(String),
    LeaseNotFound,
    /// The revision of a read was compacted.
    Compacted,
    /// The request or its answer is too large. It may have been applied.
    TooLarge(String),
    /// The endpoint cannot be reached, and another attempt will not help.
    Lasting(String),
    /// This process is out of file descriptors, threads or memory.
    Exhausted(String),
    /// No endpoint will serve it: the problem, with its remedy.
    Refused(String),
}

/// Reads an answer. `header` is the place of its header.
pub(super) fn read(status: u16, body: &[u8], header: &str) -> Result<Value, EndpointProblem> {
    // A stream is a sequence of values, of which the first counts.
    let first = serde_json::Deserializer::from_slice(body).into_iter::<Value>().next();
    let Some(Ok(value)) = first else { return Err(not_json(status, body)) };
    if value.get("error").is_some() || value.get("code").is_some() {
        return Err(refused(status, &value));
    }
    if status != 200 {
        return Err(not_json(status, body));
    }
    match value.pointer(header) {
        Some(Value::Object(_)) => Ok(value),
        _ => Err(EndpointProblem::Ambiguous("the answer has no header, so it is not etcd's".into())),
    }
}

/// Returns an int64, which JSON has as a string. A missing one is 0.
pub(super) fn int(value: &Value, pointer: &str) -> i64 {
    let found = value.pointer(pointer);
    found.and_then(|found| found.as_str().and_then(|text| text.parse().ok()).or_else(|| found.as_i64())).unwrap_or(0)
}

fn refused(status: u16, value: &Value) -> EndpointProblem {
    let code = ["/code", "/error/grpc_code", "/error/code"].iter().find_map(|at| value.pointer(at)?.as_i64());
    let text = ["/message", "/error/message", "/error"].iter().find_map(|at| value.pointer(at)?.as_str());
    let text = shown(text.unwrap_or_default());
    let has = |part: &str| text.contains(part);
    match code.unwrap_or_default() {
        _ if has("requested lease not found") => EndpointProblem::LeaseNotFound,
        _ if has("too many operations in txn") => {
            EndpointProblem::TooLarge(format!("{text}: start etcd with --max-txn-ops=128, which is its default"))
        }
        _ if has("request is too large") || has("message larger than max") => EndpointProblem::TooLarge(format!(
            "{text}: start etcd with a larger --max-request-bytes, or split the cluster"
        )),
        _ if has("has been compacted") => EndpointProblem::Compacted,
        _ if has("invalid auth token") || has("user name is empty") || has("revision of auth store is old") => {
            EndpointProblem::NeedsLogin(text)
        }
        _ if has("no leader") || has("too many requests") => EndpointProblem::NotApplied(text),
        _ if has("database space exceeded") => {
            EndpointProblem::Refused(format!("{text}: compact and defragment etcd, then run `etcdctl alarm disarm`"))
        }
        _ if has("invalid user ID or password") => {
            EndpointProblem::Refused(format!("{text}: correct the etcd user and its password"))
        }
        7 => EndpointProblem::Refused(format!("{text}: grant the user's role readwrite on the prefix of the journal")),
        16 => EndpointProblem::NeedsLogin(text),
        12 => EndpointProblem::Refused(format!("{text}: use etcd 3.4 or later")),
        3 | 5 | 6 | 9 | 11 => EndpointProblem::Refused(format!("etcd refused the request: {text}")),
        _ => EndpointProblem::Ambiguous(format!("status {status}: {text}")),
    }
}

fn not_json(status: u16, body: &[u8]) -> EndpointProblem {
    let text = shown(&String::from_utf8_lossy(&body[..body.len().min(4 * MAX_TEXT)]));
    match status {
        400 if text.contains("HTTP request to an HTTPS server") => {
            EndpointProblem::Refused("the endpoint speaks TLS: write etcds:// instead of etcd://".into())
        }
        400 if text.contains("CommonName of client") => EndpointProblem::Refused(
            "etcd's authentication refuses a client certificate with a common name: use one without it".into(),
        ),
        401 => EndpointProblem::NeedsLogin(format!("status 401: {text}")),
        404 => EndpointProblem::Refused(
            "status 404, there is no etcd v3 gateway: use etcd 3.4 or later with --enable-grpc-gateway".into(),
        ),
        413 => EndpointProblem::TooLarge(format!("status 413: {text}")),
        200 => EndpointProblem::Ambiguous(format!("the answer is not etcd's JSON: {text}")),
        408 | 429 | 500.. => EndpointProblem::Ambiguous(format!("status {status}: {text}")),
        _ => EndpointProblem::Refused(format!(
            "status {status}, this is not etcd's answer: check the URL of the endpoint"
        )),
    }
}

/// Cuts a server's text. Control characters are escaped where it is shown.
fn shown(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(status: u16, body: &str) -> EndpointProblem {
        read(status, body.as_bytes(), HEADER).unwrap_err()
    }

    #[test]
    fn numbers_are_strings_and_a_missing_one_is_zero() {
        let value = json!({ "header": { "revision": "9007199254740993" }, "count": 3 });
        assert_eq!(int(&value, "/header/revision"), 9_007_199_254_740_993);
        assert_eq!((int(&value, "/count"), int(&value, "/TTL")), (3, 0));
    }

    #[test]
    fn answer_without_a_header_counts_as_ambiguous() {
        assert!(read(200, br#"{"header":{},"succeeded":true}"#, HEADER).is_ok());
        assert!(read(200, b"{\"result\":{\"header\":{},\"TTL\":\"30\"}}\n", STREAM_HEADER).is_ok());
        for body in ["{}", r#"{"succeeded":true}"#, r#"{"header":1}"#, "[]", "<html>", "", "{\"header\":{}"] {
            assert!(matches!(problem(200, body), EndpointProblem::Ambiguous(_)), "{body}");
        }
    }

    #[test]
    fn both_forms_of_errors_are_read() {
        let lease = "etcdserver: requested lease not found";
        for body in [
            format!(r#"{{"error":"{lease}","message":"{lease}","code":5}}"#),
            format!(r#"{{"code":5,"message":"{lease}","details":[]}}"#),
            format!(r#"{{"error":{{"grpc_code":5,"http_code":404,"message":"{lease}","http_status":"Not Found"}}}}"#),
            format!(r#"{{"error":{{"code":5,"message":"{lease}","details":[]}}}}"#),
        ] {
            assert_eq!(problem(404, &body), EndpointProblem::LeaseNotFound, "{body}");
        }
    }

    #[test]
    fn only_no_leader_is_known_as_not_applied() {
        let error = |code: u8, text: &str| format!(r#"{{"error":"{text}","message":"{text}","code":{code}}}"#);
        assert!(matches!(problem(503, &error(14, "etcdserver: no leader")), EndpointProblem::NotApplied(_)));
        for (status, body) in [
            (503, error(14, "etcdserver: request timed out")),
            (504, error(4, "context deadline exceeded")),
            (500, error(2, "etcdserver: request timed out, possibly due to connection lost")),
            (503, error(14, "etcdserver: leader changed")),
            (502, "Bad Gateway".into()),
            (500, String::new()),
        ] {
            assert!(matches!(problem(status, &body), EndpointProblem::Ambiguous(_)), "{status} {body}");
        }
    }

    #[test]
    fn refusals_name_the_remedy() {
        let error = |code: u8, text: &str| format!(r#"{{"code":{code},"message":"etcdserver: {text}"}}"#);
        for (status, body, remedy) in [
            (404, "Not Found".into(), "--enable-grpc-gateway"),
            (400, "Client sent an HTTP request to an HTTPS server.\n".into(), "etcds://"),
            (429, error(8, "mvcc: database space exceeded"), "alarm disarm"),
            (403, error(7, "permission denied"), "grant"),
            (400, error(3, "authentication failed, invalid user ID or password"), "correct the etcd user"),
            (400, "CommonName of client sending a request against gateway".into(), "certificate with a common name"),
            (302, "moved".into(), "check the URL"),
        ] {
            let EndpointProblem::Refused(text) = problem(status, &body) else {
                panic!("{body}: {:?}", problem(status, &body))
            };
            assert!(text.contains(remedy), "{text}");
        }
        for text in ["invalid auth token", "user name is empty", "revision of auth store is old"] {
            assert!(matches!(problem(400, &error(3, text)), EndpointProblem::NeedsLogin(_)), "{text}");
        }
        let long = problem(500, &error(13, &"x".repeat(10_000)));
        assert!(matches!(long, EndpointProblem::Ambiguous(text) if text.chars().count() < MAX_TEXT + 20));
    }
}
