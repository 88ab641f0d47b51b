//! Many hosts and many groups stay readable: equal hosts share a line, a bulk ends with totals.

use cluster_client::testing::{Fault, Method};

use crate::bench::{Bench, Ran, list, name};

#[test]
fn more_than_16_hosts_share_a_line_and_failures_are_last_and_named() {
    let bench = Bench::of(17);
    let ran = bench.run(&["create", "payments"]).exits(0);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.out);
    assert!(lines[0].starts_with("  17 hosts  created ") && lines[0].contains("  verified "), "{}", ran.out);
    assert!(lines[1].starts_with("payments is on 17 of 17 hosts ("), "{}", ran.out);
    let all = bench.run(&["status", "payments", "--all"]).exits(0);
    assert_eq!(all.table().matches(" present").count(), 17, "{}", all.out);

    bench.run(&["delete", "payments", "--yes"]).exits(0);
    for node in 2..14 {
        bench.cluster.node(node).inject(Fault::answer(422).on(Method::Post).always());
    }
    bench.cluster.node(16).inject(Fault::answer(507).on(Method::Post).always());
    let ran = bench.run(&["create", "payments"]).exits(1);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines.iter().any(|line| line.contains("  422") && line.contains("12 hosts")), "{}", ran.out);
    assert!(lines.iter().any(|line| line.contains(" 507") && line.contains(&name(&bench, 16))), "{}", ran.out);
    let summary = lines.iter().position(|line| line.starts_with("not created: ")).unwrap();
    assert!(lines[..summary].iter().any(|line| line.contains("and 2 more (--all shows each host)")), "{}", ran.out);
    assert!(
        lines[summary].contains("answered 422 to create") && lines[summary].contains("answered 507"),
        "{}",
        ran.out
    );
    assert!(bench.cluster.none_has("payments"));
    let all = bench.run(&["create", "payments", "--all"]).exits(1);
    assert_eq!(all.out.matches("  422").count(), 12, "{}", all.out);
}

#[test]
fn up_to_16_hosts_have_a_line_each() {
    let bench = Bench::of(16);
    let ran = bench.run(&["create", "payments"]).exits(0);
    for node in 0..16 {
        ran.out.lines().find(|line| line.contains(&name(&bench, node))).unwrap();
    }
}

#[test]
fn every_host_that_failed_says_why_and_the_summary_names_each_failure() {
    let bench = Bench::new();
    bench.cluster.node(1).stop();
    bench.cluster.node(2).inject(Fault::answer(503).on(Method::Get).always());
    let ran = bench.run(&["create", "payments"]).exits(1);
    let [_, down, busy] = [0, 1, 2].map(|node| name(&bench, node));
    ran.out.lines().find(|line| line.contains(&down) && line.contains("unreachable (connection refused")).unwrap();
    ran.out.lines().find(|line| line.contains(&busy) && line.contains("unknown (answered 503 to check")).unwrap();
    let summary = ran.out.lines().find(|line| line.starts_with("not created: ")).unwrap();
    assert!(summary.contains(&format!("{down}: connection refused")), "{summary}");
    assert!(summary.contains(&format!("{busy} answered 503")), "{summary}");
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn bulk_is_in_the_order_of_its_input_and_ends_with_totals_and_one_next_for_each_kind() {
    let bench = Bench::new();
    bench.write("groups.txt", list(40));
    let node = bench.cluster.node(1);
    node.inject(Fault::delay(std::time::Duration::from_millis(300)).on(Method::Post).group("group-0"));
    for group in ["group-3", "group-30"] {
        node.inject(Fault::answer(422).on(Method::Post).group(group).always());
    }
    bench.cluster.node(0).insert("group-5");
    let ran = bench.run(&["create", "-f", "groups.txt"]).exits(1);
    let begins = |number: usize| format!("group-{number}");
    let groups: Vec<&str> = ran.out.lines().filter(|line| line.starts_with("group-")).collect();
    assert_eq!(groups.len(), 40);
    for (number, line) in groups.iter().enumerate() {
        let name = line.split([' ', ':']).next().unwrap();
        assert_eq!(name, begins(number), "{}", ran.out);
    }
    assert!(ran.out.contains("\ngroup-3: not created: "), "{}", ran.out);
    let end: Vec<&str> = ran.out.lines().skip_while(|line| !line.starts_with("37 created")).collect();
    let options = bench.options();
    let expected = [
        "37 created, 2 rolled back, 1 mixed".to_owned(),
        format!("Next: cluster-client create {options} group-3 group-30"),
        format!("Next: cluster-client repair --to present {options} group-5"),
        format!("  or: cluster-client repair --to absent {options} group-5"),
    ];
    assert_eq!(end, expected);
    assert!(bench.cluster.none_has("group-3") && bench.cluster.none_has("group-30"));
    assert_eq!(bench.cluster.holders("group-5"), [0]);
    assert!((0..40).filter(|number| ![3, 5, 30].contains(number)).all(|n| bench.cluster.all_have(&begins(n))));
}

#[test]
fn many_failed_groups_of_a_file_are_named_by_the_file() {
    let bench = Bench::new();
    let file = bench.write("my groups.txt", list(8));
    for number in 0..5 {
        bench.cluster.node(2).inject(Fault::answer(422).on(Method::Post).group(format!("group-{number}")));
    }
    let ran = bench.run(&["create", "-f", "my groups.txt"]).exits(1);
    let next = ran.out.lines().last().unwrap();
    let expected =
        format!("Next: cluster-client create --exist-ok {} -f '{}'", bench.options(), file.to_str().unwrap());
    assert_eq!(next, expected);
    // The faults are over, so the command succeeds for all groups.
    let line = next.trim_start_matches("Next: cluster-client ");
    let script = format!("'{}' {line}", env!("CARGO_BIN_EXE_cluster-client"));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).current_dir("/").env_clear().env("XDG_STATE_HOME", bench.path("state"));
    let ran = Ran::of(&mut shell).exits(0);
    assert!(ran.out.ends_with("5 created, 3 already there as wanted\n"), "{}", ran.out);
    assert!((0..8).all(|number| bench.cluster.all_have(&format!("group-{number}"))));
}

