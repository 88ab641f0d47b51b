//! Every exit code, with its table.

use cluster_client::testing::{Fault, Method};

use crate::bench::{Bench, name};

#[test]
fn create_verified_on_every_host_exits_0() {
    let bench = Bench::new();
    let ran = bench.run(&["create", "payments"]).exits(0);
    let [a, b, c] = [0, 1, 2].map(|node| name(&bench, node));
    assert_eq!(
        ran.table(),
        format!(
            "{a} created T verified T\n{b} created T verified T\n{c} created T verified T\n\
             payments is on 3 of 3 hosts (T)\n"
        )
    );
    assert!(bench.cluster.all_have("payments"));
    assert_eq!(ran.err, "payments: asking the hosts\npayments: creating\n");
}

#[test]
fn create_that_fails_on_one_host_is_rolled_back_and_exits_1() {
    let bench = Bench::new();
    bench.cluster.node(2).inject(Fault::answer(503).on(Method::Post).always());
    let ran = bench.run(&["create", "payments"]).exits(1);
    let [a, b, c] = [0, 1, 2].map(|node| name(&bench, node));
    assert_eq!(
        ran.table(),
        format!(
            "{a} created deleted absent\n{b} created deleted absent\n{c} 503, 3 tries (T) was not there absent\n\
             not created: {c} answered 503 to create, 3 tries. Rolled back: absent on 3 of 3 hosts.\n\
             Next: cluster-client create {} payments\n",
            bench.options()
        )
    );
    assert!(bench.cluster.none_has("payments"));
    assert!(bench.run(&["recover"]).exits(0).out.is_empty());
}

