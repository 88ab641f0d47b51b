//! The command's configuration file, and its times. The modules are the command's own.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

#[path = "../../src/bin/cluster-client/file.rs"]
#[allow(dead_code)]
mod file;
#[path = "../../src/bin/cluster-client/likeness.rs"]
mod likeness;
#[path = "../../src/bin/cluster-client/mapping.rs"]
#[allow(dead_code)]
mod mapping;
#[path = "../../src/bin/cluster-client/open.rs"]
#[allow(dead_code)]
mod open;
#[path = "../../src/bin/cluster-client/time.rs"]
#[allow(dead_code)]
mod time;

/// The one type that `file` uses from `args`.
mod args {
    #[derive(Clone, clap::ValueEnum)]
    pub(crate) enum EngineName {
        Multiplexed,
        Threads,
    }
}

/// The one type that `file` uses from `settings`, whose other parts need the command line.
mod settings {
    use cluster_client::Origin;

    pub(crate) struct Sourced<T> {
        pub(crate) value: T,
        pub(crate) origin: Origin,
    }
}

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = if Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
    directory.join(format!("cluster-client-fuzz-{}.toml", std::process::id()))
});

fuzz_target!(|bytes: &[u8]| {
    fs::write(&*FILE, bytes).unwrap();
    if let Ok(file) = file::ConfigFile::read(Some(&FILE)) {
        for key in ["timeout", "request_timeout", "first_delay", "max_delay", "settle", "rollback_timeout"] {
            if let Ok(Some(time)) = file.time(key) {
                assert!(matches!(time.origin, cluster_client::Origin::File(_)));
            }
        }
        for key in ["attempts", "threads", "in_flight"] {
            let wide = file.number::<u32>(key).ok().flatten().map(|number| number.value);
            let narrow = file.number::<u8>(key).ok().flatten().map(|number| u32::from(number.value));
            assert!(narrow.is_none() || narrow == wide);
        }
        for key in ["collection", "member"] {
            let _ = file.path(key);
        }
        let _ = (file.hosts(), file.journal(), file.api());
    }
    if let Some(time) = std::str::from_utf8(bytes).ok().and_then(|text| time::parse(text).ok()) {
        // Shown to the millisecond.
        let whole = std::time::Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        assert!(time::parse(&time::show(whole)).is_ok());
    }
});
