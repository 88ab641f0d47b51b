//! Text from outside that is printed on a terminal: ids, file names, journal entries, arguments. It is escaped, so that
//! it neither controls the terminal nor misleads its reader. In JSON a program reads the exact values.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

use cluster_client::Printable;

use crate::bench::{Bench, Ran};

/// A direction override, a separator of lines, a character without a width, and a byte order mark.
const ID: &str = "pay\u{202e}x\u{2028}y\u{200b}z\u{feff}";
const SHOWN: &str = r"pay\u{202e}x\u{2028}y\u{200b}z\u{feff}";
/// The title of the window, colour in Latin-1, and a new line.
const STEERING: &str = "a\u{1b}]0;title\u{7}\u{9b}31m\u{85}b";
const STEERING_SHOWN: &str = r"a\u{1b}]0;title\u{7}\u{9b}31m\u{85}b";

/// Runs the command, and asserts that its output is plain text.
#[track_caller]
fn plain(command: &mut Command) -> Ran {
    let ran = Ran::of(command);
    for text in [&ran.out, &ran.err] {
        let raw = text.chars().find(|c| *c != '\n' && Printable::escapes(*c));
        assert_eq!(raw, None, "{ran:#?}");
    }
    ran
}

#[test]
fn ids_are_escaped_in_results_progress_and_log_lines() {
    let bench = Bench::new();
    let on_all = format!("{SHOWN} is on 3 of 3 hosts");
    let created = plain(&mut bench.command(&["create", ID, "-vv"])).exits(0).prints(&on_all);
    created.reports(&format!("{SHOWN}: creating")).reports(&format!("cluster_client] {SHOWN}: created on"));
    assert!(bench.cluster.all_have(ID), "the nodes get the exact id");
    plain(&mut bench.command(&["status", ID])).exits(0).prints(&on_all);
    plain(&mut bench.command(&["create", ID])).exits(5).prints(SHOWN);
    plain(&mut bench.command(&["delete", ID])).exits(2).reports(&format!("delete {SHOWN} needs --yes"));
    plain(&mut bench.command(&["delete", ID, "--yes"])).exits(0).prints(SHOWN);
    assert!(bench.cluster.none_has(ID));
}

#[test]
fn letters_of_every_script_are_printed_unchanged() {
    let bench = Bench::new();
    for id in ["größe", "русский", "हिन्दी", "עברית", "日本語"] {
        plain(&mut bench.command(&["create", id])).exits(0).prints(&format!("{id} is on 3 of 3 hosts"));
    }
}

#[test]
fn json_has_the_exact_id_and_no_raw_control_character() {
    let bench = Bench::new();
    let id = format!("{ID}\u{e0041}\u{ad}");
    let ran = plain(&mut bench.command(&["create", &id, "-o", "json", "-q"])).exits(0);
    assert!(ran.out.contains(r#""group":"pay\u202ex\u2028y\u200bz\ufeff\udb40\udc41\u00ad""#), "{}", ran.out);
    assert_eq!(ran.json()[0]["group"], id);
    let journal = format!("journal{STEERING}");
    let ran = plain(&mut bench.command(&["hosts", "-o", "json", "--journal", &journal])).exits(0);
    assert_eq!(ran.json()[0]["settings"]["journal"]["value"], journal);
}

#[test]
fn typed_text_is_escaped_in_errors_and_output() {
    let bench = Bench::new();
    let file = format!("{STEERING}.toml");
    bench.write(&file, "attempts = \"\u{202e}\"");
    bench.write("groups", "one\none\n");
    bench.write("strange.toml", "\"\\u001b[31m\" = 1");
    for arguments in [
        &["create", "g", "--config", STEERING][..],
        &["create", "g", "--config", &file],
        &["create", "-f", STEERING],
        &["create", "g", "--timeout", STEERING],
        &["create", "g", "--output", STEERING],
        &["create", "g", &format!("--{STEERING}")],
        &["create", "g", "--hosts", &format!("http://{STEERING}")],
        &["create", "g", "--hosts", &format!("http://node1/{ID}")],
        &["create", STEERING],
        &["create", ID, ID],
        &[STEERING],
        &["man", STEERING],
        &["node", STEERING],
        &["create", "g", "--journal", &format!("groups/{STEERING}")],
    ] {
        plain(&mut bench.command(arguments)).exits(2);
    }
    plain(&mut bench.command(&["create", "g", "--config", &file])).reports(STEERING_SHOWN);
    plain(&mut bench.command(&["create", "g", "--timeout", STEERING])).reports(STEERING_SHOWN);
    plain(&mut bench.command(&["create", "g", "--config", "strange.toml"])).exits(2).reports(r"\u{1b}[31m");
    plain(&mut bench.command(&["hosts", "--journal", STEERING])).exits(0).prints(STEERING_SHOWN);
    bench.assert_untouched();
}

#[test]
#[cfg(unix)]
fn names_and_contents_of_a_journal_are_escaped() {
    let bench = Bench::new();
    bench.run(&["create", "g"]).exits(0);
    let journal = bench.journal();
    fs::write(journal.join(format!("{STEERING}.intent")), "no intent").unwrap();
    fs::write(journal.join("h.intent"), format!("cluster-client intent 1\n{STEERING}{ID}\nchecksum: 0\n")).unwrap();
    let ran = plain(&mut bench.command(&["recover"])).exits(4);
    assert!(format!("{}{}", ran.out, ran.err).contains(STEERING_SHOWN), "{ran:#?}");
    let ran = plain(&mut bench.command(&["recover", "-o", "json"])).exits(4);
    assert!(
        ran.json().iter().any(|line| line["cause"]["message"].as_str().unwrap().contains(STEERING_SHOWN)),
        "{ran:#?}"
    );
}

#[test]
#[cfg(unix)]
fn holder_of_a_lock_is_escaped() {
    let bench = Bench::new();
    bench.run(&["create", "other"]).exits(0);
    let path = bench.journal().join("g.lock");
    fs::write(&path, "process 1 on \u{202e}host\u{200b}\n").unwrap();
    let lock = File::open(&path).unwrap();
    lock.lock().unwrap();
    let ran = plain(&mut bench.command(&["create", "g"])).exits(1);
    assert!(ran.out.contains("busy"), "{ran:#?}");
    let ran = plain(&mut bench.command(&["create", "g", "-o", "json"])).exits(1);
    assert!(ran.out.contains("busy"), "{ran:#?}");
}

/// Answers every connection with these bytes, until the test ends.
fn server(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(answer);
        }
    });
    url
}

#[test]
fn text_of_a_server_is_escaped() {
    let bench = Bench::new();
    for answer in [
        &b"HTTP/1.1 503 \x1b]0;title\x07\xc2\x9b31m\r\nX-\x1b[31m: y\r\nContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.1 503 \xe2\x80\xae\r\nX: \x1b[31m\xe2\x80\xae\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 301 Moved\r\nLocation: http://\x1b[31m\xe2\x80\xae/\r\nContent-Length: 0\r\n\r\n",
        b"\x1b[31m\xc2\x9b\xe2\x80\xae\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \x1b[31m\r\n\r\n",
    ] {
        let url = server(answer);
        for format in ["table", "json"] {
            for filter in ["debug", "trace"] {
                let mut command = bench.command(&["status", "g", "--attempts", "1", "-o", format, "--hosts", &url]);
                plain(command.env("RUST_LOG", filter)).exits(4);
            }
        }
    }
}
