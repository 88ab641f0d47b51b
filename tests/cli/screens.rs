//! Screens of a terminal, compared with stored pictures: `tests/cli/screens/*.term.svg` are dark, `*.light.svg` are light.
//! Addresses, paths and times are replaced before the emulator breaks the lines. `SNAPSHOTS=overwrite` stores what is
//! shown.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::num::NonZero;
use std::path::Path;

use anstyle::RgbColor;
use anstyle_svg::{Term, WIN10_CONSOLE};
use cluster_client::testing::{Fault, Method};
use snapbox::{Assert, Data};

use crate::bench::{Bench, list, text};
use crate::pty::OnTerminal;

const ROWS: u16 = 60;
const WIDTHS: [u16; 3] = [60, 100, 200];

/// Runs the command on a terminal of each width, and compares each screen.
#[track_caller]
fn assert_screens(bench: &Bench, name: &str, widths: &[u16], arguments: &[&str], code: i32) {
    for columns in widths {
        let screen = screen(bench, *columns, &[arguments, &["-q"]].concat(), code);
        Assert::new().action_env("SNAPSHOTS").eq(Data::text(&screen), stored(&format!("{name}-{columns}.term.svg")));
    }
}

/// Does the same, and compares the last screen with a stored one on a light background too.
#[track_caller]
fn assert_dark_and_light(bench: &Bench, name: &str, columns: u16, arguments: &[&str], code: i32) {
    let screen = screen(bench, columns, &[arguments, &["-q"]].concat(), code);
    let (black, white) = (RgbColor(0, 0, 0), RgbColor(255, 255, 255));
    let light = Term::new().palette(WIN10_CONSOLE).fg_color(black.into()).bg_color(white.into());
    let assert = Assert::new().action_env("SNAPSHOTS");
    assert.eq(Data::text(&screen), stored(&format!("{name}-{columns}.term.svg")));
    // A picture as text, so that its background is compared too.
    let picture = Data::text(light.render_svg(&screen));
    assert.eq(picture.raw(), stored(&format!("{name}-{columns}.light.svg")).raw());
}

fn stored(name: &str) -> Data {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/screens").join(name);
    Data::read_from(&path, None)
}

/// Runs the command, and returns the screen at its end.
#[track_caller]
fn screen(bench: &Bench, columns: u16, arguments: &[&str], code: i32) -> String {
    let ended = OnTerminal::start_at(bench, arguments, columns).watched().ends().exits(code);
    let shown = format!("$ cluster-client {}\r\n{}", arguments.join(" "), ended.written);
    painted_by_terminal(&normalised(bench, &shown), columns)
}

/// Returns the output with names of hosts, a path and times that are equal in every run.
fn normalised(bench: &Bench, shown: &str) -> String {
    let mut shown = shown.to_owned();
    for (number, node) in bench.cluster.nodes().iter().enumerate() {
        // A name of equal length, so that columns and lines stay as they are.
        let authority = node.url().trim_start_matches("http://").to_owned();
        let other = format!("n{number:03}.rack1:8000");
        assert_eq!(authority.len(), other.len(), "{authority}");
        shown = shown.replace(&authority, &other);
    }
    shown = shown.replace(text(bench.path("x").parent().unwrap()), "/home/me");
    aligned(&shown)
}

/// Replaces times, and aligns the columns of the lines of hosts again.
fn aligned(shown: &str) -> String {
    let mut aligned = String::new();
    let mut table: Vec<&str> = Vec::new();
    for line in shown.split("\r\n") {
        let plain = anstream::adapter::strip_str(line).to_string();
        // The names of hosts are within the table.
        if plain.starts_with(['✓', '✗', '?', '-']) || plain.starts_with("      ") {
            table.push(line);
        } else {
            write_table(&mut aligned, &rows(&table));
            table.clear();
            let _ = write!(aligned, "{}\r\n", without_times(line));
        }
    }
    write_table(&mut aligned, &rows(&table));
    aligned
}

