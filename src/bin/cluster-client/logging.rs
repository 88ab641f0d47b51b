//! Log lines on standard error. By default there are none, because the table shows the results.

use std::io::{self, Write};
use std::panic;

use env_logger::{Builder, Logger, Target, WriteStyle};
use log::{Level, Log, Metadata, Record};

use crate::args::{GlobalOptions, LogFormat};
use crate::log_json;
use crate::output::{self, eprint, eprint_raw};
use crate::paint::{Tone, painted};

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
    match global.log_format {
        LogFormat::Json => builder.format(|lines, record| {
            let line = log_json::line(record, &lines.timestamp_millis().to_string());
            lines.write_all(line.as_bytes())
        }),
        LogFormat::Text => builder.format(|lines, record| {
            let level = painted(&format!("{:5}", record.level().as_str()), tone(record.level()));
            writeln!(lines, "[{} {level} {}] {}", lines.timestamp(), record.target(), record.args())
        }),
    };
    builder.target(Target::Pipe(Box::new(Lines)));
    let logger = builder.build();
    let level = logger.filter();
    if log::set_boxed_logger(Box::new(WithoutWireDumps(logger))).is_ok() {
        log::set_max_level(level);
    }
    print_panics();
}

/// Returns the colour of a level. Those of `env_logger` cannot be read on every background.
fn tone(level: Level) -> Tone {
    match level {
        Level::Error => Tone::Bad,
        Level::Warn => Tone::Unsure,
        _ => Tone::Plain,
    }
}

/// Drops the records of the HTTP crates below the level *info*, and those of TLS below *debug*, whatever `RUST_LOG` says.
/// ureq logs headers of answers at *debug*, ureq-proto their bytes at *trace*, and a server may repeat a secret.
struct WithoutWireDumps(Logger);

impl WithoutWireDumps {
    fn is_dropped(metadata: &Metadata<'_>) -> bool {
        let most = match metadata.target().split("::").next().unwrap_or_default() {
            "ureq" | "ureq_proto" | "httparse" => Level::Info,
            "rustls" => Level::Debug,
            _ => return false,
        };
        metadata.level() > most
    }
}

impl Log for WithoutWireDumps {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !Self::is_dropped(metadata) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !Self::is_dropped(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
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
