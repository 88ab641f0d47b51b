//! Floor 3: what operations are told beside what their client is.

use std::time::Duration;

use crate::client::cancel::CancelToken;

/// What operations are told beside the settings of their client. [`ClusterClient::with`](crate::ClusterClient::with)
/// takes it.
///
/// | option | default |
/// | --- | --- |
/// | `timeout` | the `operation_timeout` of the client |
/// | `cancel` | none |
/// | `preflight` | `true` |
///
/// ```no_run
/// use std::time::Duration;
/// use cluster_client::{CancelToken, ClusterClient, OperationOptions};
///
/// let client = ClusterClient::new(["http://node1:8000"])?;
/// let cancel = CancelToken::new();
/// let options = OperationOptions::new().timeout(Duration::from_secs(30)).cancel(&cancel);
/// client.with(options).create_group("payments")?;
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing before they are given to a client"]
pub struct OperationOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) cancel: Option<CancelToken>,
    pub(crate) preflight: bool,
}

impl Default for OperationOptions {
    fn default() -> Self {
        OperationOptions { timeout: None, cancel: None, preflight: true }
    }
}

impl OperationOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The time that an operation may take, from its start. A rollback has time of its own beyond it,
    /// [`ClientBuilder::rollback_timeout`](crate::ClientBuilder::rollback_timeout). Zero means that nothing is sent;
    /// there is no upper bound.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Lets `token` cancel the operations: a create is then rolled back, never left half done.
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// Whether every host is asked before anything is created.
    ///
    /// Without it a create takes one round trip less, and a failed one leaves more in doubt: on a host whose
    /// answer was lost, the group may be ours or that of another program, so it is reported and not deleted.
    pub fn preflight(mut self, preflight: bool) -> Self {
        self.preflight = preflight;
        self
    }
}
