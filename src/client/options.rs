//! Floor 3: options of operations, beside the settings of their client.

use std::sync::Arc;
use std::time::Duration;

use crate::client::cancel::CancelToken;

/// Options of operations, beside the settings of their client. [`ClusterClient::with`](crate::ClusterClient::with)
/// takes them.
///
/// | option | default |
/// | --- | --- |
/// | `timeout` | the `operation_timeout` of the client |
/// | `cancel` | none |
/// | `preflight` | `true` |
/// | `read_ahead` | `true` |
/// | `trace_parent` | none |
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
#[must_use = "options do nothing until they are passed to a client"]
pub struct OperationOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) cancel: Option<CancelToken>,
    pub(crate) preflight: bool,
    pub(crate) read_ahead: bool,
    pub(crate) headers: CallHeaders,
}

/// Names and values of headers, valid in HTTP.
pub(crate) type CallHeaders = Arc<[(String, String)]>;

impl Default for OperationOptions {
    fn default() -> Self {
        OperationOptions {
            timeout: None,
            cancel: None,
            preflight: true,
            read_ahead: true,
            headers: CallHeaders::default(),
        }
    }
}

impl OperationOptions {
    /// Returns the default options.
    ///
    /// ```
    /// use cluster_client::{ClusterClient, OperationOptions};
    ///
    /// let client = ClusterClient::new(["http://node1:8000"])?;
    /// let default = client.with(OperationOptions::new()); // as `client`
    /// # drop(default);
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the timeout of an operation, from its start. A rollback has a timeout of its own on top,
    /// [`ClientBuilder::rollback_timeout`](crate::ClientBuilder::rollback_timeout). With zero, nothing is sent. There is
    /// no upper bound.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cluster_client::{ClusterClient, Error, OperationOptions};
    ///
    /// let client = ClusterClient::new(["http://node1:8000"])?;
    /// let late = client.with(OperationOptions::new().timeout(Duration::ZERO));
    /// assert!(matches!(late.delete_group("payments"), Err(Error::TimedOut { .. })));
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Lets `token` cancel the operations. A create that is cancelled is rolled back.
    ///
    /// ```
    /// use cluster_client::{CancelToken, ClusterClient, Error, OperationOptions};
    ///
    /// let cancel = CancelToken::new();
    /// let client = ClusterClient::new(["http://node1:8000"])?.with(OperationOptions::new().cancel(&cancel));
    /// cancel.cancel(); // from any thread
    /// assert!(matches!(client.create_group("payments"), Err(Error::Cancelled { .. })));
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// Sets whether every host is asked for the group before anything is created.
    ///
    /// Without this preflight a create takes one round trip less. If it fails, more hosts stay in doubt: after a lost
    /// answer, the group on that host may have been created by another program. It is then reported, not deleted.
    ///
    /// `false` is refused for an API whose create does not tell whether the group existed: see
    /// [`Api::proves_ownership`](crate::Api::proves_ownership).
    ///
    /// ```
    /// use cluster_client::OperationOptions;
    ///
    /// # #[cfg(feature = "testing")] {
    /// # let cluster = cluster_client::testing::Cluster::start(2)?;
    /// # let client = cluster_client::ClusterClient::new(cluster.urls())?;
    /// client.with(OperationOptions::new().preflight(false)).create_group("payments")?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn preflight(mut self, preflight: bool) -> Self {
        self.preflight = preflight;
        self
    }

    /// Sets whether a [`Bulk`](crate::Bulk) takes ids from its input before their operations can begin. This keeps it busy
    /// while the program works on a result.
    ///
    /// With `false` it takes an id once fewer than [`in_flight`](crate::ClientBuilder::in_flight) operations are open. An
    /// operation is open until its result was returned. So an input that ends after the program has seen a failure
    /// leaves at most `in_flight - 1` operations to end.
    ///
    /// ```no_run
    /// use cluster_client::{ClusterClient, OperationOptions};
    ///
    /// let client = ClusterClient::builder().hosts(["http://node1:8000"]).in_flight(1).build()?;
    /// let failed = std::cell::Cell::new(false);
    /// let ids = ["a", "b", "c"].into_iter().take_while(|_| !failed.get());
    /// for done in client.with(OperationOptions::new().read_ahead(false)).create_groups(ids) {
    ///     // No create begins after the first that failed.
    ///     failed.set(done.result.is_err());
    /// }
    /// # Ok::<(), cluster_client::Error>(())
    /// ```
    pub fn read_ahead(mut self, read_ahead: bool) -> Self {
        self.read_ahead = read_ahead;
        self
    }

    /// Sends the header `traceparent` (W3C Trace Context, version 00) with every request, so that the spans of the hosts
    /// belong to the caller's trace. Each request has the same `span`, because the client makes no spans of its own.
    ///
    /// The standard reserves a zero: with a `trace` or a `span` of zero, no such header is sent.
    ///
    /// ```
    /// use cluster_client::OperationOptions;
    ///
    /// // From OpenTelemetry: `u128::from_be_bytes(context.trace_id().to_bytes())`. From a header that came in,
    /// // `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`: split at `-`, then `u128::from_str_radix(part, 16)`.
    /// let options = OperationOptions::new().trace_parent(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0xf067_aa0b_a902_b7, true);
    /// # drop(options);
    /// ```
    pub fn trace_parent(mut self, trace: u128, span: u64, sampled: bool) -> Self {
        let value = format!("00-{trace:032x}-{span:016x}-{:02x}", u8::from(sampled));
        self.headers =
            if trace == 0 || span == 0 { CallHeaders::default() } else { [("traceparent".into(), value)].into() };
        self
    }
}
