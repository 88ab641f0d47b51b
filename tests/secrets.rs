//! No error of the library shows a password that went in, however it was written. Random texts, the same in each run;
//! the fuzz target `secrets` goes on from here.

use cluster_client::{Api, ClusterClient, ConfigError, GroupId, Host, Hosts, Intent, Origin, Printable};

#[path = "support/malformed.rs"]
mod malformed;

use malformed::Malformed;

const CASES: usize = 5_000;

/// Calls `test` with each of many texts, drawn by `draw`.
fn of_many(draw: fn(malformed::Pick<'_>) -> Malformed, test: impl Fn(&Malformed)) {
    let mut random = fastrand::Rng::with_seed(15);
    for _ in 0..CASES {
        test(&draw(&mut |below| random.usize(..below)));
    }
}

#[track_caller]
fn hidden<T>(malformed: &Malformed, result: Result<T, ConfigError>) {
    if let Err(error) = result {
        malformed.assert_hidden_by(&error);
        malformed.assert_hidden(error.value());
        malformed.assert_hidden_by(&cluster_client::Error::from(error));
    }
}

#[test]
fn refused_hosts_show_no_password() {
    let origin = || Origin::Environment("HOSTS".into());
    for draw in [malformed::hosts, malformed::cut_hosts] {
        of_many(draw, |malformed| {
            let text = &malformed.text;
            hidden(malformed, Host::parse(text));
            hidden(malformed, Hosts::parse([text]));
            hidden(malformed, Hosts::parse_list(text, origin()));
            let builder = ClusterClient::builder().hosts([text]);
            if Hosts::parse([text]).is_err() {
                malformed.assert_hidden(&format!("{builder:?}"));
            }
            if let Err(error) = builder.build() {
                malformed.assert_hidden_by(&error);
            }
        });
    }
}

#[test]
fn hosts_with_user_info_are_refused() {
    of_many(malformed::hosts, |malformed| {
        if malformed.text.contains('@') {
            assert!(Hosts::parse_list(&malformed.text, Origin::Code).is_err(), "{malformed:?}");
            assert!(Host::parse(&malformed.text).is_err(), "{malformed:?}");
        }
    });
}

#[test]
fn refused_values_show_no_password() {
    of_many(malformed::hosts, |malformed| {
        let text = &malformed.text;
        let id = format!("{text}\u{1}");
        let refused = GroupId::parse(&id).unwrap_err();
        malformed.assert_hidden_by(&refused);
        hidden(malformed, Api::new(text, "/{id}"));
        hidden(malformed, Api::new("/", text));
        hidden(malformed, Err::<(), _>(ConfigError::new("value", text, "is refused", "give another")));
        // An error that repeats its value in the problem or the remedy.
        let (problem, remedy) = (format!("is {text:?}, which is wrong"), format!("do not give {text}"));
        hidden(malformed, Err::<(), _>(ConfigError::new("value", text, problem, remedy)));
        malformed.assert_hidden(&Printable::masked(text).to_string());
        malformed
            .assert_hidden(&Printable::masked_sentence(&format!("cannot read {text:?}: no such file")).to_string());
    });
}

#[test]
fn refused_journal_shows_no_password() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    of_many(malformed::hosts, |malformed| {
        // Something below a file can be neither found nor made.
        let path = file.join(malformed.text.trim_start_matches('/').replace('\0', ""));
        let error = ClusterClient::builder().hosts(["http://n"]).journal(&path).build().map(drop).unwrap_err();
        malformed.assert_hidden_by(&error);
    });
}

#[test]
fn unreadable_intents_show_no_password() {
    of_many(malformed::hosts, |malformed| {
        let line = malformed.text.replace('\n', " ");
        for body in [format!("host: {line}\n"), format!("{line}\n"), format!("group: {line}\u{1}\n")] {
            let body = format!("cluster-client intent 1\n{body}");
            let text = format!("{body}checksum: {:016x}\n", fnv1a(body.as_bytes()));
            let error = Intent::parse(text.as_bytes()).unwrap_err();
            malformed.assert_hidden_by(&error);
        }
    });
}

/// The checksum of an intent.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn random_texts_are_of_many_kinds() {
    let mut random = fastrand::Rng::with_seed(15);
    let texts: Vec<String> = (0..CASES).map(|_| malformed::hosts(&mut |below| random.usize(..below)).text).collect();
    for sign in [",", "/", "#", "?", " ", "\n", "%40", "\"", "https//", "http:/", "@http://"] {
        let with = texts.iter().filter(|text| text.contains(sign)).count();
        assert!(with > CASES / 100, "{sign:?} is in {with} of {CASES}");
    }
}
