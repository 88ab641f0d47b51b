//! The password in a malformed text is in no error. The input is a list of choices, from which the text is made. So a
//! change of the input changes a part of the text, and not its form.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cluster_client::{Api, ClusterClient, ConfigError, GroupId, Host, Hosts, Intent, Origin, Printable, fuzzing};
use libfuzzer_sys::fuzz_target;

#[path = "../../src/bin/cluster-client/file.rs"]
#[allow(dead_code)]
mod file;
#[path = "../../src/bin/cluster-client/likeness.rs"]
mod likeness;
#[path = "../../tests/support/malformed.rs"]
mod malformed;
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

    #[allow(dead_code)]
    pub(crate) struct Sourced<T> {
        pub(crate) value: T,
        pub(crate) origin: Origin,
    }
}

use malformed::Malformed;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = if Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
    directory.join(format!("cluster-client-fuzz-secrets-{}.toml", std::process::id()))
});

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, choices)) = bytes.split_first() else { return };
    let mut choices = choices.iter().map(|byte| usize::from(*byte));
    let mut pick = |below: usize| {
        let mut number = choices.next().unwrap_or_default();
        if below > 256 {
            number = number << 16 | choices.next().unwrap_or_default() << 8 | choices.next().unwrap_or_default();
        }
        number % below
    };
    match kind % 4 {
        0 => hosts(&malformed::cut_hosts(&mut pick)),
        1 => config(&malformed::config(&mut pick)),
        kind => {
            let malformed = malformed::hosts(&mut pick);
            if kind == 2 { hosts(&malformed) } else { values(&malformed) }
        }
    }
});

fn hidden<T>(malformed: &Malformed, result: Result<T, ConfigError>) {
    if let Err(error) = result {
        malformed.assert_hidden(error.value());
        malformed.assert_hidden_by(&error);
    }
}

fn hosts(malformed: &Malformed) {
    let text = &malformed.text;
    let (one, list) = (Host::parse(text), Hosts::parse_list(text, Origin::Environment("HOSTS".into())));
    assert!(!text.contains('@') || (one.is_err() && list.is_err()), "user info is taken: {text:?}");
    hidden(malformed, one);
    hidden(malformed, list);
    let builder = ClusterClient::builder().hosts([text]);
    if Hosts::parse([text]).is_err() {
        malformed.assert_hidden(&format!("{builder:?}"));
    }
    if let Err(error) = builder.build() {
        malformed.assert_hidden_by(&error);
    }
}

fn values(malformed: &Malformed) {
    let text = &malformed.text;
    hidden(malformed, GroupId::parse(format!("{text}\u{1}")));
    hidden(malformed, Api::new(text, "/{id}"));
    hidden(malformed, Api::new("/", text));
    let problem = format!("is {text:?}, which is wrong");
    hidden(malformed, Err::<(), _>(ConfigError::new("value", text, problem, format!("do not give {text}"))));
    malformed.assert_hidden(&Printable::masked(text).to_string());
    malformed.assert_hidden(&Printable::masked_sentence(&format!("cannot read {text:?}: no such file")).to_string());
    let line = text.replace('\n', " ");
    for body in [format!("host: {line}\n"), format!("{line}\n"), format!("group: {line}\u{1}\n")] {
        let body = format!("cluster-client intent 1\n{body}");
        if let Err(error) = Intent::parse(fuzzing::signed(&body).as_bytes()) {
            malformed.assert_hidden_by(&error);
        }
    }
}

fn config(malformed: &Malformed) {
    fs::write(&*FILE, &malformed.text).unwrap();
    let file = match file::ConfigFile::read(Some(&FILE)) {
        Ok(file) => file,
        Err(error) => return malformed.assert_hidden_by(&error),
    };
    malformed.assert_hidden(&format!("{file:?}"));
    for key in ["timeout", "request_timeout", "first_delay", "max_delay", "settle", "rollback_timeout"] {
        hidden(malformed, file.time(key));
    }
    for key in ["attempts", "threads", "in_flight"] {
        hidden(malformed, file.number::<u32>(key));
    }
    for key in ["collection", "member"] {
        hidden(malformed, file.path(key));
    }
    hidden(malformed, file.journal());
    match file.hosts() {
        Ok(Some(hosts)) => hidden(malformed, Hosts::parse(hosts.value)),
        Ok(None) => {}
        Err(error) => malformed.assert_hidden_by(&error),
    }
}
