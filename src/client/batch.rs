//! Floor 3: many operations over one driver, a bounded number at a time.

use std::sync::Arc;

use crate::client::cancel::Cancel;
use crate::client::driver::Driver;
use crate::client::operations::Ended;
use crate::client::options::{OperationOptions, conclude};
use crate::values::error::Error;
use crate::values::group::GroupId;
use crate::values::report::{Operation, Report};

/// One operation for each of many groups: an iterator over the results.
///
/// * At most [`in_flight`](crate::ClientBuilder::in_flight) operations run at once, and at most as many more
///   are taken from the input ahead of time. Memory is bounded by that, however long the input is.
/// * Results come in the order in which the operations end; [`Completed::position`] says where in the input
///   each was. One group's failure touches no other.
/// * Work begins with the first id that is taken, and goes on between calls of `next`, up to those bounds.
/// * What has ended is handed out before more of the input is taken. While the input itself blocks, nothing is
///   handed out: whoever feeds a channel must not wait for a result before sending the next id.
/// * An id that comes twice is two operations: the second finds the group busy, or what the first made of it.
/// * Dropping the iterator gives up what has not ended (creates are rolled back) and waits for that.
/// * An [`Observer`](crate::Observer) may drive or drop the bulk that it observes. A logger or an intent store must
///   not do so during a request or a journal call of that bulk: it would wait for itself.
///
/// ```no_run
/// use cluster_client::ClusterClient;
///
/// let client = ClusterClient::new(["http://node1:8000", "http://node2:8000"])?;
/// for done in client.create_groups(["a", "b", "c"]) {
///     match done.result {
///         Ok(_) => println!("{} is on every host", done.id),
///         Err(error) => println!("{}: {error}", done.id),
///     }
/// }
/// # Ok::<(), cluster_client::Error>(())
/// ```
#[must_use = "nothing happens before the iterator is driven"]
pub struct Bulk<I> {
    options: OperationOptions,
    operation: Operation,
    groups: std::iter::Enumerate<I>,
    driver: Arc<Driver>,
    /// Keeps the driver on the list of the call's cancel token.
    watched: Option<Arc<dyn Cancel>>,
    /// Operations in the driver whose result was not handed out.
    open: usize,
    exhausted: bool,
}

/// The result of one of many operations.
#[derive(Debug)]
#[non_exhaustive]
pub struct Completed {
    /// The place of the id in the input, from 0.
    pub position: usize,
    /// The id as it was given.
    pub id: String,
    /// What the single call would have returned.
    pub result: Result<Report, Error>,
}

impl<I> std::fmt::Debug for Bulk<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bulk")
            .field("operation", &self.operation)
            .field("open", &self.open)
            .field("cancellable", &self.watched.is_some())
            .finish_non_exhaustive()
    }
}

impl<I> Bulk<I>
where
    I: Iterator,
    I::Item: AsRef<str>,
{
    pub(crate) fn new(options: OperationOptions, operation: Operation, groups: I) -> Self {
        let driver = Driver::new(options.client(), options.client().in_flight, false);
        let watched = options.watch(&driver);
        Bulk { options, operation, groups: groups.enumerate(), driver, watched, open: 0, exhausted: false }
    }

    /// Takes one id from the input, if there is one, and begins with it; hands back one that is no id.
    fn take_one(&mut self) -> Option<Completed> {
        let Some((position, id)) = self.groups.next() else {
            self.exhausted = true;
            return None;
        };
        let id = id.as_ref();
        match GroupId::parse(id) {
            Err(error) => Some(Completed { position, id: id.into(), result: Err(error.into()) }),
            Ok(group) => {
                self.driver.add(position, self.options.machine(self.operation, group));
                self.open += 1;
                None
            }
        }
    }

    /// What has ended is handed out before more is taken from the input, which may take its time.
    fn ended(&mut self) -> Option<Ended> {
        let enough = 2 * self.options.client().in_flight;
        let may_take = !self.exhausted && self.open < enough;
        match self.driver.try_take() {
            None if self.open > 0 && !may_take => Some(self.driver.take()),
            ended => ended,
        }
    }
}

impl<I> Iterator for Bulk<I>
where
    I: Iterator,
    I::Item: AsRef<str>,
{
    type Item = Completed;

    fn next(&mut self) -> Option<Completed> {
        loop {
            if let Some((position, ending, report)) = self.ended() {
                self.open -= 1;
                return Some(Completed {
                    position,
                    id: report.group.as_str().into(),
                    result: conclude(ending, report),
                });
            }
            if self.exhausted {
                return None;
            }
            if let Some(refused) = self.take_one() {
                return Some(refused);
            }
        }
    }
}

impl<I> Drop for Bulk<I> {
    fn drop(&mut self) {
        self.driver.abandon(self.open);
    }
}