/// Returns the cells of each line of a table. A line of names is one cell.
fn rows(table: &[&str]) -> Vec<Vec<String>> {
    let plain = |line: &str| anstream::adapter::strip_str(line).to_string().chars().collect::<Vec<char>>();
    let is_start = |line: &[char], at: usize| at > 2 && line[at - 2..at] == [' ', ' '] && line[at] != ' ';
    let has_cells = |line: &&&str| !plain(line).starts_with(&[' '; 6]);
    let starts: BTreeSet<usize> = table
        .iter()
        .filter(has_cells)
        .map(|line| plain(line))
        .flat_map(|line| (0..line.len()).filter(|at| is_start(&line, *at)).collect::<Vec<_>>())
        .collect();
    let cells = |line: &&str| {
        let cells = if has_cells(&line) { split_at_columns(line, &starts) } else { vec![(*line).to_owned()] };
        cells.iter().map(|cell| without_times(cell.trim_end())).collect()
    };
    table.iter().map(cells).collect()
}

/// Splits a line before these columns of the screen. The start of a style belongs to the text behind it.
fn split_at_columns(line: &str, starts: &BTreeSet<usize>) -> Vec<String> {
    let mut cells = vec![String::new()];
    let (mut column, mut escape, mut pending) = (0, String::new(), String::new());
    for c in line.chars() {
        if c == '\x1b' || !escape.is_empty() {
            escape.push(c);
            if c == 'm' {
                let is_end = escape == "\x1b[0m";
                let target = if is_end { cells.last_mut().unwrap() } else { &mut pending };
                target.push_str(&std::mem::take(&mut escape));
            }
            continue;
        }
        if starts.contains(&column) {
            cells.push(String::new());
        }
        let cell = cells.last_mut().unwrap();
        cell.push_str(&std::mem::take(&mut pending));
        cell.push(c);
        column += 1;
    }
    cells
}

