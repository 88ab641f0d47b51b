//! The requests of the node API, shared by the peers.

/// The path of POST and DELETE.
pub const GROUP_PATH: &str = "/v1/group/";
/// The content type of the POST.
pub const JSON: &str = "application/json";

/// `https` with the feature `tls`.
pub const SCHEME: &str = if cfg!(feature = "tls") { "https" } else { "http" };
/// The authority that signed the certificate of the test server.
#[cfg(feature = "tls")]
pub const AUTHORITY: &[u8] = include_bytes!("../../../src/engine/suite/testdata/ca.pem");

/// The body of the POST that creates `id`.
pub fn create_body(id: &str) -> String {
    format!("{{\"groupId\":\"{id}\"}}")
}

/// The address of the POST on `host`.
pub fn create_url(host: &str) -> String {
    format!("{SCHEME}://{host}{GROUP_PATH}")
}

/// The address of the GET of `id` on `host`.
pub fn check_url(host: &str, id: &str) -> String {
    format!("{SCHEME}://{host}{GROUP_PATH}{id}/")
}

/// Refuses any status but the `wanted` one.
///
/// # Errors
/// When `got` is another status.
pub fn expect(wanted: u16, got: u16) -> Result<(), crate::Failure> {
    if got == wanted { Ok(()) } else { Err(format!("the status is {got}, not {wanted}").into()) }
}
