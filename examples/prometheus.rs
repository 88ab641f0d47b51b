//! Counts requests, bytes, retries and operations with the crate `metrics`, and prints them as Prometheus reads them.
//!
//! ```sh
//! cargo run --features testing --example prometheus
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use cluster_client::testing::{Cluster, Fault, Method};
use cluster_client::{ClusterClient, Event, EventKind, Observer};
use metrics::{counter, histogram};
use metrics_exporter_prometheus::PrometheusBuilder;

/// Turns events into metrics of the process-wide recorder. Labels have few values each: no group and no id.
struct Metrics;

impl Observer for Metrics {
    fn on_event(&self, event: &Event) {
        let operation = event.operation.as_str();
        match &event.kind {
            EventKind::Answered { host, action, status, error, elapsed, bytes_sent, bytes_received, .. } => {
                // An answer has a status, and a lost one has the kind of its error.
                let status = status.map(|status| status.to_string());
                let result = status.or_else(|| error.as_ref().map(|error| error.kind().as_str().to_owned()));
                let labels = [
                    ("host", host.authority().to_owned()),
                    ("action", action.as_str().to_owned()),
                    ("result", result.unwrap_or_default()),
                ];
                counter!("cluster_client_requests_total", &labels).increment(1);
                histogram!("cluster_client_request_seconds", &labels[..2]).record(elapsed.as_secs_f64());
                counter!("cluster_client_sent_bytes_total", &labels[..1]).increment(*bytes_sent);
                counter!("cluster_client_received_bytes_total", &labels[..1]).increment(*bytes_received);
            }
            EventKind::Retrying { host, action, .. } => {
                let labels = [("host", host.authority().to_owned()), ("action", action.as_str().to_owned())];
                counter!("cluster_client_retries_total", &labels).increment(1);
            }
            EventKind::Finished { report, .. } => {
                let outcome = report.outcome.as_str();
                counter!("cluster_client_operations_total", "operation" => operation, "outcome" => outcome)
                    .increment(1);
                histogram!("cluster_client_operation_seconds", "operation" => operation)
                    .record(report.elapsed.as_secs_f64());
            }
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // A service would serve `prometheus.render()` at /metrics.
    let recorder = PrometheusBuilder::new().build_recorder();
    let prometheus = recorder.handle();
    metrics::set_global_recorder(recorder)?;

    let cluster = Cluster::start(3)?;
    cluster.node(1).inject(Fault::answer(503).on(Method::Post));
    cluster.node(2).inject(Fault::drop_connection().on(Method::Post));
    let client = ClusterClient::builder()
        .hosts(cluster.urls())
        .observer(Arc::new(Metrics))
        // Short, because the nodes are in this process.
        .request_timeout(Duration::from_secs(1))
        .settle(Duration::from_secs(1))
        .build()?;
    client.create_group("payments")?;
    client.group_status("payments")?;
    print!("{}", prometheus.render());
    Ok(())
}