#[test]
fn recovery_comes_before_other_next_commands_of_a_bulk() {
    let bench = Bench::new();
    bench.cluster.node(0).inject(Fault::answer(422).on(Method::Post).group("refused").always());
    let node = bench.cluster.node(1);
    node.inject(Fault::delay(std::time::Duration::ZERO).on(Method::Get).group("doubtful"));
    node.inject(Fault::answer(503).on(Method::Get).group("doubtful").always());
    node.inject(Fault::drop_connection().after_applying().on(Method::Post).group("doubtful").always());
    node.inject(Fault::answer(503).on(Method::Delete).group("doubtful").always());
    let ran = bench.run(&["create", "refused", "doubtful", "fine"]).exits(4);
    let ran = ran.prints("\n1 created, 1 rolled back, 1 in doubt\nNext: ");
    let next: Vec<&str> = ran.out.lines().filter(|line| line.starts_with("Next: ")).collect();
    assert_eq!(next[0], format!("Next: cluster-client recover {}", bench.recover_options()));
    assert_eq!(next[1], format!("Next: cluster-client create {} refused", bench.options()));
    assert_eq!(next.len(), 2);
    assert_eq!(bench.cluster.holders("doubtful"), [1]);
    node.clear_faults();
    bench.run(&["recover"]).exits(0);
    assert!(bench.cluster.none_has("doubtful") && bench.cluster.all_have("fine"));
}

#[test]
fn status_of_a_list_is_a_matrix() {
    let bench = Bench::new();
    for group in ["one", "two"] {
        bench.cluster.node(0).insert(group);
    }
    bench.cluster.node(1).insert("two");
    bench.cluster.node(2).insert("two");
    bench.cluster.node(1).inject(Fault::answer(422).on(Method::Get).group("four").always());
    let ran = bench.run(&["status", "one", "two", "three", "four"]).exits(3);
    let hosts = [0, 1, 2].map(|node| name(&bench, node)).join(" ");
    let next = |state: &str| format!("cluster-client repair --to {state} {} one", bench.options());
    assert_eq!(
        ran.table(),
        format!(
            "group {hosts}\n\
             one present absent absent mixed\n\
             two present present present on every host\n\
             three absent absent absent on none\n\
             four absent unknown absent unknown\n\
             {} answered 422 to check\n\
             1 on every host, 1 mixed, 1 on none, 1 unknown\n\
             Next: {}\nor: {}\nNext: cluster-client status {} four\n",
            name(&bench, 1),
            next("present"),
            next("absent"),
            bench.options()
        )
    );
    assert_eq!(bench.count(Method::Post) + bench.count(Method::Delete), 0);
}

#[test]
fn matrix_that_is_too_wide_is_folded() {
    let bench = Bench::new();
    bench.cluster.node(0).insert("one");
    for node in bench.cluster.nodes() {
        node.insert("two");
    }
    let mut command = bench.command(&["status", "one", "two", "three"]);
    let ran = Ran::of(command.env("COLUMNS", "60")).exits(3);
    assert!(ran.out.starts_with("one: mixed: on 1 of 3 hosts.\n  "), "{}", ran.out);
    let [a, b, _] = [0, 1, 2].map(|node| name(&bench, node));
    assert!(ran.table().contains(&format!("\n{a} present {b} absent\n")), "{}", ran.out);
    ran.prints("\ntwo is on 3 of 3 hosts\nthree is on none of 3 hosts\n1 on every host, 1 mixed, 1 on none\nNext: ");
}

#[test]
fn repair_of_many_mixed_groups_of_a_file_is_for_those_groups_only() {
    let bench = Bench::new();
    bench.write("groups.txt", list(70));
    for number in 0..60 {
        bench.cluster.node(0).insert(&format!("group-{number}"));
    }
    let ran = bench.run(&["status", "-f", "groups.txt"]).exits(3);
    let ran =
        ran.prints("60 mixed, 10 on none\nThe next command is for 50 of 60 groups; repeat it for the others.\nNext: ");
    let next = ran.out.lines().find(|line| line.starts_with("Next: ")).unwrap();
    assert!(next.contains(" group-0 ") && next.ends_with(" group-49"), "{next}");
}
