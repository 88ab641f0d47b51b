//! Log lines on standard error. By default there are none: the table says it already.

use env_logger::{Builder, WriteStyle};

use crate::args::Shared;

/// `-v` and `-vv` choose the level unless `RUST_LOG` does. A node has no table, so it warns by itself.
pub(crate) fn start(shared: &Shared, is_node: bool) {
    let mut builder = Builder::new();
    match (std::env::var("RUST_LOG"), shared.verbose) {
        (Ok(filter), _) if !filter.is_empty() => builder.parse_filters(&filter),
        (_, 0) if is_node => builder.parse_filters("warn"),
        (_, 0) => builder.parse_filters("off"),
        (_, 1) => builder.parse_filters("cluster_client=info"),
        (_, _) => builder.parse_filters("cluster_client=debug"),
    };
    builder.write_style(match shared.color {
        clap::ColorChoice::Auto => WriteStyle::Auto,
        clap::ColorChoice::Always => WriteStyle::Always,
        clap::ColorChoice::Never => WriteStyle::Never,
    });
    builder.init();
}

/// Whether log lines may come, which live progress would be torn by.
pub(crate) fn is_on() -> bool {
    log::max_level() > log::LevelFilter::Off
}
