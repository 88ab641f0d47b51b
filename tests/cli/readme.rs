//! The README: its commands print what it shows, and its table of errors has their exit codes.

use cluster_client::testing::{Fault, Method};

use crate::bench::{Bench, Ran, name, timeless};
use crate::tutorial::{blocks, commands};

const PAGE: &str = include_str!("../../README.md");

/// Returns the text with the addresses of the README, and without the configuration of the tests, times, and empty lines.
fn comparable(bench: &Bench, text: &str) -> Vec<String> {
    let mut text = text.replace(&format!("{} ", bench.recover_options()), "");
    for node in 0..3 {
        text = text.replace(&name(bench, node), &format!("node{}:8000", node + 1));
    }
    timeless(&text).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The create fails on the third host after two retries, so that every other host has created the group before.
#[test]
fn commands_of_the_readme_print_what_it_shows() {
    let bench = Bench::new();
    bench.configure("first_delay = \"200ms\"\nsettle = \"20ms\"\n");
    bench.cluster.node(2).inject(Fault::answer(503).on(Method::Post).group("orders").always());
    let blocks = blocks(PAGE);
    let (_, console) = blocks.iter().find(|(language, _)| *language == "console").unwrap();
    let mut compared = Vec::new();
    for (line, shown) in commands(console) {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], "cluster-client");
        let ran = Ran::of(&mut bench.command(&words[1..]));
        assert_eq!(comparable(&bench, &ran.out), comparable(&bench, shown), "{line}\n{ran:#?}");
        compared.push(line);
    }
    assert_eq!(compared, ["cluster-client create payments", "cluster-client create orders"]);
    assert!(bench.cluster.all_have("payments") && bench.cluster.none_has("orders"));
}

/// Each error of the library has its row, with the exit code of its outcome in the source.
#[test]
fn table_of_errors_has_every_error_with_its_exit_code() {
    let (errors, outcomes) = (include_str!("../../src/values/error.rs"), include_str!("../../src/values/outcome.rs"));
    let variants = errors.split("/// | [`").skip(1).filter_map(|row| row.split('`').next());
    let table = PAGE.split("| error |").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut checked = 0;
    for variant in variants {
        let outcome = match variant {
            "Config" => "Refused",
            "Journal" => "JournalFailed",
            same => same,
        };
        let row = table.lines().find(|row| row.split(" | ").next().unwrap().contains(&format!("`{variant}`")));
        let row = row.unwrap_or_else(|| panic!("the README has no row for {variant}"));
        let code = outcomes.split(&format!("Outcome::{outcome} => (\"")).nth(1).unwrap();
        let code = code.split([' ', ')']).nth(1).unwrap();
        assert!(row.ends_with(&format!(" | {code} |")), "{variant} exits with {code}: {row}");
        checked += 1;
    }
    assert_eq!(checked, 12);
}

/// The contract has these rows, with more about them.
#[test]
fn http_contract_is_that_of_the_protocol() {
    let protocol = include_str!("../../docs/protocol.md");
    let rows: Vec<&str> = PAGE.lines().filter(|line| line.contains("{host}/v1/group/")).collect();
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert!(protocol.contains(&format!("{row}\n")), "docs/protocol.md has no row {row}");
    }
}
