//! Log lines on standard error. By default there are none, because the table shows the results.

use std::io::{self, Write};
use std::panic;

use env_logger::{Builder, Target, WriteStyle};

use crate::args::{GlobalOptions, LogFormat};
use crate::log_json;
use crate::output::{self, eprint, eprint_raw};

/// Starts the logger. `RUST_LOG` sets the level, then `-v` and `-vv`. A node has no table, so its default is `warn`.
pub(crate) fn start(global: &GlobalOptions, is_node: bool) {
    let mut builder = Builder::new();
    match (std::env::var("RUST_LOG"), global.verbose) {
        (Ok(filter), _) if !filter.is_empty() => builder.parse_filters(&filter),
        (_, 0) if is_node => builder.parse_filters("warn"),
        (_, 0) => builder.parse_filters("off"),
        (_, 1) => builder.parse_filters("cluster_client=info"),
        (_, _) => builder.parse_filters("cluster_client=debug"),
    };
    let styled = output::is_styled(&io::stderr(), global.color);
    builder.write_style(if styled { WriteStyle::Always } else { WriteStyle::Never });
    if global.log_format == LogFormat::Json {
        builder.format(|lines, record| {
            let line = log_json::line(record, &lines.timestamp_millis().to_string());
            lines.write_all(line.as_bytes())
        });
    }
    builder.target(Target::Pipe(Box::new(Lines)));
    builder.init();
    print_panics();
}

/// Passes log lines to the writer thread, so that an unread log blocks nothing.
struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        eprint_raw(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Passes panic messages to the writer thread too, so that a caught panic does not block its thread.
fn print_panics() {
    panic::set_hook(Box::new(|panic| {
        let trace = std::backtrace::Backtrace::capture();
        match trace.status() {
            std::backtrace::BacktraceStatus::Captured => eprint(&format!("{panic}\n{trace}")),
            _ => eprint(&panic.to_string()),
        }
        if std::thread::current().name() == Some("main") {
            output::finish();
        }
    }));
}