#[test]
fn columns_are_aligned() {
    let bench = Bench::new();
    bench.cluster.node(2).inject(Fault::answer(503).on(Method::Post).always());
    let ran = bench.run(&["create", "payments"]).exits(1);
    let places: Vec<usize> = ran.out.lines().take(3).map(|line| line.rfind("absent").unwrap()).collect();
    assert_eq!(places, [places[0]; 3], "{}", ran.out);
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn create_with_an_unreachable_host_changes_nothing_and_exits_1() {
    let bench = Bench::new();
    bench.cluster.node(1).stop();
    let ran = bench.run(&["create", "payments"]).exits(1);
    let ran = ran
        .prints(&format!("Nothing was changed.\nNext: cluster-client create {} payments\n", bench.options()))
        .prints("unreachable");
    assert!(ran.out.contains(&format!("not created: {}", name(&bench, 1))), "{}", ran.out);
    assert_eq!(bench.count(Method::Post), 0);
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn invalid_value_exits_2() {
    let bench = Bench::new();
    bench.run(&["create", "payments", "--attempts", "0"]).exits(2);
    bench.assert_untouched();
}

#[test]
fn delete_that_a_host_refuses_exits_3_and_names_the_host() {
    let bench = Bench::new();
    bench.run(&["create", "payments"]).exits(0);
    bench.cluster.node(1).inject(Fault::answer(501).on(Method::Delete).always());
    let ran = bench.run(&["delete", "payments", "--yes"]).exits(3);
    let kept = name(&bench, 1);
    let ran = ran.prints(&format!("not deleted everywhere: {kept} has payments.\nNext: cluster-client recover "));
    assert!(ran.table().contains(&format!("{kept} 501 present\n")), "{}", ran.out);
    assert_eq!(bench.cluster.holders("payments"), [1]);

    bench.cluster.node(1).clear_faults();
    bench.run(&["recover"]).exits(0).prints("payments is settled: absent on ");
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn delete_that_a_host_does_not_answer_exits_4() {
    let bench = Bench::new();
    bench.run(&["create", "payments"]).exits(0);
    bench.cluster.node(2).stop();
    let ran = bench.run(&["delete", "payments", "--yes"]).exits(4);
    ran.prints(&format!("{} may have payments.\nNext: cluster-client recover ", name(&bench, 2)));
    assert_eq!(bench.cluster.holders("payments"), [2]);

    bench.cluster.node(2).restart().unwrap();
    bench.run(&["recover"]).exits(0);
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn create_in_doubt_exits_4_and_names_recover() {
    let bench = Bench::new();
    bench.fail_after_the_probe(1);
    let ran = bench.run(&["create", "payments"]).exits(4);
    ran.prints(&format!("in doubt: {} may have payments (create: the connection was closed before", name(&bench, 1)))
        .prints("; answered 503 to delete, 5 tries).\nNext: cluster-client recover ");
    assert_eq!(bench.cluster.holders("payments"), [1]);

    bench.run(&["recover"]).exits(4).prints("in doubt: ").prints("\nNext: cluster-client recover ");
    assert_eq!(bench.cluster.holders("payments"), [1]);

    bench.cluster.node(1).clear_faults();
    bench.run(&["recover"]).exits(0);
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn create_in_doubt_without_a_journal_names_repair() {
    let bench = Bench::new();
    bench.fail_after_the_probe(1);
    let ran = bench.run(&["create", "two words", "--no-journal"]).exits(4);
    let options = format!("--hosts {} {} --no-journal", bench.urls(), bench.recover_options());
    ran.prints(&format!(
        "\nNext: cluster-client repair --to present {options} 'two words'\n  \
         or: cluster-client repair --to absent {options} 'two words'\n"
    ));
    assert!(bench.journal_entries().is_empty());

    bench.cluster.node(1).clear_faults();
    bench.run(&["repair", "two words", "--to", "absent", "--no-journal"]).exits(0);
    assert!(bench.cluster.none_has("two words"));
}

#[test]
fn create_of_an_existing_group_exits_5_and_changes_nothing() {
    let bench = Bench::new();
    bench.cluster.node(1).insert("payments");
    let ran = bench.run(&["create", "payments"]).exits(5);
    let options = bench.options();
    ran.prints(&format!(
        "not created: {} already has payments, and 2 of 3 hosts do not. Nothing was changed.\n\
         Next: cluster-client repair --to present {options} payments\n  \
         or: cluster-client repair --to absent {options} payments\n",
        name(&bench, 1)
    ));
    assert_eq!(bench.cluster.holders("payments"), [1]);
    assert_eq!(bench.count(Method::Post) + bench.count(Method::Delete), 0);
    bench.run(&["repair", "payments", "--to", "present"]).exits(0);
    assert!(bench.cluster.all_have("payments"));
    let ran = bench.run(&["create", "payments"]).exits(5);
    assert!(ran.out.ends_with(" already have payments. Nothing was changed.\n"), "{ran:#?}");
}

#[test]
fn create_of_an_existing_group_without_preflight_is_rolled_back_on_the_other_hosts() {
    let bench = Bench::new();
    bench.cluster.node(1).insert("payments");
    let ran = bench.run(&["create", "payments", "--no-preflight"]).exits(5);
    let ran = ran.prints(&format!("not created: {} already has payments, and 2 of 3 hosts do not.", name(&bench, 1)));
    // Another client may be creating it at this moment, so a person looks before a repair.
    assert!(ran.out.ends_with(&format!("\nNext: cluster-client status {} payments\n", bench.options())), "{ran:#?}");
    assert_eq!(bench.cluster.holders("payments"), [1], "the existing group is not deleted");
}

#[test]
fn status_exits_0_on_all_1_on_none_3_when_mixed_4_when_unknown() {
    let bench = Bench::new();
    let [a, b, c] = [0, 1, 2].map(|node| name(&bench, node));
    let ran = bench.run(&["status", "payments"]).exits(1);
    assert_eq!(ran.table(), format!("{a} absent {b} absent {c} absent\npayments is on none of 3 hosts\n"));

    bench.cluster.node(0).insert("payments");
    bench.cluster.node(2).insert("payments");
    let ran = bench.run(&["status", "payments"]).exits(3);
    assert_eq!(
        ran.table(),
        format!(
            "{a} present {b} absent {c} present\n\
             mixed: on 2 of 3 hosts.\n\
             Next: cluster-client repair --to present {options} payments\n\
             or: cluster-client repair --to absent {options} payments\n",
            options = bench.options()
        )
    );

    bench.cluster.node(1).insert("payments");
    let ran = bench.run(&["status", "payments"]).exits(0);
    assert_eq!(ran.table(), format!("{a} present {b} present {c} present\npayments is on 3 of 3 hosts\n"));

    bench.cluster.node(1).stop();
    let ran = bench.run(&["status", "payments"]).exits(4);
    ran.prints(&format!("unknown on {b}: "))
        .prints(&format!("\nNext: cluster-client status {} payments\n", bench.options()));
    assert_eq!(bench.count(Method::Post) + bench.count(Method::Delete), 0);
    assert!(bench.cluster.all_have("payments"));
}

#[test]
fn repair_drives_every_host_to_the_named_state() {
    let bench = Bench::new();
    bench.cluster.node(1).insert("payments");
    let ran = bench.run(&["repair", "payments", "--to", "present"]).exits(0);
    let changed = format!("payments is on 3 of 3 hosts; changed on {}, {}", name(&bench, 0), name(&bench, 2));
    ran.prints(&changed);
    assert!(bench.cluster.all_have("payments"));

    bench.cluster.node(1).remove("payments");
    bench
        .run(&["repair", "payments", "--to", "absent"])
        .exits(0)
        .prints("payments is absent on 3 of 3 hosts; changed on ");
    assert!(bench.cluster.none_has("payments"));
    bench.run(&["repair", "payments", "--to", "absent"]).exits(0).prints("; nothing had to be changed");
}

#[test]
fn repair_that_a_host_refuses_exits_3_and_without_an_answer_4() {
    let bench = Bench::new();
    bench.cluster.node(0).insert("payments");
    bench.cluster.node(1).inject(Fault::answer(422).on(Method::Post).always());
    let ran = bench.run(&["repair", "payments", "--to", "present"]).exits(3);
    ran.prints(&format!("{} lacks payments", name(&bench, 1))).prints("\nNext: cluster-client repair --to present ");
    assert_eq!(bench.cluster.holders("payments"), [0, 2]);

    bench.cluster.node(1).stop();
    bench.run(&["repair", "payments", "--to", "absent"]).exits(4).prints("\nNext: cluster-client repair --to absent ");
    assert!(bench.cluster.none_has("payments"));
}

#[test]
fn exit_of_several_groups_is_the_most_urgent_one() {
    let bench = Bench::new();
    bench.cluster.node(0).insert("there");
    bench.run(&["create", "new", "there"]).exits(5);
    bench.run(&["status", "new", "nowhere"]).exits(1);
    bench.run(&["status", "new", "nowhere", "there"]).exits(3);
    assert!(bench.cluster.all_have("new"));
    assert_eq!(bench.cluster.holders("there"), [0]);
}

#[test]
fn create_beyond_its_timeout_is_rolled_back() {
    let bench = Bench::new();
    bench.configure_also("");
    bench.cluster.node(1).inject(Fault::mute().on(Method::Post));
    let ran = bench.run(&["create", "payments", "--timeout", "300ms"]).exits(1);
    ran.prints("Rolled back: absent on 3 of 3 hosts.");
    assert!(bench.cluster.none_has("payments"));
}
