//! Many groups at once, from a file or standard input.

use cluster_client::testing::{Fault, Method};

use crate::bench::{Bench, Ran, list};

const LIST: &[u8] = b"# the groups of today\none\n\n  two  \r\n# three comes last\nthree";

#[test]
fn file_has_one_group_a_line_and_blank_lines_and_comments_are_skipped() {
    let bench = Bench::new();
    bench.write("groups.txt", LIST);
    let ran = bench.run(&["create", "-f", "groups.txt"]).exits(0);
    let lines: Vec<&str> = ran.out.lines().map(|line| line.split(" (").next().unwrap()).collect();
    let on_all = |group: &str| format!("{group} is on 3 of 3 hosts");
    assert_eq!(lines, [&on_all("one"), &on_all("two"), &on_all("three"), "3 created"]);
    for node in bench.cluster.nodes() {
        assert_eq!(node.groups(), ["one", "three", "two"]);
    }
    bench.run(&["delete", "-f", "groups.txt", "--yes"]).exits(0);
    for node in bench.cluster.nodes() {
        assert!(node.groups().is_empty());
    }
}

#[test]
fn list_is_read_from_standard_input() {
    let bench = Bench::new();
    let ran = Ran::with_input(&mut bench.command(&["create", "-f", "-", "-o", "json"]), LIST).exits(0);
    let mut groups: Vec<String> = ran.json().iter().map(|line| line["group"].as_str().unwrap().to_owned()).collect();
    groups.sort_unstable();
    assert_eq!(groups, ["one", "three", "two"]);
    Ran::with_input(&mut bench.command(&["status", "-f", "-"]), LIST).exits(0);
    Ran::with_input(&mut bench.command(&["delete", "-f", "-"]), LIST).exits(2).reports("delete 3 groups needs --yes");
    assert!(["one", "two", "three"].iter().all(|group| bench.cluster.all_have(group)));
}

#[test]
fn list_with_an_invalid_line_is_refused_as_a_whole() {
    let bench = Bench::new();
    for (list, words) in [
        (&b"one\n..\n"[..], "group \"..\" (from groups.txt, line 2)"),
        (b"one\ntwo\none\n", "group \"one\" (from groups.txt, line 1 and groups.txt, line 3) is there twice"),
        (b"one\n\xff\n", "groups.txt, line 2 is not UTF-8"),
        (b"# nothing\n\n", "groups.txt names no group"),
    ] {
        bench.write("groups.txt", list);
        bench.run(&["create", "-f", "groups.txt"]).exits(2).reports(words);
    }
    bench.run(&["create", "-f", "none.txt"]).exits(2).reports("cannot read the groups from none.txt: No such file");
    bench.run(&["create", "-f", "."]).exits(2).reports("cannot read the groups from .: ");
    bench.run(&["create", "one", "-f", "groups.txt"]).exits(2).reports("cannot be used with");
    bench.assert_untouched();
}

#[test]
fn failure_of_one_group_does_not_affect_the_others() {
    let bench = Bench::new();
    bench.write("groups.txt", list(200));
    bench.cluster.node(1).inject(Fault::answer(422).on(Method::Post).group("group-77").always());
    let ran = bench.run(&["create", "-f", "groups.txt"]).exits(1);
    assert_eq!(ran.out.lines().filter(|line| line.contains(" is on 3 of 3 hosts")).count(), 199);
    let ran = ran.prints("absent").prints("not created: ");
    assert!(bench.cluster.none_has("group-77"));
    for number in (0..200).filter(|number| *number != 77) {
        assert!(bench.cluster.all_have(&format!("group-{number}")));
    }
    // Without a terminal, there is a line for each tenth.
    assert_eq!(ran.err.lines().count(), 10, "{}", ran.err);
    assert!(ran.err.ends_with("200 of 200 groups\n"));
}
