//! A progress bar of one's own: how many hosts have finished the phase, and which ones are waited for.
//!
//! The observer only counts. A thread of its own draws, so a slow terminal delays no request.
//!
//! ```sh
//! cargo run --features testing --example progress_bar
//! ```

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use cluster_client::testing::{Cluster, Fault, Method};
use cluster_client::{ClusterClient, Event, EventKind, Host, Observer};

const WIDTH: usize = 20;
const FRAME: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Progress {
    phase: String,
    all: usize,
    waited_for: BTreeSet<Host>,
}

impl Progress {
    fn line(&self) -> String {
        let done = self.all - self.waited_for.len();
        let filled = WIDTH * done / self.all.max(1);
        let bar = format!("{}{}", "#".repeat(filled), ".".repeat(WIDTH - filled));
        let names: Vec<&str> = self.waited_for.iter().map(Host::authority).take(3).collect();
        format!("[{bar}] {} {done}/{} {}", self.phase, self.all, names.join(" "))
    }
}

#[derive(Default)]
struct Bar(Mutex<Progress>);

impl Observer for Bar {
    fn on_event(&self, event: &Event) {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &event.kind {
            EventKind::Entered { phase, .. } => progress.phase = phase.to_string(),
            EventKind::Participants { hosts, .. } => {
                progress.all = hosts.len();
                progress.waited_for = hosts.iter().cloned().collect();
            }
            EventKind::Reached { host, .. } => {
                progress.waited_for.remove(host);
            }
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::start(5)?;
    for (number, node) in cluster.nodes().iter().enumerate() {
        let delay = Duration::from_millis(60 * number as u64);
        node.inject(Fault::delay(delay).on(Method::Post));
    }
    let bar = Arc::new(Bar::default());
    let client = ClusterClient::builder().hosts(cluster.urls()).observer(bar.clone()).build()?;

    let (ended, end) = mpsc::channel::<()>();
    let drawer = thread::spawn(move || {
        let mut stderr = io::stderr();
        loop {
            let is_last = end.recv_timeout(FRAME) != Err(RecvTimeoutError::Timeout);
            let line = bar.0.lock().unwrap_or_else(PoisonError::into_inner).line();
            // Carriage return, then the line, then the end of what was longer before.
            let _ = write!(stderr, "\r{line}\x1b[K");
            if is_last {
                let _ = writeln!(stderr);
                return;
            }
        }
    });
    let result = client.create_group("payments");
    drop(ended);
    let _ = drawer.join();
    println!("{}", result?.summary());
    Ok(())
}
