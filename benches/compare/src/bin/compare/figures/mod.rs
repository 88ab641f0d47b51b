//! The two figures of `docs/performance.md`, drawn from the results of a run.

mod latency;
mod svg;
mod throughput;

use std::path::Path;

use crate::Failure;
use crate::options::Options;
use crate::peers::Peer;
use crate::results::Results;

/// Writes `latency.svg` and `throughput.svg` into `folder`.
pub(crate) fn write(folder: &Path, options: &Options, peers: &[Peer], results: &Results) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("latency.svg"), latency::draw(options, peers, results))?;
    std::fs::write(folder.join("throughput.svg"), throughput::draw(peers, results))?;
    Ok(())
}