fn write_table(text: &mut String, table: &[Vec<String>]) {
    let width = |cell: &String| anstream::adapter::strip_str(cell).to_string().chars().count();
    let has_cells = |row: &&Vec<String>| row.len() > 1;
    let columns = table.iter().map(Vec::len).max().unwrap_or(0);
    let widest =
        |column: usize| table.iter().filter(has_cells).filter_map(|row| row.get(column)).map(width).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    for row in table {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, widest)| format!("{cell}{:1$}", "", widest.saturating_sub(width(cell))));
        let _ = write!(text, "{}\r\n", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// Replaces `41 ms`, `<1 ms` and `3.2 s` by `9 ms` and `0.1 s`, and ranges of them.
fn without_times(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for place in 1..words.len() {
        let unit = words[place].clone();
        let unit = ["ms", "s"].into_iter().find(|known| {
            unit.strip_prefix(known).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
        });
        let Some(unit) = unit else { continue };
        let number = words[place - 1].trim_start_matches(['(', '<']);
        if number.parse::<f64>().is_err() {
            continue;
        }
        let open = if words[place - 1].starts_with('(') { "(" } else { "" };
        // Units of one time may differ from run to run.
        words[place] = words[place].replacen(unit, "ms", 1);
        words[place - 1] = format!("{open}9");
    }
    words.join(" ").replace("9 ms to 9 ms", "9 ms")
}

/// Returns the lines of the screen, as a terminal of this width shows them, with their colours.
fn painted_by_terminal(output: &str, columns: u16) -> String {
    let mut parser = vt100::Parser::new(NonZero::new(ROWS).unwrap(), NonZero::new(columns).unwrap(), 0);
    parser.process(output.as_bytes());
    let screen = parser.screen();
    let mut picture = String::new();
    for row in 0..ROWS {
        let mut line = String::new();
        let plain = (vt100::Color::Default, false, false);
        let mut style = plain;
        for cell in (0..columns).filter_map(|column| screen.cell(row, column)).filter(|c| !c.is_wide_continuation()) {
            let next = (cell.fgcolor(), cell.bold(), cell.underline());
            if next != style {
                style = next;
                line.push_str("\x1b[0m");
                if let vt100::Color::Idx(number) = style.0 {
                    write!(line, "\x1b[{}m", 30 + number).unwrap();
                }
                line.push_str(if style.1 { "\x1b[1m" } else { "" });
                line.push_str(if style.2 { "\x1b[4m" } else { "" });
            }
            line.push_str(if cell.has_contents() { cell.contents() } else { " " });
        }
        if style != plain {
            line.push_str("\x1b[0m");
        }
        picture.push_str(line.trim_end());
        picture.push('\n');
    }
    picture.trim_end().to_owned() + "\n"
}

#[test]
fn create_and_rollback_on_3_hosts() {
    let bench = Bench::new();
    assert_screens(&bench, "create-3", &[100], &["create", "payments"], 0);
    bench.cluster.node(2).inject(Fault::answer(507).on(Method::Post).always());
    assert_screens(&bench, "rollback-3", &[60], &["create", "orders"], 1);
    assert_dark_and_light(&bench, "rollback-3", 100, &["create", "orders"], 1);
    assert!(bench.cluster.all_have("payments") && bench.cluster.none_has("orders"));
}

#[test]
fn mixed_status_on_3_hosts() {
    let bench = Bench::new();
    bench.cluster.node(0).insert("payments");
    assert_screens(&bench, "mixed-3", &WIDTHS, &["status", "payments"], 3);
}

/// The host that fails is tried again, so that every other host has created the group before.
#[test]
fn rollback_on_40_hosts() {
    let bench = Bench::of(40);
    bench.configure("first_delay = \"400ms\"\nattempts = 2\nsettle = \"20ms\"\n");
    bench.cluster.node(33).inject(Fault::answer(503).on(Method::Post).always());
    assert_screens(&bench, "rollback-40", &WIDTHS, &["create", "payments"], 1);
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn delete_on_40_hosts_with_several_reasons() {
    let bench = Bench::of(40);
    for (number, node) in bench.cluster.nodes().iter().enumerate() {
        node.insert("payments");
        if (3..15).contains(&number) {
            node.inject(Fault::answer(403).on(Method::Delete).always());
        }
    }
    bench.cluster.node(33).inject(Fault::answer(501).on(Method::Delete).always());
    // At 60 columns the times decide where a line is broken.
    for columns in [100, 200] {
        for node in bench.cluster.nodes() {
            node.insert("payments");
        }
        assert_screens(&bench, "delete-40", &[columns], &["delete", "payments", "--yes", "--no-journal"], 3);
    }
    assert_eq!(bench.cluster.holders("payments").len(), 13);
}

#[test]
fn status_on_400_hosts() {
    let bench = Bench::of(400);
    for (number, node) in bench.cluster.nodes().iter().enumerate().filter(|(number, _)| number % 100 != 7) {
        node.insert("payments");
        if number % 30 == 11 {
            node.stop();
        }
    }
    let arguments = ["status", "payments", "--attempts", "1"];
    assert_screens(&bench, "status-400", &[60, 200], &arguments, 4);
    assert_dark_and_light(&bench, "status-400", 100, &arguments, 4);
}

#[test]
fn matrix_with_wide_combining_and_long_names() {
    let bench = Bench::new();
    let long = "a-group-with-a-very-long-name-that-has-exactly-seventy-characters-in-it";
    let groups = ["payments", "日本語のグループ", "e\u{301}tudes", "ｗｉｄｅ", long];
    for (number, group) in groups.iter().enumerate() {
        for node in bench.cluster.nodes().iter().skip(number % 3) {
            node.insert(group);
        }
    }
    let without_long = [&["status"], &groups[..4]].concat();
    assert_screens(&bench, "matrix", &WIDTHS, &without_long, 3);
    assert_screens(&bench, "matrix-long", &WIDTHS, &[&["status"], &groups[..]].concat(), 3);
}

#[test]
fn bulk_with_failures() {
    for columns in [60, 100] {
        let bench = Bench::new();
        bench.write("groups.txt", list(7));
        bench.cluster.node(1).inject(Fault::answer(422).on(Method::Post).group("group-3").always());
        bench.cluster.node(0).insert("group-5");
        assert_dark_and_light(&bench, "bulk-3", columns, &["create", "-f", "groups.txt"], 1);
    }
}

#[test]
fn help_of_the_program_and_of_a_command() {
    let bench = Bench::new();
    assert_screens(&bench, "help", &[80], &["help"], 0);
    assert_screens(&bench, "help-create", &[80], &["create", "--help"], 0);
    bench.assert_untouched();
}
