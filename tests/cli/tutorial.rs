//! The tutorial of `docs/mapping.md`: its service, its mappings and its commands, with the output that the page shows.
#![cfg(unix)]

use std::process::{Command, Stdio};

use crate::bench::{Bench, Ran, Running, timeless};

const PAGE: &str = include_str!("../../docs/mapping.md");

/// A block of a page: its language and its text.
pub(crate) type Block = (&'static str, &'static str);

pub(crate) fn blocks(page: &'static str) -> Vec<Block> {
    let parts: Vec<&str> = page.split("\n```").collect();
    let block = |text: &'static str| text.split_once('\n').unwrap_or_default();
    parts.into_iter().skip(1).step_by(2).map(block).collect()
}

/// The commands of a console block, each with the output that the page shows.
pub(crate) fn commands(console: &str) -> Vec<(&str, &str)> {
    let commands = console.strip_prefix("$ ").expect("a console block begins with a command").split("\n$ ");
    commands.map(|text| text.split_once('\n').unwrap_or((text, ""))).collect()
}

/// Three services of the page, on ports from the system. A shorter time of closing saves time.
struct Rooms {
    /// Killed when dropped.
    _services: Vec<Running>,
    ports: Vec<String>,
}

impl Rooms {
    fn start(bench: &Bench, script: &str) -> Self {
        assert!(script.contains("CLOSING = 5"));
        bench.write("rooms.py", script.replace("CLOSING = 5", "CLOSING = 2"));
        let start = || {
            let mut python = Command::new("python3");
            python.args(["rooms.py", "0"]).current_dir(bench.path("")).stdin(Stdio::null());
            Running::of(&mut python)
        };
        let mut services: Vec<Running> = (0..3).map(|_| start()).collect();
        let port = |service: &mut Running| service.first_line().rsplit(':').next().unwrap().to_owned();
        let ports = services.iter_mut().map(port).collect();
        Rooms { _services: services, ports }
    }

    /// Replaces the ports of the page by those of the services.
    fn here(&self, text: &str) -> String {
        let pairs = ["9001", "9002", "9003"].into_iter().zip(&self.ports);
        pairs.fold(text.to_owned(), |text, (shown, port)| text.replace(shown, port))
    }
}

/// Joins columns, and replaces times and the number of tries. The number depends on jitter, so hosts may differ in it
/// and have a line each: such lines become one.
fn comparable(text: &str) -> Vec<String> {
    let timeless = timeless(text);
    let mut lines: Vec<String> = timeless.lines().map(without_tries).collect();
    lines.dedup();
    lines
}

fn without_tries(line: &str) -> String {
    let Some((answer, problem)) = line.split_once(" tries") else { return line.to_owned() };
    let (_, answer) = answer.split_once(": ").unwrap_or_default();
    format!("{}T tries{problem}", answer.trim_end_matches(|c: char| c.is_ascii_digit()))
}

/// Splits a line as the shell does, without its quotes.
fn words(line: &str) -> Vec<String> {
    line.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect()
}

#[test]
fn commands_of_the_page_print_what_it_shows() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3");
        return;
    }
    let bench = Bench::new();
    let script = blocks(PAGE).into_iter().find(|(language, _)| *language == "python").unwrap().1;
    let rooms = Rooms::start(&bench, script);
    let run = |line: &str| {
        let line = words(&rooms.here(line));
        assert_eq!(line[0], "cluster-client");
        let arguments: Vec<&str> = line[1..].iter().map(String::as_str).collect();
        Ran::of(bench.command(&arguments).env_remove("HOSTS"))
    };
    // A probe must find the room closing at its last try, and gone after the settle time, as with the defaults.
    let delays = "first_delay = \"2ms\"\nmax_delay = \"50ms\"\nsettle = \"2500ms\"\n";
    let mut compared = 0;
    for (language, text) in blocks(PAGE) {
        match language {
            "toml" if text.contains("[create]") => drop(bench.write("rooms.toml", text)),
            "toml" if text.contains("rooms.toml") => bench.configure(&format!("{delays}{}", rooms.here(text))),
            "console" => {
                for (line, shown) in commands(text) {
                    let ran = run(line);
                    let printed = if ran.out.is_empty() { &ran.err } else { &ran.out };
                    let printed = printed.replace(bench.path("").to_str().unwrap(), "/home/you/rooms/");
                    let shown = rooms.here(&format!("{shown}\n"));
                    assert_eq!(comparable(&printed), comparable(&shown), "{line}\n{ran:#?}");
                    compared += 1;
                }
            }
            _ => {}
        }
    }
    assert!(compared >= 8, "only {compared}");
    killed_delete_is_recovered_with_its_mapping(&bench, &rooms, &run);
}

