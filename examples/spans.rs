//! A span of the crate `tracing` for each operation, with an event for each answer in it. Sends the span's trace to the
//! hosts, with the header `traceparent`.
//!
//! The client reports a request when it is answered, so a request is an event with its duration, not a span.
//!
//! ```sh
//! cargo run --features testing --example spans
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster_client::testing::{Cluster, Fault, Method};
use cluster_client::{ClusterClient, Event, EventKind, Observer, OperationId, OperationOptions};
use tracing::{Span, field, info, info_span, warn};
use tracing_subscriber::fmt::format::FmtSpan;

/// The spans of the operations that run. They come from several threads, so each has its operation's id.
#[derive(Default)]
struct Spans(Mutex<HashMap<OperationId, Span>>);

impl Spans {
    /// Returns the span of the operation, which begins with its first event and under the caller's span.
    fn of(&self, event: &Event) -> Span {
        let begin = || {
            let (operation, group) = (event.operation.as_str(), event.group.as_str());
            info_span!("operation", id = %event.id, operation, group, outcome = field::Empty)
        };
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spans.entry(event.id).or_insert_with(begin).clone()
    }
}

impl Observer for Spans {
    fn on_event(&self, event: &Event) {
        let span = self.of(event);
        match &event.kind {
            EventKind::Entered { phase, .. } => info!(parent: &span, phase = phase.as_str(), "phase"),
            EventKind::Answered { host, action, attempt, status, error, elapsed, bytes_received, .. } => {
                let (host, action, ms) = (host.as_str(), action.as_str(), elapsed.as_secs_f64() * 1e3);
                match error {
                    None => info!(parent: &span, host, action, attempt, status, ms, bytes = bytes_received, "answer"),
                    Some(error) => {
                        warn!(parent: &span, host, action, attempt, error = error.kind().as_str(), ms, "{error}");
                    }
                }
            }
            EventKind::Finished { report, .. } => {
                span.record("outcome", report.outcome.as_str());
                self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&event.id);
            }
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stdout).with_span_events(FmtSpan::CLOSE).init();
    let cluster = Cluster::start(2)?;
    cluster.node(1).inject(Fault::drop_connection().on(Method::Post));
    let client = ClusterClient::builder()
        .hosts(cluster.urls())
        .observer(Arc::new(Spans::default()))
        // Short, because the nodes are in this process.
        .request_timeout(Duration::from_secs(1))
        .settle(Duration::from_secs(1))
        .build()?;

    let _request = info_span!("request", path = "/signup").entered();
    // The ids of your tracer's current span. With OpenTelemetry: `Span::current().context().span().span_context()`.
    let (trace, span) = (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7);
    client.with(OperationOptions::new().trace_parent(trace, span, true)).create_group("payments")?;
    Ok(())
}
