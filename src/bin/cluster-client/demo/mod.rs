//! demo: shows the main commands on nodes of its own. Each command runs as a process. Afterwards the nodes are checked
//! for the groups that they have.

mod stage;

use std::time::Duration;

use cluster_client::Outcome;
use cluster_client::testing::{Entry, Fault, Method, Node};

use self::stage::Stage;
use crate::args::GlobalOptions;
use crate::exit::{CliError, Exit};
use crate::output::{Output, eprint};

const HOSTS: usize = 3;

pub(crate) fn run(global: &GlobalOptions, output: &mut Output) -> Result<Exit, CliError> {
    let mut stage = Stage::new(global, HOSTS, output).map_err(|error| stopped(&error))?;
    stage.print(&format!(
        "A cluster of {HOSTS} nodes runs in this process, each with its own address and its own memory:\n  {}\n\
         The nodes do not communicate. A group has to be on all of them, or on none.",
        stage.cluster.urls().join("  ")
    ));
    for chapter in [create, rollback, lost_answer, crash, delete] {
        chapter(&mut stage).map_err(|error| stopped(&error))?;
    }
    let failed = stage.failed_checks();
    if failed == 0 {
        stage.print("\nAll results are as expected.\nNext: cluster-client --help");
        return Ok(Exit::Done);
    }
    eprint(&format!("error: {failed} results are not as expected; see above"));
    Ok(Exit::Unchanged)
}

fn stopped(error: &std::io::Error) -> CliError {
    match error.kind() {
        // A signal has stopped the demo, and its thread ends the process.
        std::io::ErrorKind::Interrupted => {
            CliError { exit: Exit::Interrupted, outcome: Outcome::Cancelled, message: "interrupted".into() }
        }
        _ => CliError::unchanged(format!("the demo cannot continue: {error}")),
    }
}

type ChapterResult = std::io::Result<()>;

fn create(stage: &mut Stage<'_>) -> ChapterResult {
    stage.chapter("A create", "Every node is asked for the group, then it is created, then every node is asked again.");
    stage.run(&["create", "payments"], Exit::Done)?;
    stage.check_holders("payments", HOSTS);
    stage.run(&["status", "payments"], Exit::Done)?;
    Ok(())
}

fn rollback(stage: &mut Stage<'_>) -> ChapterResult {
    stage.chapter(
        "A rollback",
        "The third node now answers 503 to every create. The client retries, stops, and deletes the group from\n\
         the two nodes that have created it. (A node may answer 503 although it has created the group, so that\n\
         node is checked twice.)",
    );
    stage.cluster.node(2).inject(Fault::answer(503).on(Method::Post).always());
    stage.run(&["create", "orders"], Exit::Unchanged)?;
    stage.check_holders("orders", 0);
    stage.cluster.node(2).clear_faults();
    Ok(())
}

fn lost_answer(stage: &mut Stage<'_>) -> ChapterResult {
    stage.chapter(
        "A lost answer",
        "The second node creates the group, but its answer is lost. The client retries, and the node answers 400.\n\
         Neither shows whether the group was created, so the client asks the node: the group is there.",
    );
    stage.cluster.node(1).inject(Fault::drop_connection().after_applying().on(Method::Post));
    stage.run(&["create", "invoices"], Exit::Done)?;
    stage.check_holders("invoices", HOSTS);

    stage.print("\nNow the third node fails too. Creates without an answer have to be rolled back as well.");
    stage.cluster.node(1).inject(Fault::drop_connection().after_applying().on(Method::Post).times(3));
    stage.cluster.node(2).inject(Fault::answer(503).on(Method::Post).always());
    stage.run(&["create", "refunds"], Exit::Unchanged)?;
    stage.check_holders("refunds", 0);
    stage.cluster.nodes().iter().for_each(Node::clear_faults);
    Ok(())
}

fn crash(stage: &mut Stage<'_>) -> ChapterResult {
    stage.chapter(
        "A crash",
        "The first node creates the group, the other two do not answer. Then the client is killed (SIGKILL), so it\n\
         cannot roll back.",
    );
    for node in &stage.cluster.nodes()[1..] {
        node.inject(Fault::mute().on(Method::Post));
    }
    stage.start(&["create", "ledger"])?;
    // Kill the client after every node has read its request. A later request would change the result.
    let asked = |entry: &Entry| entry.method == Method::Post && entry.group.as_deref() == Some("ledger");
    let limit = Duration::from_secs(5);
    let arrived = stage.cluster.nodes().iter().all(|node| node.wait_until(|node| node.log().any(asked), limit));
    let created = stage.cluster.node(0).wait_until(|node| node.has("ledger"), limit);
    stage.kill();
    stage.check(arrived && created, "the first node created the group before the kill");
    stage.cluster.nodes().iter().for_each(Node::clear_faults);
    stage.run(&["status", "ledger"], Exit::Inconsistent)?;
    stage.check_holders("ledger", 1);

    stage.print("\nBefore its first request, the client has recorded the create in its journal.");
    stage.run(&["recover"], Exit::Done)?;
    stage.check_holders("ledger", 0);
    stage.run(&["recover"], Exit::Done)?;
    Ok(())
}

fn delete(stage: &mut Stage<'_>) -> ChapterResult {
    stage.chapter("A delete", "The groups are deleted from every node, even if other nodes fail.");
    stage.run(&["delete", "payments", "invoices", "--yes"], Exit::Done)?;
    stage.check_holders("payments", 0);
    stage.check_holders("invoices", 0);
    Ok(())
}
