//! demo: the main job, shown on nodes of its own. Each command is really run, as a process of its own, and
//! after each act the nodes themselves are asked whether the promise was kept.

mod stage;

use std::time::Duration;

use cluster_client::testing::{Entry, Fault, Method, Node};

use self::stage::Stage;
use crate::args::GlobalOptions;
use crate::exit::{CliError, Exit};
use crate::output::{Output, eprint};

const HOSTS: usize = 3;

pub(crate) fn play(global: &GlobalOptions, output: &mut Output) -> Result<Exit, CliError> {
    let mut stage = Stage::set(global, HOSTS, output).map_err(|error| stopped(&error))?;
    stage.tell(&format!(
        "A cluster of {HOSTS} nodes runs in this process, each with its own address and its own memory:\n  {}\n\
         They know nothing of each other. A group shall be on all of them, or on none.",
        stage.cluster.urls().join("  ")
    ));
    for act in [create, rollback, lost_answer, crash, delete] {
        act(&mut stage).map_err(|error| stopped(&error))?;
    }
    let broken = stage.broken();
    if broken == 0 {
        stage.tell("\nEvery promise was kept.\nNext: cluster-client --help");
        return Ok(Exit::Done);
    }
    eprint(&format!("error: promises that were not kept: {broken}; see above"));
    Ok(Exit::Unchanged)
}

fn stopped(error: &std::io::Error) -> CliError {
    match error.kind() {
        // The stage was cleared under us, and the process is about to leave.
        std::io::ErrorKind::Interrupted => CliError { exit: Exit::Interrupted, message: "interrupted".into() },
        _ => CliError::unchanged(format!("the demo cannot go on: {error}")),
    }
}

type Played = std::io::Result<()>;

fn create(stage: &mut Stage<'_>) -> Played {
    stage.act("A create", "Every node is asked, then each gets the group, then each has to show it.");
    stage.run(&["create", "payments"], Exit::Done)?;
    stage.promise("payments", HOSTS);
    stage.run(&["status", "payments"], Exit::Done)?;
    Ok(())
}

fn rollback(stage: &mut Stage<'_>) -> Played {
    stage.act(
        "A rollback",
        "The third node now answers 503 to every create. The client tries again, gives up, and takes the\n\
         group from the two nodes that had made it. (A 503 may come although the node did the work, so that\n\
         node is looked at twice.)",
    );
    stage.cluster.node(2).inject(Fault::answer(503).on(Method::Post).always());
    stage.run(&["create", "orders"], Exit::Unchanged)?;
    stage.promise("orders", 0);
    stage.cluster.node(2).clear_faults();
    Ok(())
}

fn lost_answer(stage: &mut Stage<'_>) -> Played {
    stage.act(
        "A lost answer",
        "The second node makes the group, and its answer gets lost on the way. The client cannot know that.\n\
         It tries again, is told 400, believes neither, and asks: the group is there.",
    );
    stage.cluster.node(1).inject(Fault::drop_connection().after_applying().on(Method::Post));
    stage.run(&["create", "invoices"], Exit::Done)?;
    stage.promise("invoices", HOSTS);

    stage.tell("\nThe same again, but now the third node fails too. What nobody confirmed has to be undone as well.");
    stage.cluster.node(1).inject(Fault::drop_connection().after_applying().on(Method::Post).times(3));
    stage.cluster.node(2).inject(Fault::answer(503).on(Method::Post).always());
    stage.run(&["create", "refunds"], Exit::Unchanged)?;
    stage.promise("refunds", 0);
    stage.cluster.nodes().iter().for_each(Node::clear_faults);
    Ok(())
}

fn crash(stage: &mut Stage<'_>) -> Played {
    stage.act(
        "A crash",
        "The first node makes the group, the other two do not answer. Then the client is killed (SIGKILL): it has\n\
         no chance to undo anything.",
    );
    for node in &stage.cluster.nodes()[1..] {
        node.inject(Fault::mute().on(Method::Post));
    }
    stage.start(&["create", "ledger"])?;
    // Every node has read its request by then: none is left on the way, to be done after the kill.
    let asked = |entry: &Entry| entry.method == Method::Post && entry.group.as_deref() == Some("ledger");
    let patience = Duration::from_secs(5);
    let arrived = stage.cluster.nodes().iter().all(|node| node.wait_until(|node| node.log().any(asked), patience));
    let made = stage.cluster.node(0).wait_until(|node| node.has("ledger"), patience);
    stage.kill();
    stage.check(arrived && made, "the first node made the group before the kill");
    stage.cluster.nodes().iter().for_each(Node::clear_faults);
    stage.run(&["status", "ledger"], Exit::Inconsistent)?;
    stage.promise("ledger", 1);

    stage.tell("\nBefore its first request the client had noted in its journal what it was about to do.");
    stage.run(&["recover"], Exit::Done)?;
    stage.promise("ledger", 0);
    stage.run(&["recover"], Exit::Done)?;
    Ok(())
}

fn delete(stage: &mut Stage<'_>) -> Played {
    stage.act("A delete", "From every node, whatever happens on the others.");
    stage.run(&["delete", "payments", "invoices", "--yes"], Exit::Done)?;
    stage.promise("payments", 0);
    stage.promise("invoices", 0);
    Ok(())
}