/// The section about the journal: a killed delete, and its recovery without the mapping and with it.
fn killed_delete_is_recovered_with_its_mapping(bench: &Bench, rooms: &Rooms, run: &dyn Fn(&str) -> Ran) {
    run("cluster-client create lobby").exits(0);
    let mut delete = Running::of(bench.command(&["delete", "lobby", "--yes"]).env_remove("HOSTS"));
    delete.wait_until_it_reports("lobby: deleting");
    delete.kill();
    bench.configure("settle = \"20ms\"\nfirst_delay = \"2ms\"\nmax_delay = \"50ms\"\n");
    let shown = |ran: &Ran| {
        let text = ran.out.lines().map(|line| line.trim_end().to_owned() + "\n").collect::<String>();
        assert!(rooms.here(PAGE).contains(&text), "the page does not show:\n{text}");
    };
    shown(&run("cluster-client recover").exits(4));
    let first = blocks(PAGE).into_iter().find(|(language, text)| *language == "toml" && text.contains("[create]"));
    bench.write("first.toml", first.unwrap().1);
    run("cluster-client recover --api ./first.toml").exits(4);
    shown(&run("cluster-client recover --api ./rooms.toml").exits(0));

    let wrong = "cluster-client status lobby --hosts http://127.0.0.1:9001/oops";
    shown(&run(&format!("{wrong} --api ./first.toml")).exits(1));
    let typo = first.unwrap().1.replace("absent = [404]\n\n[delete]", "absnt = [404]\n\n[delete]");
    bench.write("rooms.toml", typo);
    let refused = run(&format!("{wrong} --api ./rooms.toml")).exits(2);
    let message = refused.err.lines().next_back().unwrap();
    assert!(PAGE.contains(message), "the page does not show: {message}");
}

/// Each refusal in the table of the page is a text of the source, so that a changed error changes the page.
#[test]
fn refusals_of_the_page_are_those_of_the_source() {
    const SOURCES: [&str; 9] = [
        include_str!("../../src/api/mapping_file.rs"),
        include_str!("../../src/api/presets.rs"),
        include_str!("../../src/values/api/builder.rs"),
        include_str!("../../src/values/api/call.rs"),
        include_str!("../../src/values/api/headers.rs"),
        include_str!("../../src/values/api/ids.rs"),
        include_str!("../../src/values/api/mod.rs"),
        include_str!("../../src/values/api/pattern.rs"),
        include_str!("../../src/values/api/template.rs"),
    ];
    let table = PAGE.split("| refusal | what it means |").nth(1).unwrap().split("\n## ").next().unwrap();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split("` |").next());
    let refusals: Vec<String> =
        cells.flat_map(|cell| cell.split('`').step_by(2)).map(|text| text.replace("\\|", "|")).collect();
    assert!(refusals.len() > 30, "{refusals:?}");
    for refusal in refusals {
        assert!(SOURCES.iter().any(|source| source.contains(&refusal)), "no source has {refusal:?}");
    }
}

/// Each preset is in the table, with the versions that its file names.
#[test]
fn presets_of_the_page_are_those_of_the_library() {
    let table = PAGE.split("| preset | thing |").nth(1).unwrap().split("\n\n").next().unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
    let mut names: Vec<&str> = rows.iter().map(|row| row.split('`').nth(1).unwrap()).collect();
    for (name, row) in names.iter().zip(&rows) {
        let file = format!("{}/presets/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(file).unwrap();
        let certified = text.lines().find(|line| line.to_ascii_lowercase().contains("certified")).unwrap();
        let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
        let versions = certified.split([' ', ',', ';']).map(|word| word.trim_end_matches('.')).filter(is_version);
        let versions: Vec<&str> = versions.collect();
        // The version of the module dav-ext is in the file only.
        let missing: Vec<_> = versions.iter().filter(|version| !row.contains(**version)).collect();
        assert!(missing.is_empty() || *name == "nginx-dav" && missing == [&"3.0.0"], "{name}: {missing:?}");
        assert_eq!(versions.is_empty(), row.contains("not certified"), "{name}");
    }
    names.sort_unstable();
    assert_eq!(names, cluster_client::Api::presets().collect::<Vec<_>>());
}
